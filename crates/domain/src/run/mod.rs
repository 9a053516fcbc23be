//! The agent loop as a state machine. It returns the next step, and a driver performs the step
//! and reports the result.
//!
//! ```text
//! loop { match run.next() {
//!     Step::CallModel       => run.model_replied(ask().await?, rules),
//!     Step::CallTools(turn) => run.tools_replied(&turn, call_all(&turn).await),
//!     Step::Done(ended)     => return ended,
//! } }
//! ```
//! The loop never waits, retries or reads a clock. The runner enforces the task's time budget
//! and retries. A run can be stored between any two steps and resumed by another attempt, which
//! then makes exactly the tool calls that were stored.

mod bounds;
mod budget;
mod talk;
mod thinking;
mod tool_schema;
mod verdict;
mod written_calls;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    Answer, AnswerSchema, Ended, Failure, Limits, Outcome, Passage, SchemaMismatch, Usage,
};
pub use bounds::fits_lambda_response;
use bounds::{name_calls, showable, success_if_it_fits};
pub use talk::{
    CallOutcome, CallReport, ChatMessage, ChatTurn, ModelReply, StopReason, ToolCall,
    ToolCallRecord, ToolResult, ToolSpec,
};
pub use tool_schema::normalize_tool_schema;
use verdict::{
    conversation_too_long, correction, does_not_fit, failure_in, keeps_failing, needs_approval,
    nothing_found,
};

/// How often the model is asked to correct an answer that does not match the schema.
const MAX_CORRECTIONS: u32 = 2;
/// Tool calls in one turn.
const MAX_CALLS: usize = 32;
/// Consecutive turns in which every call may fail. After one more the run fails.
const FAILED_TURNS: u32 = 2;

/// One run of one agent over one payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    usage: Option<Usage>,
    /// The passages given with the prompt, then those that tools returned.
    sources: Vec<Passage>,
    /// The number of passages given with the prompt.
    given: usize,
    talk: Vec<ChatMessage>,
    thought: String,
    tool_calls: Vec<ToolCallRecord>,
    failed_turns: u32,
    /// The number of answers that did not match the schema.
    #[serde(default)]
    corrections: u32,
    state: RunState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RunState {
    AwaitingModel,
    AwaitingTools,
    Done(Outcome),
}

/// The driver's next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call the model and report its reply.
    CallModel,
    /// Call these tools in parallel and report the results.
    CallTools(ChatTurn),
    /// The run is over.
    Done(Ended),
}

/// The agent's rules for a run. They may change between two attempts.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub limits: &'a Limits,
    pub has_tools: bool,
    /// The schema of the answer.
    pub schema: Option<&'a AnswerSchema>,
}

impl Default for Run {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Run {
    /// A run with these passages of the agent's sources.
    pub const fn new(sources: Vec<Passage>) -> Self {
        Self {
            usage: None,
            given: sources.len(),
            sources,
            talk: Vec::new(),
            thought: String::new(),
            tool_calls: Vec::new(),
            failed_turns: 0,
            corrections: 0,
            state: RunState::AwaitingModel,
        }
    }

    pub fn next(&self) -> Step {
        match &self.state {
            RunState::AwaitingModel => Step::CallModel,
            RunState::AwaitingTools => Step::CallTools(self.turn()),
            RunState::Done(outcome) => Step::Done(Ended {
                outcome: outcome.clone(),
                usage: self.usage.clone(),
            }),
        }
    }

    pub const fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The passages that the model gets with the prompt.
    pub fn context(&self) -> &[Passage] {
        self.sources.get(..self.given).unwrap_or_default()
    }

    /// The messages after the prompt and the payload.
    pub fn messages(&self) -> &[ChatMessage] {
        &self.talk
    }

    /// Whether the model was called. A new run would then repeat paid work.
    pub const fn is_in_progress(&self) -> bool {
        self.usage.is_some()
    }

