//! A fake OTLP collector that accepts traces as protobuf over HTTP and stores them.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) struct Collector {
    pub(crate) url: String,
    taken: watch::Receiver<Vec<Export>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Collector {
    /// Responds to every export with this status.
    pub(crate) async fn answering(status: StatusCode) -> Self {
        let (taking, taken) = watch::channel(Vec::new());
        let take =
            async move |State(taking): State<watch::Sender<Vec<Export>>>, headers, body: Bytes| {
                taking.send_modify(|taken| {
                    taken.push(Export {
                        headers,
                        body: body.to_vec(),
                    })
                });
                status
            };
        let app = Router::new()
            .route("/v1/traces", post(take))
            .with_state(taking);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, taken }
    }

    /// All exports, as soon as they are as wanted. Waits up to 30 seconds.
    pub(crate) async fn until(&self, wanted: impl Fn(&[Export]) -> bool) -> Vec<Export> {
        let mut taken = self.taken.clone();
        let came = tokio::time::timeout(
            Duration::from_secs(30),
            taken.wait_for(|taken| wanted(taken)),
        )
        .await;
        came.unwrap_or_else(|_| panic!("only {} exports came", self.taken.borrow().len()))
            .unwrap()
            .clone()
    }
}

/// The spans of these exports, in the order in which they began.
pub(crate) fn spans(exports: &[Export]) -> Vec<Span> {
    let requests = exports.iter().map(|export| request(export).resource_spans);
    let scopes = requests.flatten().flat_map(|resource| resource.scope_spans);
    let mut spans: Vec<Span> = scopes.flat_map(|scope| scope.spans).collect();
    spans.sort_by_key(|span| (span.start_time_unix_nano, span.name.clone()));
    spans
}

/// The resource attributes of these exports.
pub(crate) fn resource(export: &Export) -> Value {
    attributes(
        &request(export).resource_spans[0]
            .resource
            .as_ref()
            .unwrap()
            .attributes,
    )
}

pub(crate) fn attributes(attributes: &[KeyValue]) -> Value {
    let value = |attribute: &KeyValue| (attribute.key.clone(), plain(attribute.value.as_ref()));
    Value::Object(attributes.iter().map(value).collect::<Map<_, _>>())
}

fn request(export: &Export) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(export.body.as_slice()).unwrap()
}

fn plain(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::BoolValue(flag)) => json!(flag),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter().map(|value| plain(Some(value))).collect()
        }
        other => panic!("no attribute of ours: {other:?}"),
    }
}
