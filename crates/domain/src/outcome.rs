//! The outcome of a task.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::run::ToolCallRecord;
use crate::{ErrorDetail, Passage, cut};

/// The outcome of a task and its token usage. This is also the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub outcome: Outcome,
    /// `None` if no model was called.
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Success(Answer),
    Failure(Failure),
}

/// The result of a successful task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The answer. Never empty.
    pub answer: String,
    /// The passages of the agent's sources that the model was given or found.
    pub sources: Vec<Passage>,
    /// The model's reasoning. Empty if the provider returned none.
    pub thought: String,
    /// The tool calls, in order.
    pub tool_calls: Vec<ToolCallRecord>,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The kind of failure, for programs.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// What went wrong and what to do, for people. Contains no secrets.
    pub message: String,
    /// The message for the log, if it differs: without text from a model or its provider, which
    /// only readers of the task may see.
    #[serde(skip)]
    #[schema(ignore)]
    pub log_message: Option<Cow<'static, str>>,
    /// Whether a new trigger, with another idempotency key, may succeed.
    pub retryable: bool,
    /// What the model provider or the MCP server said about its error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<ErrorDetail>>,
    /// The tool calls before the failure, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallRecord>,
}

/// Bytes of a failure's message in a list. Our own messages are shorter.
const LONGEST_MESSAGE: usize = 1000;

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The run exceeded its time limit.
    Timeout,
    /// The model provider refused the request, failed or returned an unexpected response.
    ModelError,
    /// A tool failed and the agent could not work around it.
    ToolError,
    /// The agent's definition cannot be run, or the agent was deleted.
    InvalidAgent,
    /// The run ended without an answer.
    EmptyAnswer,
    /// A limit on turns, tokens or sizes was reached.
    BudgetExceeded,
    /// The task was cancelled.
    Cancelled,
    /// Every attempt lost its worker.
    WorkerLost,
    /// An internal error.
    Internal,
}

impl Ended {
    /// For lists: without answer, sources and tool calls.
    #[must_use]
    pub fn in_brief(&self) -> Self {
        let outcome = match &self.outcome {
            Outcome::Success(_) => Outcome::Success(Answer::default()),
            Outcome::Failure(failure) => Outcome::Failure(failure.in_brief()),
        };
        Self {
            outcome,
            usage: self.usage.clone().map(Usage::in_brief),
        }
    }
}

impl Failure {
    /// For lists: without tool calls, and with a short message.
    #[must_use]
    pub fn in_brief(&self) -> Self {
        Self {
            kind: self.kind,
            message: cut(&self.message, LONGEST_MESSAGE),
            log_message: None,
            retryable: self.retryable,
            detail: self.detail.clone(),
            tool_calls: Vec::new(),
        }
    }
}

impl Usage {
    /// For lists: with a short model name. Providers may return names of any length.
    #[must_use]
    pub fn in_brief(mut self) -> Self {
        self.model
            .truncate(self.model.floor_char_boundary(Self::LONGEST_NAME));
        self
    }

    /// Stored bytes of a model's name. No known model has a longer one.
    pub const LONGEST_NAME: usize = 256;
}

impl Answer {
    pub fn is_blank(&self) -> bool {
        self.answer.trim().is_empty()
    }
}

impl ErrorType {
    /// As stored and as in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ModelError => "model_error",
            Self::ToolError => "tool_error",
            Self::InvalidAgent => "invalid_agent",
            Self::EmptyAnswer => "empty_answer",
            Self::BudgetExceeded => "budget_exceeded",
            Self::Cancelled => "cancelled",
            Self::WorkerLost => "worker_lost",
            Self::Internal => "internal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Timeout,
            Self::ModelError,
            Self::ToolError,
            Self::InvalidAgent,
            Self::EmptyAnswer,
            Self::BudgetExceeded,
            Self::Cancelled,
            Self::WorkerLost,
            Self::Internal,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

impl Failure {
    /// A failure that another trigger would repeat.
    pub fn permanent(kind: ErrorType, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            log_message: None,
            retryable: false,
            detail: None,
            tool_calls: Vec::new(),
        }
    }

    /// A failure that another trigger may avoid.
    pub fn transient(kind: ErrorType, message: impl Into<String>) -> Self {
        Self {
            retryable: true,
            ..Self::permanent(kind, message)
        }
    }

    /// The same failure with another message in the log.
    #[must_use]
    pub fn logged_as(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            log_message: Some(message.into()),
            ..self
        }
    }

    #[must_use]
    pub fn with_detail(self, detail: ErrorDetail) -> Self {
        Self {
            detail: Some(Box::new(detail)),
            ..self
        }
    }

    /// The message for the log.
    pub fn log_message(&self) -> &str {
        self.log_message.as_deref().unwrap_or(&self.message)
    }

    pub fn worker_lost() -> Self {
        Self::transient(
            ErrorType::WorkerLost,
            "Every worker that ran this task was lost",
        )
    }
}

/// Token usage, as the model provider counted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// The model's name, as returned by the provider.
    pub model: String,
    /// The number of calls to the model.
    pub turns: u32,
    /// Input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_in_brief_is_short_whatever_the_provider_returned() {
        let usage = Usage {
            model: "é".repeat(500_000),
            turns: 1,
            input_tokens: 2,
            output_tokens: 3,
        };
        let failure = Failure::transient(ErrorType::ToolError, "x".repeat(1_000_000));
        let ended = Ended {
            outcome: Outcome::Failure(failure),
            usage: Some(usage),
        };
        let brief = ended.in_brief();
        assert!(serde_json::to_vec(&brief).unwrap().len() < 2000);
        assert_eq!(brief.usage.unwrap().model, "é".repeat(128));
    }

    #[test]
    fn an_error_type_has_the_same_name_in_the_log_and_in_the_api() {
        for kind in [
            ErrorType::Timeout,
            ErrorType::InvalidAgent,
            ErrorType::WorkerLost,
        ] {
            assert_eq!(serde_json::json!(kind), kind.as_str());
            assert_eq!(ErrorType::parse(kind.as_str()), Some(kind));
        }
    }
}
