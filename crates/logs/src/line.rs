//! A log line: the fields of its spans and of its event and, on AWS, metrics.

use std::fmt;
use std::io::Write as _;

use serde_json::{Map, Value};
use store::Clock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::Metrics;

/// Writes every event as one line of JSON. The format of `tracing_subscriber` nests spans, so the
/// task id would have different names in different lines.
pub(crate) struct JsonLines<W> {
    writer: W,
    clock: Clock,
    metrics: Option<Metrics>,
}

impl<W> JsonLines<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            clock: Clock::system(),
            metrics: None,
        }
    }

    pub(crate) fn with_metrics(self, metrics: Option<Metrics>) -> Self {
        Self { metrics, ..self }
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let now = self.clock.now();
        let mut line = SpanFields::default();
        line.put("timestamp", now.rfc3339());
        line.put("level", event.metadata().level().as_str());
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.0.extend(fields.clone());
            }
        }
        event.record(&mut line);
        let SpanFields(mut line) = line;
        if let (Some(metrics), Metrics::TARGET) = (&self.metrics, event.metadata().target()) {
            metrics.embed(&mut line, now);
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // One write, so that lines are not interleaved. An error is ignored because there is no
        // other place to report it.
        let _ = self
            .writer
            .make_writer_for(event.metadata())
            .write_all(text.as_bytes());
    }
}

/// The fields of a span or an event, as JSON.
#[derive(Default)]
struct SpanFields(Map<String, Value>);

impl SpanFields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Renames the fields of the Lambda runtime's span. Its X-Ray trace id is dropped because
    /// X-Ray tracing is off.
    fn put_field(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            "requestId" => self.put("request_id", value),
            "xrayTraceId" => {}
            name => self.put(name.trim_start_matches("r#"), value),
        }
    }
}

impl Visit for SpanFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put_field(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put_field(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put_field(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put_field(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_field(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The lines that `events` writes.
    fn lines(
        change: impl FnOnce(JsonLines<Written>) -> JsonLines<Written>,
        events: impl FnOnce(),
    ) -> Vec<Value> {
        let written = Written::default();
        let layer = change(JsonLines::new(written.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
            .collect()
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for &Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'writer> MakeWriter<'writer> for Written {
        type Writer = &'writer Self;

        fn make_writer(&'writer self) -> Self::Writer {
            self
        }
    }

    #[test]
    fn a_line_is_flat_and_has_the_fields_of_its_spans_under_our_names() {
        let written = lines(
            |layer| layer,
            || {
                let invocation =
                    tracing::info_span!("invoke", requestId = "r-1", xrayTraceId = "Root=1");
                let _invocation = invocation.enter();
                let task =
                    tracing::info_span!("task", task_id = %"t-1", agent_id = tracing::field::Empty)
                        .entered();
                task.record("agent_id", "a-1");
                tracing::warn!(status = 503, slow = true, "line\nbreak and \"quotes\"");
            },
        );
        let timestamp = written[0]["timestamp"].clone();
        assert_eq!(
            written,
            [json!({
                "timestamp": timestamp, "level": "WARN", "message": "line\nbreak and \"quotes\"", "status": 503, "slow": true,
                "request_id": "r-1", "task_id": "t-1", "agent_id": "a-1",
            })]
        );
    }

    #[test]
    fn every_line_has_the_level_and_the_timestamp_that_lambda_filters_by() {
        let written = lines(|layer| layer, || tracing::info!("ready"));
        assert_eq!(
            (&written[0]["level"], &written[0]["message"]),
            (&json!("INFO"), &json!("ready"))
        );
        let timestamp = written[0]["timestamp"].as_str().unwrap();
        let rfc3339 = time::format_description::well_known::Rfc3339;
        assert!(
            time::OffsetDateTime::parse(timestamp, &rfc3339).is_ok(),
            "{timestamp}"
        );
    }

    #[test]
    fn only_events_with_the_metrics_target_become_metrics_and_only_on_aws() {
        let events = || {
            tracing::info!(target: "metrics", outcome = "success", total_ms = 5, "task ended");
            tracing::info!(outcome = "success", "something else");
        };
        let has_metrics = |lines: Vec<Value>| -> Vec<bool> {
            lines
                .iter()
                .map(|line| line.get("_aws").is_some())
                .collect()
        };
        let metrics = Some(Metrics::for_stack("agents"));
        assert_eq!(
            has_metrics(lines(|layer| layer.with_metrics(metrics), events)),
            [true, false]
        );
        assert_eq!(has_metrics(lines(|layer| layer, events)), [false, false]);
    }
}