    /// The outcome of a task that is given up, with its run if it has one.
    pub fn given_up(run: Option<&Self>, failure: Failure) -> Ended {
        match run {
            Some(run) => run.stopped(failure),
            None => Ended::without_usage(failure),
        }
    }

    /// The outcome of a run that was stopped from outside.
    pub fn stopped(&self, failure: Failure) -> Ended {
        let mut tool_calls = self.tool_calls.clone();
        if self.state == RunState::AwaitingTools {
            let turn = self.turn();
            let unknown = |call| ToolCallRecord::new(call, &CallReport::unknown(), turn.number);
            tool_calls.extend(turn.calls.iter().map(unknown));
        }
        let failure = Failure {
            tool_calls: showable(tool_calls),
            ..failure
        };
        Ended {
            outcome: Outcome::Failure(failure),
            usage: self.usage.clone(),
        }
    }

    /// Records the model's reply.
    pub fn model_replied(&mut self, reply: ModelReply, rules: Rules<'_>) {
        self.count(&reply);
        if !reply.thought.is_empty() {
            if !self.thought.is_empty() {
                self.thought.push_str("\n\n");
            }
            self.thought.push_str(&reply.thought);
        }
        match failure_in(&reply, rules) {
            Some(failure) => self.fail(failure),
            None if reply.calls.is_empty() => self.check_answer(reply, rules),
            None => self.call_tools(reply, rules.limits),
        }
    }

    /// Records the results of the calls of a turn, in their order.
    pub fn tools_replied(&mut self, turn: &ChatTurn, called: Vec<CallReport>) {
        let mut results = Vec::with_capacity(called.len());
        let (mut refused, mut last_error, mut worked) = (None, None, false);
        for (call, called) in turn.calls.iter().zip(called) {
            self.tool_calls
                .push(ToolCallRecord::new(call, &called, turn.number));
            match called.outcome {
                CallOutcome::Ok => worked = true,
                CallOutcome::Error | CallOutcome::Unknown => last_error = Some(call.name.clone()),
                CallOutcome::Refused => refused = Some(call.name.clone()),
            }
            self.add_sources(called.passages);
            let is_error = called.outcome != CallOutcome::Ok;
            let (id, name) = (call.id.clone(), call.name.clone());
            results.push(ToolResult {
                id,
                name,
                content: called.content,
                is_error,
            });
        }
        // After each turn, because the arguments of all calls of a run take too much memory.
        self.tool_calls = showable(std::mem::take(&mut self.tool_calls));
        self.failed_turns = if worked { 0 } else { self.failed_turns + 1 };
        self.talk.push(ChatMessage::Tools(results));
        self.state = RunState::AwaitingModel;
        if let Some(tool) = refused {
            self.fail(needs_approval(&tool));
        } else if let Some(tool) = last_error.filter(|_| self.failed_turns > FAILED_TURNS) {
            self.fail(keeps_failing(&tool));
        } else if self.is_talk_too_long() {
            self.fail(conversation_too_long());
        }
    }

    /// Answers without a model: the answer is the text of the passages and costs no tokens.
    pub fn answer_from_sources(&mut self) {
        let passages: Vec<String> = self
            .context()
            .iter()
            .map(|passage| format!("{}\n— {}", passage.text, passage.title))
            .collect();
        match passages.is_empty() {
            true => self.fail(nothing_found()),
            false => self.succeed(passages.join("\n\n")),
        }
    }

    fn check_answer(&mut self, mut reply: ModelReply, rules: Rules<'_>) {
        let Some(schema) = rules.schema else {
            return self.succeed(reply.text);
        };
        let checked = reply.checked.take();
        match checked.unwrap_or_else(|| schema.validate_answer(&reply.text).map(Cow::into_owned)) {
            Ok(json) => self.succeed(json),
            Err(mismatch) => self.correct(reply, schema, &mismatch, rules.limits),
        }
    }

