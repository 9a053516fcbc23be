//! Removes secrets from model replies, tool results and JSON.

use std::borrow::Cow;
use std::sync::Arc;

use domain::{CallReport, Fault, ModelReply, Passage, ToolCall, ToolSpec, Usage};
use serde_json::{Map, Value};
use tokio::task::JoinError;

use super::{SecretScrubber, TextEnd};
use crate::memory::RunMemory;

impl SecretScrubber {
    /// Scrubs a value of about `bytes` bytes. A long text full of escapes takes hundreds of
    /// milliseconds, so it is scrubbed on a thread for blocking work.
    pub(crate) async fn scrub_off_workers<T: Send + 'static, S: Send + 'static>(
        self: Arc<Self>,
        bytes: usize,
        value: T,
        scrub: impl FnOnce(&Self, T) -> S + Send + 'static,
    ) -> Result<S, JoinError> {
        RunMemory::current()
            .off_workers(bytes, move || scrub(&self, value))
            .await
    }

    /// Removes secrets from a text in place.
    pub(crate) fn scrub_text(&self, text: &mut String) {
        if let Cow::Owned(scrubbed) = self.scrub(text) {
            *text = scrubbed;
        }
    }

    /// Removes secrets from every string, key and number of a JSON value.
    pub(crate) fn scrub_json(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::String(text) => self.scrub_text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.scrub_json(item)),
            Value::Object(fields) => self.scrub_fields(fields),
            Value::Number(number) => {
                if let Cow::Owned(scrubbed) = self.scrub(&number.to_string()) {
                    *value = Value::String(scrubbed);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn scrub_fields(&self, fields: &mut Map<String, Value>) {
        let has_secret_key = fields
            .keys()
            .any(|key| matches!(self.scrub(key), Cow::Owned(_)));
        fields.values_mut().for_each(|value| self.scrub_json(value));
        if has_secret_key {
            let entries = std::mem::take(fields);
            *fields = entries
                .into_iter()
                .map(|(key, value)| (self.scrub(&key).into_owned(), value))
                .collect();
        }
    }

    /// Removes secrets from a text that is JSON. It stays JSON if possible.
    fn scrub_json_text(&self, text: &mut String) {
        let Cow::Owned(scrubbed) = self.scrub(text) else {
            return;
        };
        let rewritten = serde_json::from_str(text).ok().map(|mut value: Value| {
            self.scrub_json(&mut value);
            value.to_string()
        });
        // A secret with braces or quotes may span several strings.
        *text = match rewritten {
            Some(json) if matches!(self.scrub(&json), Cow::Borrowed(_)) => json,
            _ => scrubbed,
        };
    }

    /// Removes secrets from everything in a model's reply.
    pub(crate) fn scrub_reply(&self, mut reply: ModelReply) -> ModelReply {
        if self.is_empty() {
            return reply;
        }
        // A long name has already been cut, between two characters.
        let is_whole = reply.model.len() + char::MAX_LEN_UTF8 <= Usage::LONGEST_NAME;
        let end = if is_whole {
            TextEnd::Whole
        } else {
            TextEnd::Cut
        };
        reply.model = self.scrub_part(&reply.model, end).into_owned();
        self.scrub_text(&mut reply.text);
        self.scrub_text(&mut reply.thought);
        for ToolCall {
            id,
            name,
            arguments,
        } in &mut reply.calls
        {
            self.scrub_text(id);
            self.scrub_text(name);
            self.scrub_json_text(arguments);
        }
        if let Some(echo) = &mut reply.echo {
            self.scrub_json(echo);
        }
        reply
    }

    /// Removes secrets from the result of a tool call.
    pub(crate) fn scrub_called(&self, mut called: CallReport) -> CallReport {
        self.scrub_text(&mut called.content);
        for Passage {
            title,
            text,
            source,
        } in &mut called.passages
        {
            [title, text, source]
                .into_iter()
                .for_each(|part| self.scrub_text(part));
        }
        called
    }

    /// Removes secrets from the description of a tool. The name is from the agent's definition.
    pub(crate) fn scrub_spec(&self, spec: &mut ToolSpec) {
        self.scrub_text(&mut spec.description);
        self.scrub_json(&mut spec.parameters);
    }

    /// Removes secrets from the error of an attempt.
    pub(crate) fn scrub_fault(&self, fault: &mut Fault) {
        let (Fault::Permanent(failure) | Fault::Transient { failure, .. }) = fault;
        self.scrub_text(&mut failure.message);
        if let Some(detail) = &mut failure.detail {
            self.scrub_text(&mut detail.text);
            let identifiers = [
                &mut detail.kind,
                &mut detail.code,
                &mut detail.parameter,
                &mut detail.request_id,
            ];
            for identifier in identifiers.into_iter().flatten() {
                self.scrub_text(identifier);
            }
        }
        if let Some(Cow::Owned(text)) = failure.log_message.as_deref().map(|text| self.scrub(text))
        {
            failure.log_message = Some(Cow::Owned(text));
        }
    }
}
