//! The spans of runs, exported over OTLP (HTTP, protobuf) if the process is told
//! where to. Spans come from `runner`, by way of `tracing`; its log lines do not.
//!
//! | variable, of the OpenTelemetry specification | meaning |
//! | --- | --- |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | base URL of a collector; without it, or the next one, nothing is traced |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | the same for traces alone, with its path |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TRACES_HEADERS` | `name=value`, comma-separated: a collector's API key |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | who traces; `agent-webhooks` by default |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | which runs are traced; all by default |
//! | `OTEL_SDK_DISABLED` | `true`: none |
//!
//! The SDK's own batch processor keeps a thread, which a frozen Lambda would freeze
//! with unsent spans; here whoever runs agents says when to send.

mod ended;
mod http;

use std::collections::HashMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use percent_encoding::percent_decode_str;
use store::env::Env;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use ended::Ended;
use http::Http;

/// The `target` of the spans that are exported.
pub const TARGET: &str = "gen_ai";

/// How long spans wait, where a process stays.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// A collector that takes longer misses the spans. It is no reason to keep runs waiting.
const PATIENCE: Duration = Duration::from_secs(3);
const SERVICE: &str = "agent-webhooks";

/// Where spans go, if anywhere.
#[derive(Debug)]
pub struct Traces(Option<Export>);

#[derive(Debug)]
struct Export {
    provider: SdkTracerProvider,
    exporter: SpanExporter,
    ended: Ended,
}

/// Spans cannot be exported as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// There is no such URL, or the like.
    #[error("failed to prepare the export of traces; see the variables OTEL_EXPORTER_OTLP_*")]
    Exporter(#[from] ExporterBuildError),
    /// No HTTP client.
    #[error("failed to make the HTTP client for traces")]
    Http(#[from] reqwest::Error),
}

impl Traces {
    /// Whether there is an export is asked of `env`; the exporter reads the rest of
    /// its variables from the process by itself. `headers` come on top of those: they
    /// have the form of `OTEL_EXPORTER_OTLP_HEADERS`, and are a secret of the deployment.
    pub fn from_env(env: &Env, headers: Option<&str>) -> Result<Self, TracesError> {
        let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        let disabled =
            env.optional("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || endpoints.iter().all(|name| env.optional(name).is_none()) {
            return Ok(Self(None));
        }
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new(PATIENCE, env.optional("AWS_LAMBDA_FUNCTION_NAME").is_some())?)
            .with_headers(headers.map(parse_headers).unwrap_or_default())
            // What fails is not tried again: it would wait by blocking its thread.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let resource = resource(env);
        exporter.set_resource(&resource);
        let ended = Ended::default();
        let provider =
            SdkTracerProvider::builder().with_resource(resource).with_span_processor(ended.clone()).build();
        Ok(Self(Some(Export { provider, exporter, ended })))
    }

    /// Turns spans of the target [`TARGET`] into spans of OpenTelemetry, with what
    /// they say of themselves and nothing else: no log lines, no places in our code.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let Export { provider, .. } = self.0.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET)))
    }

    /// Sends what has ended, within `limit`.
    pub async fn export(&self, limit: Duration) {
        let Some(Export { exporter, ended, .. }) = &self.0 else { return };
        let (spans, lost) = ended.take();
        if lost > 0 {
            tracing::warn!(lost, "more spans ended than are kept for export");
        }
        if spans.is_empty() {
            return;
        }
        match timeout(limit.min(PATIENCE), exporter.export(spans)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "spans not exported"),
            Err(_) => tracing::warn!(error = "the collector did not answer in time", "spans not exported"),
        }
    }

    /// Exports now and then while `work` goes on, and once more at its end.
    pub async fn export_during<T>(&self, work: impl Future<Output = T>) -> T {
        let over = CancellationToken::new();
        let work = async {
            let done = work.await;
            over.cancel();
            done
        };
        let export = async {
            while over.run_until_cancelled(sleep(EXPORT_EVERY)).await.is_some() {
                self.export(PATIENCE).await;
            }
            self.export(PATIENCE).await;
        };
        tokio::join!(work, export).0
    }
}

/// `name=value` pairs, comma-separated, values percent-encoded
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>).
/// A pair without `=` is left out.
fn parse_headers(text: &str) -> HashMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            (name.trim().to_owned(), value.into_owned())
        })
        .collect()
}

fn resource(env: &Env) -> Resource {
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let named = env.optional("OTEL_SERVICE_NAME").is_some()
        || env.optional("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|list| list.contains("service.name="));
    if named { resource.build() } else { resource.with_service_name(SERVICE).build() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_specification_writes_them() {
        let read = |text| {
            let mut headers: Vec<_> = parse_headers(text).into_iter().collect();
            headers.sort();
            headers
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            read("api-key=a%20b, x-team = one=two ,nonsense,"),
            [header("api-key", "a b"), header("x-team", "one=two")]
        );
        assert!(read("").is_empty());
    }
}