    /// Asks the model to correct its answer, at most [`MAX_CORRECTIONS`] times.
    fn correct(
        &mut self,
        reply: ModelReply,
        schema: &AnswerSchema,
        mismatch: &SchemaMismatch,
        limits: &Limits,
    ) {
        if self.corrections == MAX_CORRECTIONS || self.out_of_budget(limits).is_some() {
            return self.fail(does_not_fit(mismatch, self.corrections));
        }
        self.corrections += 1;
        let ModelReply {
            text, calls, echo, ..
        } = reply;
        self.talk.push(ChatMessage::Model { text, calls, echo });
        self.talk
            .push(ChatMessage::Correction(correction(schema, mismatch)));
    }

    fn succeed(&mut self, text: String) {
        let answer = Answer {
            answer: text,
            sources: std::mem::take(&mut self.sources),
            thought: std::mem::take(&mut self.thought),
            tool_calls: showable(std::mem::take(&mut self.tool_calls)),
        };
        self.state = RunState::Done(success_if_it_fits(answer));
    }

    fn fail(&mut self, failure: Failure) {
        let tool_calls = showable(std::mem::take(&mut self.tool_calls));
        self.state = RunState::Done(Outcome::Failure(Failure {
            tool_calls,
            ..failure
        }));
    }

    fn call_tools(&mut self, reply: ModelReply, limits: &Limits) {
        let ModelReply {
            text,
            mut calls,
            echo,
            ..
        } = reply;
        name_calls(&mut calls, self.turns());
        self.talk.push(ChatMessage::Model { text, calls, echo });
        match self.out_of_budget(limits) {
            Some(failure) => self.fail(failure),
            None => self.state = RunState::AwaitingTools,
        }
    }

    /// Adds passages to the sources of the answer, each once.
    fn add_sources(&mut self, passages: Vec<Passage>) {
        for passage in passages {
            if !self.sources.contains(&passage) {
                self.sources.push(passage);
            }
        }
    }

    fn turn(&self) -> ChatTurn {
        let calls = match self.talk.last() {
            Some(ChatMessage::Model { calls, .. }) => calls.clone(),
            _ => Vec::new(),
        };
        ChatTurn {
            number: self.turns(),
            calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ErrorType, MAX_JSON_VALUES};

    fn rules(limits: &Limits) -> Rules<'_> {
        Rules {
            limits,
            has_tools: true,
            schema: None,
        }
    }

    fn run(reply: ModelReply) -> Ended {
        let mut run = Run::new(Vec::new());
        assert_eq!(run.next(), Step::CallModel);
        let limits = Limits::default();
        run.model_replied(
            reply,
            Rules {
                has_tools: false,
                ..rules(&limits)
            },
        );
        done(&run)
    }

    fn done(run: &Run) -> Ended {
        match run.next() {
            Step::Done(ended) => ended,
            step => panic!("the run goes on: {step:?}"),
        }
    }

