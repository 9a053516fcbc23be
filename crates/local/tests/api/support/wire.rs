//! AWS at the wire: DynamoDB calls go to the embedded engine, SQS calls get the
//! answers SQS gives; each call is recorded, can be refused, and can have its
//! answer lost after it took effect.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::serve::Engine;

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) engine: Engine,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    refused: Option<(&'static str, usize)>,
    lost: Option<usize>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::in_memory().unwrap(), state: Arc::default() }
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

    /// Lets the call after the next `before` ones take effect and loses its answer.
    pub(crate) fn lose_answer_after(&self, before: usize) {
        self.state.lock().unwrap().lost = Some(before);
    }

    /// Whether that call has come.
    pub(crate) fn has_lost_an_answer(&self) -> bool {
        self.state.lock().unwrap().lost.is_none()
    }
}

impl State {
    /// Whether this call is refused, and whether its answer is lost.
    fn note(&mut self, operation: &str) -> (bool, bool) {
        self.calls.push(operation.to_owned());
        let refused = match &mut self.refused {
            Some((name, 0)) => *name == operation,
            Some((name, good)) if *name == operation => {
                *good -= 1;
                false
            }
            _ => false,
        };
        let lost = self.lost == Some(0);
        self.lost = self.lost.and_then(|before| before.checked_sub(1));
        (refused, lost)
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
        let (refused, lost) = self.state.lock().unwrap().note(&operation);
        let answer = match operation.as_str() {
            _ if refused => answer(500, r#"{"__type":"InternalServerError","message":"broken"}"#),
            "SendMessage" => {
                answer(200, r#"{"MessageId":"00000000-0000-4000-8000-000000000000","MD5OfMessageBody":"x"}"#)
            }
            "ChangeMessageVisibility" => answer(200, "{}"),
            _ => self.engine.call(request),
        };
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            if lost { Err(ConnectorError::io("the answer was lost".into())) } else { answer }
        })
    }
}

fn answer(status: u16, body: &'static str) -> HttpConnectorFuture {
    let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    HttpConnectorFuture::ready(Ok(response))
}
