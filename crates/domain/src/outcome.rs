//! How a task ends.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cut;
use crate::run::ToolCallRecord;

/// The end of a task and what it cost. This is also how it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// SUCCESS or FAILURE with what belongs to it.
    pub outcome: Outcome,
    /// Tokens spent, for failures too; `None` if no model was asked.
    pub usage: Option<Usage>,
}

/// A task ends exactly once, in one of two ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent answered.
    Success(Answer),
    /// It did not, and why.
    Failure(Failure),
}

/// What an agent answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Never empty in a SUCCESS.
    pub answer: String,
    /// The passages the answer was given on.
    pub sources: Vec<Passage>,
    /// The model's reasoning, if it gave any.
    pub thought: String,
    /// The tools the agent called, in order.
    pub tool_calls: Vec<ToolCallRecord>,
}

/// A piece of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// The source's title.
    pub title: String,
    /// The passage itself.
    pub text: String,
    /// Where it comes from: a URL or a file name; of a text in the agent's own
    /// definition, its title.
    pub source: String,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// For programs.
    #[serde(rename = "type")]
    pub kind: ErrorType,
    /// For people: one sentence without secrets.
    pub message: String,
    /// The message as it is logged, if that differs: without words of a model or of its
    /// server, which only the task's readers may see.
    #[serde(skip)]
    #[schema(ignore)]
    pub log_message: Option<Cow<'static, str>>,
    /// Whether triggering again, under another key, may succeed.
    pub retryable: bool,
    /// The tools the agent had called, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallRecord>,
}

/// Bytes of a failure's sentence in a list; our own are shorter.
const LONGEST_MESSAGE: usize = 1000;

/// The kinds of failure a caller can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// The time limit of the run is over.
    Timeout,
    /// The model's server refused, failed or answered nonsense.
    ModelError,
    /// A tool failed in a way the agent could not work around.
    ToolError,
    /// The agent's definition cannot run, or the agent is gone.
    InvalidAgent,
    /// The run ended without an answer.
    EmptyAnswer,
    /// A limit on turns or tokens was reached.
    BudgetExceeded,
    /// Somebody stopped the task.
    Cancelled,
    /// The runner died every time.
    WorkerLost,
    /// A fault of ours.
    Internal,
}

impl Ended {
    /// The end alone, for lists: without answer, sources and tools.
    #[must_use]
    pub fn in_brief(&self) -> Self {
        let outcome = match &self.outcome {
            Outcome::Success(_) => Outcome::Success(Answer::default()),
            Outcome::Failure(failure) => Outcome::Failure(failure.in_brief()),
        };
        Self { outcome, usage: self.usage.clone().map(Usage::in_brief) }
    }
}

impl Failure {
    /// Without the tools, and no longer than a list has room for.
    #[must_use]
    pub fn in_brief(&self) -> Self {
        Self {
            kind: self.kind,
            message: cut(&self.message, LONGEST_MESSAGE),
            log_message: None,
            retryable: self.retryable,
            tool_calls: Vec::new(),
        }
    }
}

impl Usage {
    /// With a name that a list has room for: servers call themselves what they like.
    #[must_use]
    pub fn in_brief(mut self) -> Self {
        self.model.truncate(self.model.floor_char_boundary(Self::LONGEST_NAME));
        self
    }

    /// Bytes kept of a model's name: more than any model has.
    pub const LONGEST_NAME: usize = 256;
}

impl Answer {
    /// Whether it says nothing.
    pub fn is_blank(&self) -> bool {
        self.answer.trim().is_empty()
    }
}

impl ErrorType {
    /// As stored and answered.
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

    /// Reads what [`Self::as_str`] wrote.
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
    /// A failure that triggering again will not mend.
    pub fn permanent(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), log_message: None, retryable: false, tool_calls: Vec::new() }
    }

    /// A failure that may pass.
    pub fn passing(kind: ErrorType, message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::permanent(kind, message) }
    }

    /// The same failure, which is logged as this.
    #[must_use]
    pub fn logged_as(self, message: impl Into<Cow<'static, str>>) -> Self {
        Self { log_message: Some(message.into()), ..self }
    }

    /// What the log may say of it.
    pub fn log_message(&self) -> &str {
        self.log_message.as_deref().unwrap_or(&self.message)
    }

    /// The task whose runner was killed every time.
    pub fn worker_lost() -> Self {
        Self::passing(ErrorType::WorkerLost, "No worker could bring this task to an end")
    }
}

/// What the model's server counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// The model's name, as its server gives it.
    pub model: String,
    /// Calls to the model.
    pub turns: u32,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_brief_is_short_whatever_servers_said() {
        let usage = Usage { model: "é".repeat(500_000), turns: 1, input_tokens: 2, output_tokens: 3 };
        let failure = Failure::passing(ErrorType::ToolError, "x".repeat(1_000_000));
        let ended = Ended { outcome: Outcome::Failure(failure), usage: Some(usage) };
        let brief = ended.in_brief();
        assert!(serde_json::to_vec(&brief).unwrap().len() < 2000);
        assert_eq!(brief.usage.unwrap().model, "é".repeat(128));
    }

    #[test]
    fn an_error_type_is_logged_as_it_is_answered() {
        for kind in [ErrorType::Timeout, ErrorType::InvalidAgent, ErrorType::WorkerLost] {
            assert_eq!(serde_json::json!(kind), kind.as_str());
            assert_eq!(ErrorType::parse(kind.as_str()), Some(kind));
        }
    }
}
