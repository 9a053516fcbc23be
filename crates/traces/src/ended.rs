//! Spans that have ended and are not exported yet.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{Array, Context, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Most spans kept: ten runs of a hundred turns with a call each.
const MOST: usize = 2048;
/// A list, by the conventions; `tracing` has none.
const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";

/// All that ended since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ended(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<SpanData>,
    lost: usize,
}

impl Ended {
    /// Takes them, and how many more there were.
    pub(crate) fn take(&self) -> (Vec<SpanData>, usize) {
        let Kept { spans, lost } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (spans, lost)
    }
}

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        for attribute in
            span.attributes.iter_mut().filter(|attribute| attribute.key.as_str() == FINISH_REASONS)
        {
            if let Value::String(reason) = &attribute.value {
                let reasons: Vec<StringValue> = vec![reason.clone()];
                attribute.value = Value::Array(Array::String(reasons));
            }
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.spans.len() < MOST {
            true => kept.spans.push(span),
            false => kept.lost += 1,
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
