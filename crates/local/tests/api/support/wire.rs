//! Fake AWS services behind the SDK's HTTP client. DynamoDB calls go to the embedded
//! engine, SQS and Secrets Manager calls to fakes in memory. Each call is recorded, and
//! can fail in every way in which a network and a process can.

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

/// The AWS connection of one process. All wires of a test use the same services.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) engine: Engine,
    pub(crate) sqs: Sqs,
    pub(crate) secrets: SecretsManager,
    pub(crate) plan: Plan,
    /// Cancelled when the process dies. From then on its calls have no effect.
    pub(crate) life: CancellationToken,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    refused: Option<(&'static str, usize)>,
    /// Requests in transit, each with the number of the call after which it arrives.
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

    /// The wire of another process with the same services.
    pub(crate) fn for_new_process(&self) -> Self {
        Self {
            life: CancellationToken::new(),
            ..self.clone()
        }
    }

    /// The operations that were called since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Answers 500 to every call of this operation after the next `good` ones,
    /// until [`Self::stop_refusing`].
    pub(crate) fn refuse(&self, operation: &'static str, good: usize) {
        self.state.lock().unwrap().refused = Some((operation, good));
    }

    pub(crate) fn stop_refusing(&self) {
        self.state.lock().unwrap().refused = None;
    }

    /// All requests in transit arrive.
    pub(crate) async fn arrive(&self) {
        self.arrive_after(usize::MAX).await;
    }

    /// One DynamoDB call of the test itself, which is not recorded and never fails.
    pub(crate) async fn call_dynamodb(&self, operation: &str, body: Value) -> Value {
        let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
        request.set_uri("http://embedded.invalid/").unwrap();
        request
            .headers_mut()
            .insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let response = self.engine.call(request).await.unwrap();
        serde_json::from_slice(response.body().bytes().unwrap()).unwrap()
    }

    async fn handle(self, request: HttpRequest) -> Answered {
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
                Err(ConnectorError::io("the response was lost".into()))
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
        let due: Vec<_> = self
            .state
            .lock()
            .unwrap()
            .ghosts
            .extract_if(.., |(until, _)| *until <= number)
            .collect();
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
    /// Records the call. Returns whether it is refused.
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
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().handle(request))
    }
}

/// The service and the operation that a request names.
fn operation(request: &HttpRequest) -> (String, String) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    (service.to_owned(), operation.to_owned())
}

fn failed() -> Answered {
    respond((
        500,
        json!({ "__type": "InternalServerError", "message": "broken" }),
    ))
}

/// With an error code of the service. Each service has several.
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
    Ok(HttpResponse::new(
        status.try_into().unwrap(),
        SdkBody::from(body.to_string()),
    ))
}
