//! AWS at the wire: DynamoDB calls go to the embedded engine, SQS calls get the
//! answers SQS gives; each call is recorded and can be made to fail.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use local::serve::Engine;

#[derive(Clone, Debug)]
pub(crate) struct Wire {
    engine: Engine,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<String>,
    broken: Option<&'static str>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::in_memory().unwrap(), state: Arc::default() }
    }

    /// The operations called since the last look.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().calls)
    }

    /// Makes every call of this operation fail with a 500, until [`Self::mend`].
    pub(crate) fn break_down(&self, operation: &'static str) {
        self.state.lock().unwrap().broken = Some(operation);
    }

    pub(crate) fn mend(&self) {
        self.state.lock().unwrap().broken = None;
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
        let broken = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(operation.clone());
            state.broken == Some(operation.as_str())
        };
        match operation.as_str() {
            _ if broken => answer(500, r#"{"__type":"InternalServerError","message":"broken"}"#),
            "SendMessage" => {
                answer(200, r#"{"MessageId":"00000000-0000-4000-8000-000000000000","MD5OfMessageBody":"x"}"#)
            }
            "ChangeMessageVisibility" => answer(200, "{}"),
            _ => self.engine.call(request),
        }
    }
}

fn answer(status: u16, body: &'static str) -> HttpConnectorFuture {
    let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
    HttpConnectorFuture::ready(Ok(response))
}
