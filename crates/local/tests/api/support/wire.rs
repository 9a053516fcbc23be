//! AWS at the wire: DynamoDB calls go to the embedded engine, SQS calls get the
//! answers SQS gives; each call is recorded, and can be
//! made to fail in every way a network and a process can.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::serve::Engine;
use tokio::sync::Notify;

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) engine: Engine,
    state: Arc<Mutex<State>>,
    death: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    refused: Option<(&'static str, usize)>,
    armed: Option<Armed>,
}

/// What can happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is refused.
    Unreachable,
    /// Answered 500, without effect.
    Failed,
    /// Answered as DynamoDB and SQS do when they are asked too often.
    Throttled,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// The process dies before it is sent.
    DiedBefore,
    /// The process dies after its effect, before the answer.
    DiedAfter,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    before: usize,
    times: usize,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::in_memory().unwrap(), state: Arc::default(), death: Arc::default() }
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

    /// Makes `times` calls in a row fail, after the next `before` ones.
    pub(crate) fn arm(&self, fault: Fault, before: usize, times: usize) {
        self.state.lock().unwrap().armed = Some(Armed { fault, before, times });
    }

    /// No fault from here on. Whether all of it had come.
    pub(crate) fn disarm(&self) -> bool {
        self.state.lock().unwrap().armed.take().is_none()
    }

    /// Resolves when the process has died, and forgets that it did.
    pub(crate) async fn death(&self) {
        self.death.notified().await;
    }
}

impl State {
    /// What happens to this call.
    fn note(&mut self, operation: &str) -> Option<Fault> {
        self.calls.push(operation.to_owned());
        match &mut self.refused {
            Some((name, 0)) if *name == operation => return Some(Fault::Failed),
            Some((name, good)) if *name == operation => *good -= 1,
            _ => {}
        }
        let armed = self.armed.as_mut()?;
        if armed.before > 0 {
            armed.before -= 1;
            return None;
        }
        let fault = armed.fault;
        armed.times -= 1;
        if armed.times == 0 {
            self.armed = None;
        }
        Some(fault)
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let fault = self.state.lock().unwrap().note(&operation);
        let (engine, death) = (self.engine.clone(), Arc::clone(&self.death));
        HttpConnectorFuture::new(async move {
            match fault {
                None => effect(&engine, &operation, request).await,
                Some(Fault::Unreachable) => Err(ConnectorError::io("connection refused".into())),
                Some(Fault::Failed) => {
                    answer(500, r#"{"__type":"InternalServerError","message":"broken"}"#).await
                }
                Some(Fault::Throttled) => {
                    answer(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#).await
                }
                Some(Fault::AnswerLost) => {
                    effect(&engine, &operation, request).await.ok();
                    Err(ConnectorError::io("the answer was lost".into()))
                }
                Some(Fault::DiedBefore) => {
                    death.notify_one();
                    std::future::pending().await
                }
                Some(Fault::DiedAfter) => {
                    effect(&engine, &operation, request).await.ok();
                    death.notify_one();
                    std::future::pending().await
                }
            }
        })
    }
}

fn effect(engine: &Engine, operation: &str, request: HttpRequest) -> HttpConnectorFuture {
    match operation {
        "SendMessage" => {
            answer(200, r#"{"MessageId":"00000000-0000-4000-8000-000000000000","MD5OfMessageBody":"x"}"#)
        }
        "ChangeMessageVisibility" => answer(200, "{}"),
        _ => engine.call(request),
    }
}

fn answer(status: u16, body: &'static str) -> HttpConnectorFuture {
    let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    HttpConnectorFuture::ready(Ok(response))
}
