//! Exports the spans of runs over OTLP (HTTP, protobuf), if an endpoint is configured. The spans
//! come from `runner`, through `tracing`. Log lines are not exported.
//!
//! | variable of the OpenTelemetry specification | meaning |
//! | --- | --- |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | base URL of a collector; without it and the next one, nothing is traced |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | URL for traces only, with its path |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `…_TRACES_HEADERS` | `name=value`, comma-separated, for example a collector's API key |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the name of the service; `agent-webhooks` by default |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | which runs are traced; all by default |
//! | `OTEL_SDK_DISABLED` | `true` switches tracing off |
//!
//! There is no background export thread, as in the SDK's batch processor, because Lambda could
//! freeze it with unsent spans. The caller flushes explicitly.

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

use ended::EndedSpans;
use http::Http;

/// The `target` of the spans that are exported.
pub const TARGET: &str = "gen_ai";

/// The export interval of a long-running process.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// The time limit of one export. Spans that take longer are lost, so that a slow collector does
/// not delay runs.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
const SERVICE: &str = "agent-webhooks";

/// The export of traces. Does nothing if no endpoint is configured.
#[derive(Debug)]
pub struct Traces(Option<Export>);

#[derive(Debug)]
struct Export {
    provider: SdkTracerProvider,
    exporter: SpanExporter,
    ended: EndedSpans,
}

/// Why the export of traces cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error("failed to configure the export of traces; check the variables OTEL_EXPORTER_OTLP_*")]
    Exporter(#[from] ExporterBuildError),
    #[error("failed to create the HTTP client for traces")]
    Http(#[from] reqwest::Error),
}

impl Traces {
    /// `env` decides whether traces are exported. The exporter reads its other variables from the
    /// process environment. `headers` are added to the configured ones. They have the format of
    /// `OTEL_EXPORTER_OTLP_HEADERS` and are a secret of the deployment.
    pub fn from_env(env: &Env, headers: Option<&str>) -> Result<Self, TracesError> {
        let endpoints = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ];
        let disabled = env
            .optional("OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || endpoints.iter().all(|name| env.optional(name).is_none()) {
            return Ok(Self(None));
        }
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new(
                EXPORT_TIMEOUT,
                env.optional("AWS_LAMBDA_FUNCTION_NAME").is_some(),
            )?)
            .with_headers(headers.map(parse_headers).unwrap_or_default())
            // No retries: the exporter would block its thread between them.
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let resource = resource(env);
        exporter.set_resource(&resource);
        let ended = EndedSpans::default();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(ended.clone())
            .build();
        Ok(Self(Some(Export {
            provider,
            exporter,
            ended,
        })))
    }

    /// Converts spans of the target [`TARGET`] to OpenTelemetry spans, with their fields only: no
    /// log lines and no source locations.
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
        Some(layer.with_filter(filter_fn(|metadata| {
            metadata.is_span() && metadata.target() == TARGET
        })))
    }

    /// Exports the ended spans, within `limit`.
    pub async fn export(&self, limit: Duration) {
        let Some(Export {
            exporter, ended, ..
        }) = &self.0
        else {
            return;
        };
        let (spans, lost) = ended.take();
        if lost > 0 {
            tracing::warn!(lost, "spans lost because the export buffer was full");
        }
        if spans.is_empty() {
            return;
        }
        match timeout(limit.min(EXPORT_TIMEOUT), exporter.export(spans)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "spans not exported"),
            Err(_) => tracing::warn!(
                error = "the collector did not respond in time",
                "spans not exported"
            ),
        }
    }

    /// Exports once a second during `work`, and once at its end.
    pub async fn export_during<T>(&self, work: impl Future<Output = T>) -> T {
        let over = CancellationToken::new();
        let work = async {
            let done = work.await;
            over.cancel();
            done
        };
        let export = async {
            while over
                .run_until_cancelled(sleep(EXPORT_EVERY))
                .await
                .is_some()
            {
                self.export(EXPORT_TIMEOUT).await;
            }
            self.export(EXPORT_TIMEOUT).await;
        };
        tokio::join!(work, export).0
    }
}

/// `name=value` pairs, comma-separated, values percent-encoded
/// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>).
/// A pair without `=` is ignored.
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
    let resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let named = env.optional("OTEL_SERVICE_NAME").is_some()
        || env
            .optional("OTEL_RESOURCE_ATTRIBUTES")
            .is_some_and(|list| list.contains("service.name="));
    if named {
        resource.build()
    } else {
        resource.with_service_name(SERVICE).build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_parsed_as_specified() {
        let parsed = |text| {
            let mut headers: Vec<_> = parse_headers(text).into_iter().collect();
            headers.sort();
            headers
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parsed("api-key=a%20b, x-team = one=two ,nonsense,"),
            [header("api-key", "a b"), header("x-team", "one=two")]
        );
        assert!(parsed("").is_empty());
    }
}