    fn turn(run: &Run) -> ChatTurn {
        match run.next() {
            Step::CallTools(turn) => turn,
            step => panic!("no tool is to be called: {step:?}"),
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

    fn wants(names: &[&str]) -> ModelReply {
        let call = |name: &&str| ToolCall {
            id: "same".into(),
            name: (*name).into(),
            arguments: "{}".into(),
        };
        ModelReply {
            calls: names.iter().map(call).collect(),
            ..reply("")
        }
    }

    fn called(content: &str, outcome: CallOutcome) -> CallReport {
        CallReport {
            content: content.into(),
            outcome,
            took: Duration::from_millis(5),
            passages: Vec::new(),
        }
    }

    fn kind(ended: &Ended) -> ErrorType {
        match &ended.outcome {
            Outcome::Failure(failure) => failure.kind,
            Outcome::Success(answer) => panic!("a success: {answer:?}"),
        }
    }

    fn failure(reply: ModelReply) -> ErrorType {
        kind(&run(reply))
    }

    #[test]
    fn an_answer_ends_the_run_with_what_it_cost() {
        let ended = run(reply("Done."));
        assert!(matches!(&ended.outcome, Outcome::Success(answer) if answer.answer == "Done."));
        let usage = Usage {
            model: "m".into(),
            turns: 1,
            input_tokens: 3,
            output_tokens: 4,
        };
        assert_eq!(ended.usage, Some(usage));
    }

    #[test]
    fn an_empty_answer_is_not_a_success() {
        assert_eq!(failure(reply(" \n")), ErrorType::EmptyAnswer);
    }

    #[test]
    fn a_truncated_or_withheld_answer_is_not_a_success() {
        for (stop, kind) in [
            (StopReason::Length, ErrorType::BudgetExceeded),
            (StopReason::ContextFull, ErrorType::BudgetExceeded),
            (StopReason::Filtered, ErrorType::ModelError),
            (StopReason::Refused, ErrorType::ModelError),
            (StopReason::Broken, ErrorType::ModelError),
        ] {
            assert_eq!(
                failure(ModelReply {
                    stop,
                    ..reply("half an")
                }),
                kind
            );
            // Calls whose arguments may be truncated are not made either.
            assert_eq!(
                failure(ModelReply {
                    stop,
                    ..wants(&["a"])
                }),
                kind
            );
        }
    }

    #[test]
    fn a_result_that_is_too_large_to_return_is_not_a_success() {
        assert_eq!(
            failure(reply(&"x".repeat(4 * 1024 * 1024))),
            ErrorType::BudgetExceeded
        );
        assert!(matches!(
            run(reply(&"x".repeat(4_000_000))).outcome,
            Outcome::Success(_)
        ));
    }

    #[test]
    fn an_agent_without_tools_fails_if_the_model_calls_one() {
        assert_eq!(failure(wants(&["refund"])), ErrorType::ToolError);
    }

    #[test]
    fn tools_are_called_and_their_results_sent_to_the_model_until_it_answers() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        let asked = ModelReply {
            thought: "Look it up.".into(),
            ..wants(&["a", "b"])
        };
        run.model_replied(asked, rules(&limits));
        let first = turn(&run);
        assert_eq!(
            first
                .calls
                .iter()
                .map(|call| call.id.as_str())
                .collect::<Vec<_>>(),
            ["same", "call_1_2"]
        );
        run.tools_replied(
            &first,
            vec![
                called("7", CallOutcome::Ok),
                called("no", CallOutcome::Error),
            ],
        );
        assert_eq!(run.next(), Step::CallModel);
        let expected = ToolResult {
            id: "call_1_2".into(),
            name: "b".into(),
            content: "no".into(),
            is_error: true,
        };
        assert!(
            matches!(run.messages(), [ChatMessage::Model { .. }, ChatMessage::Tools(results)] if results[1] == expected)
        );

        run.model_replied(
            ModelReply {
                thought: "Good.".into(),
                ..reply("Seven.")
            },
            rules(&limits),
        );
        let ended = done(&run);
        let Outcome::Success(answer) = ended.outcome else {
            panic!("no success")
        };
        assert_eq!(
            (answer.answer.as_str(), answer.thought.as_str()),
            ("Seven.", "Look it up.\n\nGood.")
        );
        assert_eq!(answer.tool_calls.len(), 2);
        assert_eq!(
            (answer.tool_calls[1].status, answer.tool_calls[1].turn),
            (CallOutcome::Error, 1)
        );
        assert_eq!(
            ended.usage.map(|usage| (usage.turns, usage.input_tokens)),
            Some((2, 6))
        );
    }

    #[test]
    fn a_resumed_run_makes_the_same_calls() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["a", "b"]), rules(&limits));
        let again: Run = serde_json::from_slice(&serde_json::to_vec(&run).unwrap()).unwrap();
        assert_eq!(again, run);
        assert_eq!(turn(&again), turn(&run));
    }

    #[test]
    fn a_stopped_run_reports_the_calls_that_may_have_been_made() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![called("1", CallOutcome::Ok)]);
        run.model_replied(wants(&["b"]), rules(&limits));
        let Outcome::Failure(failure) = run.stopped(Failure::worker_lost()).outcome else {
            panic!("a success")
        };
        let calls: Vec<_> = failure
            .tool_calls
            .iter()
            .map(|call| (call.tool_name.as_str(), call.status, call.turn))
            .collect();
        assert_eq!(
            calls,
            [("a", CallOutcome::Ok, 1), ("b", CallOutcome::Unknown, 2)]
        );
    }

    #[test]
    fn passages_that_tools_return_are_listed_once() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        let passage = Passage {
            title: "t".into(),
            text: "x".into(),
            source: "s".into(),
        };
        let found = CallReport {
            passages: vec![passage.clone()],
            ..called("x", CallOutcome::Ok)
        };
        run.model_replied(wants(&["a", "a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![found.clone(), found]);
        assert_eq!(run.context(), []);
        run.model_replied(reply("x"), rules(&limits));
        assert!(
            matches!(done(&run).outcome, Outcome::Success(answer) if answer.sources == [passage])
        );
    }

    #[test]
    fn no_tool_is_called_if_the_model_cannot_be_called_again() {
        let limits = [
            Limits {
                max_turns: 2,
                ..Limits::default()
            },
            Limits {
                max_total_tokens: 14,
                ..Limits::default()
            },
        ];
        for limits in limits {
            let mut run = Run::new(Vec::new());
            run.model_replied(wants(&["a"]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called("1", CallOutcome::Ok)]);
            run.model_replied(wants(&["a"]), rules(&limits));
            let ended = done(&run);
            assert_eq!(kind(&ended), ErrorType::BudgetExceeded);
            assert!(
                matches!(ended.outcome, Outcome::Failure(failure) if failure.tool_calls.len() == 1)
            );
        }
    }

    #[test]
    fn an_answer_that_used_up_the_budget_is_still_an_answer() {
        let limits = Limits {
            max_turns: 1,
            max_total_tokens: 7,
            ..Limits::default()
        };
        let mut run = Run::new(Vec::new());
        assert_eq!(run.output_allowance(&limits), 7);
        run.model_replied(reply("Done."), rules(&limits));
        assert!(matches!(done(&run).outcome, Outcome::Success(_)));
    }

    #[test]
    fn a_tool_that_needs_approval_ends_the_run() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["refund", "b"]), rules(&limits));
        run.tools_replied(
            &turn(&run),
            vec![
                called("", CallOutcome::Refused),
                called("1", CallOutcome::Ok),
            ],
        );
        assert_eq!(kind(&done(&run)), ErrorType::ToolError);
    }

    #[test]
    fn an_agent_may_work_around_two_failed_turns_and_not_three() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        for outcome in [
            CallOutcome::Error,
            CallOutcome::Error,
            CallOutcome::Ok,
            CallOutcome::Error,
            CallOutcome::Error,
        ] {
            run.model_replied(wants(&["a"]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called("x", outcome)]);
            assert_eq!(run.next(), Step::CallModel);
        }
        run.model_replied(wants(&["a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![called("x", CallOutcome::Error)]);
        assert_eq!(kind(&done(&run)), ErrorType::ToolError);
    }

    #[test]
    fn a_failure_with_many_long_calls_fits_in_a_response() {
        let (mut run, limits) = (
            Run::new(Vec::new()),
            Limits {
                max_turns: 31,
                ..Limits::default()
            },
        );
        let quotes = "\"".repeat(4096);
        for _ in 0..30 {
            run.model_replied(wants(&["a"; 32]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called(&quotes, CallOutcome::Ok); 32]);
        }
        let ended = run.stopped(Failure::worker_lost());
        let json = serde_json::to_string(&ended).unwrap();
        assert!(
            serde_json::to_string(&json).unwrap().len() < 4_000_000,
            "{}",
            json.len()
        );
        let Outcome::Failure(failure) = ended.outcome else {
            panic!("a success")
        };
        assert_eq!(failure.tool_calls.len(), 30 * 32);
        assert!(failure.tool_calls[959].result.contains("left out"));
    }

    #[test]
    fn the_arguments_of_all_calls_have_a_limited_number_of_values() {
        let (mut run, limits) = (
            Run::new(Vec::new()),
            Limits {
                max_turns: 31,
                ..Limits::default()
            },
        );
        let arguments = format!("[{}0]", "[0],".repeat(500));
        for _ in 0..2 {
            let mut reply = wants(&["a"; 32]);
            reply
                .calls
                .iter_mut()
                .for_each(|call| call.arguments.clone_from(&arguments));
            run.model_replied(reply, rules(&limits));
            run.tools_replied(&turn(&run), vec![called("x", CallOutcome::Ok); 32]);
        }
        let shown = run
            .tool_calls
            .iter()
            .filter(|call| call.arguments.is_array())
            .count();
        assert_eq!(shown, MAX_JSON_VALUES / 1002);
    }

    #[test]
    fn a_conversation_that_is_too_long_ends_the_run() {
        let (mut run, limits) = (
            Run::new(Vec::new()),
            Limits {
                max_turns: 100,
                ..Limits::default()
            },
        );
        run.model_replied(wants(&["a"; 5]), rules(&limits));
        let long = "x".repeat(1024 * 1024);
        run.tools_replied(&turn(&run), vec![called(&long, CallOutcome::Ok); 5]);
        assert_eq!(kind(&done(&run)), ErrorType::BudgetExceeded);
        let mut run = Run::new(Vec::new());
        run.model_replied(wants(&["a"; 33]), rules(&limits));
        assert_eq!(kind(&done(&run)), ErrorType::BudgetExceeded);
    }

    #[test]
    fn an_answer_that_does_not_match_its_schema_is_corrected_at_most_twice() {
        let schema = AnswerSchema::parse(&serde_json::json!({ "type": "integer" })).unwrap();
        let limits = Limits::default();
        let rules = Rules {
            schema: Some(&schema),
            ..rules(&limits)
        };
        for (answers, end) in [
            (&["7"][..], Some("7")),
            (&["seven", "```json\n7\n```"], Some("7")),
            (&["seven", "\"7\"", "7"], Some("7")),
            (&["seven", "\"7\"", "7.5"], None),
        ] {
            let mut run = Run::new(Vec::new());
            for answer in answers {
                assert_eq!(run.next(), Step::CallModel, "{answers:?}");
                run.model_replied(reply(answer), rules);
            }
            let ended = done(&run);
            assert_eq!(
                ended.usage.map(|usage| usage.turns as usize),
                Some(answers.len())
            );
            match (ended.outcome, end) {
                (Outcome::Success(answer), Some(end)) => assert_eq!(answer.answer, end),
                (Outcome::Failure(failure), None) => {
                    assert_eq!(failure.kind, ErrorType::ModelError);
                    assert!(
                        failure.message.contains("after 2 corrections"),
                        "{}",
                        failure.message
                    );
                }
                (outcome, _) => panic!("{answers:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_correction_counts_toward_the_budget_and_says_what_is_wrong() {
        let schema = AnswerSchema::parse(&serde_json::json!({ "type": "integer" })).unwrap();
        let limits = Limits {
            max_turns: 2,
            ..Limits::default()
        };
        let rules = Rules {
            schema: Some(&schema),
            ..rules(&limits)
        };
        let mut run = Run::new(Vec::new());
        run.model_replied(reply("\"seven\""), rules);
        let [
            ChatMessage::Model { text, .. },
            ChatMessage::Correction(correction),
        ] = run.messages()
        else {
            panic!("no correction")
        };
        assert_eq!(text, "\"seven\"");
        assert!(
            correction.contains("\"seven\" is not of type \"integer\""),
            "{correction}"
        );
        run.model_replied(reply("8.5"), rules);
        assert_eq!(kind(&done(&run)), ErrorType::ModelError);
    }
}
