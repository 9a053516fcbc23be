//! The agent loop as a state machine: it names the next effect, a driver
//! performs it and reports back.
//!
//! ```text
//! loop { match run.next() { Step::CallModel => run.model_replied(ask().await?),
//!                           Step::Done(ended) => return ended } }
//! ```
//! The loop never waits, retries or reads a clock: time and retries belong to
//! the task's budget, which the runner keeps.

use crate::{Answer, Ended, ErrorType, Failure, Outcome, Passage, Usage};

/// Largest result, as JSON: a Lambda can answer 6 MB.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// One run of one agent over one payload.
#[derive(Clone, Debug)]
pub struct Run {
    usage: Option<Usage>,
    sources: Vec<Passage>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    AwaitingModel,
    Done(Outcome),
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the model and report its reply.
    CallModel,
    /// Nothing: the run is over.
    Done(Ended),
}

/// One reply of a model.
#[derive(Clone, Debug, Default)]
pub struct ModelReply {
    /// The model's name as its server gives it.
    pub model: String,
    /// The text for the caller.
    pub text: String,
    /// Reasoning text, kept apart from the answer.
    pub thought: String,
    /// Names of the tools it wants called.
    pub tools_wanted: Vec<String>,
    /// Why it stopped.
    pub stop: StopReason,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Why a model stopped writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopReason {
    /// It was done.
    #[default]
    Stop,
    /// It hit the limit on output tokens.
    Length,
    /// Its server withheld the text.
    Filtered,
}

impl Run {
    /// A run that answers on these passages.
    pub const fn new(sources: Vec<Passage>) -> Self {
        Self { usage: None, sources, state: State::AwaitingModel }
    }

    /// What to do now.
    pub fn next(&self) -> Step {
        match &self.state {
            State::AwaitingModel => Step::CallModel,
            State::Done(outcome) => Step::Done(Ended { outcome: outcome.clone(), usage: self.usage.clone() }),
        }
    }

    /// What it has cost so far.
    pub const fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// Takes in what the model said.
    pub fn model_replied(&mut self, reply: ModelReply) {
        self.count(&reply);
        let outcome = match failure_in(&reply) {
            Some(failure) => Outcome::Failure(failure),
            None => bounded(Answer {
                answer: reply.text,
                sources: std::mem::take(&mut self.sources),
                thought: reply.thought,
                tool_calls: Vec::new(),
            }),
        };
        self.state = State::Done(outcome);
    }

    /// Takes in what was found without a model: an answer that cost no tokens.
    pub fn passages_replied(&mut self, reply: ModelReply) {
        self.model_replied(reply);
        self.usage = None;
    }

    fn count(&mut self, reply: &ModelReply) {
        let usage = self.usage.get_or_insert_default();
        usage.model.clone_from(&reply.model);
        usage.turns += 1;
        usage.input_tokens = usage.input_tokens.saturating_add(reply.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(reply.output_tokens);
    }
}

/// A SUCCESS that whoever asks for it can be handed.
fn bounded(answer: Answer) -> Outcome {
    let size = serde_json::to_vec(&answer).map_or(usize::MAX, |json| json.len());
    if size <= MAX_RESULT_BYTES {
        return Outcome::Success(answer);
    }
    Outcome::Failure(Failure::permanent(
        ErrorType::BudgetExceeded,
        "The result is larger than 4194304 bytes of JSON",
    ))
}

/// A reply that must not become a SUCCESS.
fn failure_in(reply: &ModelReply) -> Option<Failure> {
    let permanent = |kind, message: &str| Some(Failure::permanent(kind, message));
    if let Some(tool) = reply.tools_wanted.first() {
        let message = format!("The model asked for the tool `{tool}`, which this agent does not have");
        return Some(Failure::permanent(ErrorType::ToolError, message));
    }
    match reply.stop {
        StopReason::Length => permanent(
            ErrorType::BudgetExceeded,
            "The model's answer was cut off at its limit of output tokens; raise limits.max_output_tokens",
        ),
        StopReason::Filtered => permanent(
            ErrorType::ModelError,
            "The model's server withheld the answer because of its content filter",
        ),
        StopReason::Stop if reply.text.trim().is_empty() => {
            permanent(ErrorType::EmptyAnswer, "The model answered nothing")
        }
        StopReason::Stop => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(reply: ModelReply) -> Ended {
        let mut run = Run::new(Vec::new());
        assert_eq!(run.next(), Step::CallModel);
        run.model_replied(reply);
        match run.next() {
            Step::Done(ended) => ended,
            Step::CallModel => panic!("the run goes on"),
        }
    }

    fn reply(text: &str) -> ModelReply {
        ModelReply {
            text: text.into(),
            model: "m".into(),
            input_tokens: 3,
            output_tokens: 4,
            ..ModelReply::default()
        }
    }

    fn failure(reply: ModelReply) -> ErrorType {
        match run(reply).outcome {
            Outcome::Failure(failure) => failure.kind,
            Outcome::Success(answer) => panic!("a success: {answer:?}"),
        }
    }

    #[test]
    fn an_answer_ends_the_run_with_what_it_cost() {
        let ended = run(reply("Done."));
        assert!(matches!(&ended.outcome, Outcome::Success(answer) if answer.answer == "Done."));
        let usage = Usage { model: "m".into(), turns: 1, input_tokens: 3, output_tokens: 4 };
        assert_eq!(ended.usage, Some(usage));
    }

    #[test]
    fn a_run_that_answered_nothing_is_no_success() {
        assert_eq!(failure(reply(" \n")), ErrorType::EmptyAnswer);
    }

    #[test]
    fn a_truncated_or_withheld_answer_is_no_success() {
        assert_eq!(
            failure(ModelReply { stop: StopReason::Length, ..reply("half an") }),
            ErrorType::BudgetExceeded
        );
        assert_eq!(failure(ModelReply { stop: StopReason::Filtered, ..reply("x") }), ErrorType::ModelError);
    }

    #[test]
    fn a_result_that_could_not_be_read_back_is_no_success() {
        assert_eq!(failure(reply(&"x".repeat(4 * 1024 * 1024))), ErrorType::BudgetExceeded);
        assert!(matches!(run(reply(&"x".repeat(4_000_000))).outcome, Outcome::Success(_)));
    }

    #[test]
    fn a_tool_that_does_not_exist_fails_the_run_by_name() {
        let wants = ModelReply { tools_wanted: vec!["refund".into()], ..reply("") };
        assert_eq!(failure(wants), ErrorType::ToolError);
    }
}
