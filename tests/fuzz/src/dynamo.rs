//! A DynamoDB whose answers are the input.

use std::future::Future;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use store::aws::Aws;
use tokio::runtime::{Builder, Runtime};

use crate::last_line;

/// Stands for DynamoDB at the SDK's HTTP connector: whatever is read or updated
/// is the one item it holds.
#[derive(Clone, Debug)]
pub struct Dynamo(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    item: Option<Item>,
    calls: usize,
}

/// An item in DynamoDB's own JSON.
#[derive(Clone, Debug)]
pub struct Item(Value);

impl Item {
    /// The last line of an input is an item. A value `{"B":"@"}` in it stands for
    /// the bytes before that line, which so need not be written in base64.
    pub fn read(input: &[u8]) -> Option<Self> {
        let (bytes, line) = last_line(input);
        let mut item: Value = serde_json::from_slice(line).ok()?;
        let bytes = base64::encode(bytes);
        for value in item.as_object_mut()?.values_mut() {
            if value.get("B").is_some_and(|text| text == "@") {
                *value = json!({ "B": bytes });
            }
        }
        Some(Self(item))
    }

    /// A number in it, if it reads as one.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.get("N")?.as_str()?.parse().ok()
    }
}

impl Dynamo {
    /// With this item, or none.
    pub fn holding(item: Option<Item>) -> Self {
        Self(Arc::new(Mutex::new(State { item, calls: 0 })))
    }

    /// Clients that call it.
    pub fn aws(&self) -> Aws {
        Aws::embedded(self.clone())
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    fn answer(&self, operation: &str) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        state.calls += 1;
        match (operation, state.item.as_ref().map(|item| &item.0)) {
            ("GetItem", Some(item)) => (200, json!({ "Item": item })),
            ("GetItem", None) => (200, json!({})),
            ("Scan", item) => (
                200,
                json!({ "Items": item.into_iter().collect::<Vec<_>>() }),
            ),
            ("UpdateItem", Some(item)) => (200, json!({ "Attributes": item })),
            ("UpdateItem", None) => (400, json!({ "__type": "ConditionalCheckFailedException" })),
            (other, _) => panic!("{other} is not used here"),
        }
    }
}

impl HttpClient for Dynamo {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Dynamo {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let (status, body) = self.answer(target.rsplit('.').next().unwrap_or_default());
        let status = status.try_into().expect("an HTTP status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            status,
            SdkBody::from(body.to_string()),
        )))
    }
}

thread_local! {
    /// Its clock jumps over every pause.
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
}

/// Runs a future to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}
