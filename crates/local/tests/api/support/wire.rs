//! AWS at the wire: DynamoDB calls go to the embedded engine, SQS and Secrets
//! Manager calls to their likes in memory; each call is recorded, and can be made
//! to fail in every way a network and a process can.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::serve::Engine;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Time;
use super::plan::{Fault, Plan};
use super::secrets_manager::SecretsManager;
use super::sqs::Sqs;

/// The wire of one process. All wires of a test lead to the same services.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) engine: Engine,
    pub(crate) sqs: Sqs,
    pub(crate) secrets: SecretsManager,
    pub(crate) plan: Plan,
    /// Cancelled when the process dies: from then on its calls go nowhere.
    pub(crate) life: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    refused: Option<(&'static str, usize)>,
    /// Requests still under way: after which call they arrive, and what they are.
    ghosts: Vec<(usize, HttpRequest)>,
}

type Answered = Result<HttpResponse, ConnectorError>;

impl Wire {
    pub(crate) fn new(time: Time) -> Self {
        Self::with(time, Plan::default())
    }

    pub(crate) fn with(time: Time, plan: Plan) -> Self {
        Self {
            engine: Engine::in_memory().unwrap(),
            sqs: Sqs::new(time),
            secrets: SecretsManager::default(),
            plan,
            life: CancellationToken::new(),
            state: Arc::default(),
        }
    }

    /// The wire of another process, to the same services.
    pub(crate) fn of_new_process(&self) -> Self {
        Self { life: CancellationToken::new(), ..self.clone() }
    }

    /// The operations called since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Answers 500 to every call of this operation after the next `good` ones,
    /// until [`Self::mend`].
    pub(crate) fn refuse(&self, operation: &'static str, good: usize) {
        self.state.lock().unwrap().refused = Some((operation, good));
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().refused = None;
    }

    /// What is still under way arrives.
    pub(crate) async fn arrive(&self) {
        self.arrive_after(usize::MAX).await;
    }

    /// One DynamoDB call that is no part of the test's story.
    pub(crate) async fn look(&self, operation: &str, body: Value) -> Value {
        let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
        request.set_uri("http://embedded.invalid/").unwrap();
        request.headers_mut().insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let response = self.engine.call(request).await.unwrap();
        serde_json::from_slice(response.body().bytes().unwrap()).unwrap()
    }

    async fn answer(self, request: HttpRequest) -> Answered {
        if self.life.is_cancelled() {
            return std::future::pending().await;
        }
        let operation = operation(&request).1;
        if self.state.lock().unwrap().note(&operation) {
            return failed();
        }
        let (number, fault) = self.plan.next(&operation);
        let answered = match fault {
            None => self.effect(request).await,
            Some(fault) => self.strike(fault, number, request).await,
        };
        self.arrive_after(number).await;
        answered
    }

    async fn strike(&self, fault: Fault, number: usize, request: HttpRequest) -> Answered {
        match fault {
            Fault::Unreachable => Err(ConnectorError::io("connection refused".into())),
            Fault::Failed => failed(),
            Fault::Throttled => throttled(&request, false),
            Fault::Overloaded => throttled(&request, true),
            Fault::AnswerLost => {
                self.effect(request).await.ok();
                Err(ConnectorError::io("the answer was lost".into()))
            }
            Fault::Stalled => std::future::pending().await,
            Fault::Late => {
                self.effect(request).await.ok();
                std::future::pending().await
            }
            Fault::Ghost(later) => {
                self.delay(number + later, request);
                Err(ConnectorError::io("the connection broke".into()))
            }
            Fault::DiedBefore => self.die().await,
            Fault::DiedAfter => {
                self.effect(request).await.ok();
                self.die().await
            }
            Fault::DiedInFlight(later) => {
                self.delay(number + later, request);
                self.die().await
            }
        }
    }

    async fn die(&self) -> Answered {
        self.life.cancel();
        std::future::pending().await
    }

    fn delay(&self, until: usize, request: HttpRequest) {
        self.state.lock().unwrap().ghosts.push((until, request));
    }

    async fn arrive_after(&self, number: usize) {
        let due: Vec<_> =
            self.state.lock().unwrap().ghosts.extract_if(.., |(until, _)| *until <= number).collect();
        for (_, request) in due {
            self.effect(request).await.ok();
        }
    }

    async fn effect(&self, request: HttpRequest) -> Answered {
        let (service, operation) = operation(&request);
        let json = || serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        match service.as_str() {
            "AmazonSQS" => respond(self.sqs.call(&operation, &json())),
            "secretsmanager" => respond(self.secrets.call(&operation, &json())),
            _ => self.engine.call(request).await,
        }
    }
}

impl State {
    /// Whether this call is refused.
    fn note(&mut self, operation: &str) -> bool {
        self.calls.push(operation.to_owned());
        match &mut self.refused {
            Some((name, 0)) if *name == operation => return true,
            Some((name, good)) if *name == operation => *good -= 1,
            _ => {}
        }
        false
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().answer(request))
    }
}

/// The service and the operation that a request names.
fn operation(request: &HttpRequest) -> (String, String) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    (service.to_owned(), operation.to_owned())
}

fn failed() -> Answered {
    respond((500, json!({ "__type": "InternalServerError", "message": "broken" })))
}

/// In the words of the service; each has more than one.
fn throttled(request: &HttpRequest, otherwise: bool) -> Answered {
    let (service, operation) = operation(request);
    let code = match (service.as_str(), otherwise) {
        ("AmazonSQS", true) => "com.amazonaws.sqs#RequestThrottled",
        ("secretsmanager", true) => "ThrottledException",
        (_, true) if operation == "TransactWriteItems" => "TransactionCanceledException",
        (_, true) => "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        (_, false) => "ThrottlingException",
    };
    respond((
        400,
        json!({
            "__type": code,
            "message": "Rate exceeded",
            "CancellationReasons": [{ "Code": "ThrottlingError", "Message": "Rate exceeded" }],
        }),
    ))
}

fn respond((status, body): (u16, Value)) -> Answered {
    Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string())))
}
