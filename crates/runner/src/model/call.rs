//! One call of a model, and what its request contains.

use std::borrow::Cow;

use domain::agent::{RefusedParts, RequestPart};
use domain::{ChatMessage, ModelConfig, Payload, Provider, ToolSpec};
use serde_json::Value;
use url::Url;

use super::protocol;

pub(crate) struct ModelCall<'a> {
    pub(crate) model: &'a ModelConfig,
    pub(crate) api_key: Option<&'a str>,
    pub(crate) system: &'a str,
    pub(crate) payload: &'a Payload,
    /// The messages after the payload.
    pub(crate) messages: &'a [ChatMessage],
    pub(crate) tools: &'a [ToolSpec],
    /// The schema that the answer must match.
    pub(crate) schema: Option<&'a Value>,
    pub(crate) max_output_tokens: u32,
    /// What the server does not accept, as far as it is known.
    pub(crate) refused: RefusedParts,
}

impl ModelCall<'_> {
    pub(super) fn base_url(&self) -> &str {
        let default = self.model.provider.info().default_base_url;
        self.model
            .base_url
            .as_deref()
            .or(default)
            .unwrap_or_default()
    }

    pub(super) fn add_refused(&mut self, part: RequestPart) {
        let part_name = part.as_str();
        tracing::warn!(
            part = part_name,
            "the model server does not accept a part of the request"
        );
        self.refused.insert(part);
    }

    pub(super) fn is_refused(&self, part: RequestPart) -> bool {
        self.refused.contains(&part)
    }

    /// Whether a request has this part.
    pub(super) fn sends(&self, part: RequestPart) -> bool {
        match part {
            RequestPart::MaxTokens | RequestPart::MaxCompletionTokens => {
                self.limit_part() == Some(part)
            }
            RequestPart::Schema => self.enforced_schema().is_some(),
            RequestPart::SchemaWithTools => {
                self.enforced_schema().is_some() && !self.tools.is_empty()
            }
            RequestPart::SystemMessage => self.system_message().is_some(),
            RequestPart::Tools => !self.tools.is_empty(),
            RequestPart::EmptyContent => {
                let has_no_text = |message: &ChatMessage| {
                    matches!(message, ChatMessage::Model { text, calls, .. }
                        if text.trim().is_empty() && !calls.is_empty())
                };
                self.model.provider == Provider::Openai
                    && !self.is_refused(part)
                    && self.messages.iter().any(has_no_text)
            }
        }
    }

    /// The name of the limit of answers in the chat completions API. Newer models of OpenAI
    /// refuse the name that all other servers use.
    pub(super) fn limit_part(&self) -> Option<RequestPart> {
        if self.model.provider != Provider::Openai {
            return None;
        }
        let url = Url::parse(self.base_url()).ok();
        let is_openai = url.as_ref().and_then(Url::host_str) == Some("api.openai.com");
        let names = match is_openai {
            true => [RequestPart::MaxCompletionTokens, RequestPart::MaxTokens],
            false => [RequestPart::MaxTokens, RequestPart::MaxCompletionTokens],
        };
        names.into_iter().find(|name| !self.is_refused(*name))
    }

    /// The schema that the server is asked to enforce.
    pub(super) fn enforced_schema(&self) -> Option<&Value> {
        let can_enforce = protocol(self.model.provider)?.can_enforce;
        let is_refused = self.is_refused(RequestPart::Schema)
            || !self.tools.is_empty() && self.is_refused(RequestPart::SchemaWithTools);
        self.schema
            .filter(|schema| !is_refused && can_enforce(schema))
    }

    /// The text of the system message, which asks for a schema that the server does not
    /// enforce.
    fn system_text(&self) -> Cow<'_, str> {
        match self.schema {
            Some(schema) if self.enforced_schema().is_none() => Cow::Owned(format!(
                "{}\n\nAnswer with JSON only and no other text. It must match this JSON schema:\n{schema}",
                self.system
            )),
            _ => Cow::Borrowed(self.system),
        }
    }

    /// `None` if it would be blank, which some servers refuse, or if it is not accepted.
    pub(super) fn system_message(&self) -> Option<Cow<'_, str>> {
        let is_refused = self.is_refused(RequestPart::SystemMessage);
        Some(self.system_text()).filter(|text| !is_refused && !text.trim().is_empty())
    }

    /// The payload, after the text of the system message if the server accepts none.
    pub(super) fn user_message(&self) -> Cow<'_, str> {
        let payload = self.payload.as_json();
        match self.is_refused(RequestPart::SystemMessage) {
            true => Cow::Owned(format!("{}\n\n{payload}", self.system_text())),
            false => Cow::Borrowed(payload),
        }
    }
}

/// Sent in place of an empty text, which some servers refuse.
pub(super) fn or_nothing(text: &str) -> &str {
    match text.trim().is_empty() {
        true => "(nothing)",
        false => text,
    }
}
