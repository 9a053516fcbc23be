//! Buffers ended spans until they are exported.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{Array, Context, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Enough for ten runs of a hundred turns with one call each.
const MAX_SPANS: usize = 2048;
/// A list by OpenTelemetry's conventions. `tracing` has no lists.
const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";

/// The spans that ended since the last export.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedSpans(Arc<Mutex<SpanBuffer>>);

#[derive(Debug, Default)]
struct SpanBuffer {
    spans: Vec<SpanData>,
    /// The number of spans that did not fit.
    lost: usize,
}

impl EndedSpans {
    /// Takes the spans, and the number of lost ones.
    pub(crate) fn take(&self) -> (Vec<SpanData>, usize) {
        let SpanBuffer { spans, lost } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (spans, lost)
    }
}

impl SpanProcessor for EndedSpans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        for attribute in span
            .attributes
            .iter_mut()
            .filter(|attribute| attribute.key.as_str() == FINISH_REASONS)
        {
            if let Value::String(reason) = &attribute.value {
                let reasons: Vec<StringValue> = vec![reason.clone()];
                attribute.value = Value::Array(Array::String(reasons));
            }
        }
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match buffer.spans.len() < MAX_SPANS {
            true => buffer.spans.push(span),
            false => buffer.lost += 1,
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
