//! The agent loop as a state machine: it names the next effect, a driver
//! performs it and reports back.
//!
//! ```text
//! loop { match run.next() {
//!     Step::CallModel       => run.model_replied(ask().await?, rules),
//!     Step::CallTools(turn) => run.tools_replied(&turn, call_all(&turn).await),
//!     Step::Done(ended)     => return ended,
//! } }
//! ```
//! The loop never waits, retries or reads a clock: time and retries belong to
//! the task's budget, which the runner keeps. It can be written down between any
//! two steps and taken up again by another attempt, which then makes the very
//! calls that were decided on.

mod talk;
mod verdict;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::{
    Answer, AnswerSchema, Ended, ErrorType, Failure, Limits, MAX_JSON_VALUES, Misfit, Outcome, Passage, Usage,
};
pub use talk::{
    CallOutcome, Called, Message, ModelReply, StopReason, ToolCall, ToolCallRecord, ToolResult, ToolSpec,
    Turn, cut,
};
use verdict::{
    correction, does_not_fit, failure_in, keeps_failing, needs_approval, nothing_found, out_of_tokens,
    out_of_turns, talks_too_long,
};

/// Largest result, as JSON: a Lambda can answer 6 MB.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of a result as a Lambda answers it, with room for the rest of a status.
const MAX_ANSWERED_BYTES: usize = 5_900_000;
/// Most bytes said in a run, so that it can be written down and fits the memory
/// ten times.
const MAX_TALK_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of arguments and results in all calls that are shown, which as JSON in
/// a Lambda's answer may take several times as many.
const MAX_SHOWN_BYTES: usize = 512 * 1024;
/// So often a model is told that its answer does not fit the schema.
const MAX_CORRECTIONS: u32 = 2;
/// Most bytes of a call's id and of its tool's name.
const MAX_CALL_NAME_BYTES: usize = 256;
/// Most calls in one turn.
const MAX_CALLS: usize = 32;
/// In so many turns in a row every call may fail; with one more the agent does
/// not work around it.
const FAILED_TURNS: u32 = 2;

/// One run of one agent over one payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    usage: Option<Usage>,
    /// Those given with the prompt, then those that tools found.
    sources: Vec<Passage>,
    given: usize,
    talk: Vec<Message>,
    thought: String,
    tool_calls: Vec<ToolCallRecord>,
    failed_turns: u32,
    /// Answers that did not fit the schema.
    #[serde(default)]
    corrections: u32,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    AwaitingModel,
    AwaitingTools,
    Done(Outcome),
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the model and report its reply.
    CallModel,
    /// Call these tools, side by side, and report how each call went.
    CallTools(Turn),
    /// Nothing: the run is over.
    Done(Ended),
}

/// What a run must keep to: the agent's, which may change between two attempts.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What the run may take.
    pub limits: &'a Limits,
    /// Whether the agent has any tool.
    pub has_tools: bool,
    /// What its answer must fit.
    pub schema: Option<&'a AnswerSchema>,
}

impl Default for Run {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Run {
    /// A run that answers on these passages.
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
            state: State::AwaitingModel,
        }
    }

    /// What to do now.
    pub fn next(&self) -> Step {
        match &self.state {
            State::AwaitingModel => Step::CallModel,
            State::AwaitingTools => Step::CallTools(self.turn()),
            State::Done(outcome) => Step::Done(Ended { outcome: outcome.clone(), usage: self.usage.clone() }),
        }
    }

    /// What it has cost so far.
    pub const fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The passages that the model is given with the prompt.
    pub fn context(&self) -> &[Passage] {
        self.sources.get(..self.given).unwrap_or_default()
    }

    /// What was said after the prompt and the payload.
    pub fn talk(&self) -> &[Message] {
        &self.talk
    }

    /// Whether an attempt that starts anew would lose something.
    pub const fn is_under_way(&self) -> bool {
        self.usage.is_some()
    }

    /// Tokens the model may write in its next turn.
    pub fn output_allowance(&self, limits: &Limits) -> u32 {
        let left = limits.max_total_tokens.saturating_sub(self.tokens());
        limits.max_output_tokens.min(u32::try_from(left).unwrap_or(u32::MAX)).max(1)
    }

    /// The end of a task whose run, if there is one, goes no further.
    pub fn given_up(run: Option<&Self>, failure: Failure) -> Ended {
        match run {
            Some(run) => run.stopped(failure),
            None => Ended::without_usage(failure),
        }
    }

    /// The end of a run that something outside of it stopped.
    pub fn stopped(&self, failure: Failure) -> Ended {
        let mut tool_calls = self.tool_calls.clone();
        if self.state == State::AwaitingTools {
            let turn = self.turn();
            let unknown = |call| ToolCallRecord::new(call, &Called::unknown(), turn.number);
            tool_calls.extend(turn.calls.iter().map(unknown));
        }
        let failure = Failure { tool_calls: showable(tool_calls), ..failure };
        Ended { outcome: Outcome::Failure(failure), usage: self.usage.clone() }
    }

    /// Takes in what the model said.
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
            None if reply.calls.is_empty() => self.answered(reply, rules),
            None => self.call_tools(reply, rules.limits),
        }
    }

    /// Takes in how the calls of a turn went, in their order.
    pub fn tools_replied(&mut self, turn: &Turn, called: Vec<Called>) {
        let mut results = Vec::with_capacity(called.len());
        let (mut refused, mut last_error, mut worked) = (None, None, false);
        for (call, called) in turn.calls.iter().zip(called) {
            self.tool_calls.push(ToolCallRecord::new(call, &called, turn.number));
            match called.outcome {
                CallOutcome::Ok => worked = true,
                CallOutcome::Error | CallOutcome::Unknown => last_error = Some(call.name.clone()),
                CallOutcome::Refused => refused = Some(call.name.clone()),
            }
            self.found(called.passages);
            let is_error = called.outcome != CallOutcome::Ok;
            let (id, name) = (call.id.clone(), call.name.clone());
            results.push(ToolResult { id, name, content: called.content, is_error });
        }
        // After each turn: the arguments of all calls of a run would take too much memory.
        self.tool_calls = showable(std::mem::take(&mut self.tool_calls));
        self.failed_turns = if worked { 0 } else { self.failed_turns + 1 };
        self.talk.push(Message::Tools(results));
        self.state = State::AwaitingModel;
        if let Some(tool) = refused {
            self.fail(needs_approval(&tool));
        } else if let Some(tool) = last_error.filter(|_| self.failed_turns > FAILED_TURNS) {
            self.fail(keeps_failing(&tool));
        } else if self.talk_bytes() > MAX_TALK_BYTES {
            self.fail(talks_too_long());
        }
    }

    /// Without a model the answer is the passages, word for word, and costs no tokens.
    pub fn answer_from_sources(&mut self) {
        let passages: Vec<String> =
            self.context().iter().map(|passage| format!("{}\n— {}", passage.text, passage.title)).collect();
        match passages.is_empty() {
            true => self.fail(nothing_found()),
            false => self.answer(passages.join("\n\n")),
        }
    }

    fn answered(&mut self, mut reply: ModelReply, rules: Rules<'_>) {
        let Some(schema) = rules.schema else { return self.answer(reply.text) };
        let checked = reply.checked.take();
        match checked.unwrap_or_else(|| schema.read(&reply.text).map(str::to_owned)) {
            Ok(json) => self.answer(json),
            Err(misfit) => self.correct(reply, schema, &misfit, rules.limits),
        }
    }

    /// Tells the model what is wrong with its answer, as often as it may be told.
    fn correct(&mut self, reply: ModelReply, schema: &AnswerSchema, misfit: &Misfit, limits: &Limits) {
        if self.corrections == MAX_CORRECTIONS || self.out_of_budget(limits).is_some() {
            return self.fail(does_not_fit(misfit, self.corrections));
        }
        self.corrections += 1;
        let ModelReply { text, calls, echo, .. } = reply;
        self.talk.push(Message::Model { text, calls, echo });
        self.talk.push(Message::Correction(correction(schema, misfit)));
    }

    fn answer(&mut self, text: String) {
        let answer = Answer {
            answer: text,
            sources: std::mem::take(&mut self.sources),
            thought: std::mem::take(&mut self.thought),
            tool_calls: showable(std::mem::take(&mut self.tool_calls)),
        };
        self.state = State::Done(bounded(answer));
    }

    fn fail(&mut self, failure: Failure) {
        let tool_calls = showable(std::mem::take(&mut self.tool_calls));
        self.state = State::Done(Outcome::Failure(Failure { tool_calls, ..failure }));
    }

    fn call_tools(&mut self, reply: ModelReply, limits: &Limits) {
        let ModelReply { text, mut calls, echo, .. } = reply;
        name_calls(&mut calls, self.turns());
        self.talk.push(Message::Model { text, calls, echo });
        match self.out_of_budget(limits) {
            Some(failure) => self.fail(failure),
            None => self.state = State::AwaitingTools,
        }
    }

    /// Why the model cannot be asked once more.
    fn out_of_budget(&self, limits: &Limits) -> Option<Failure> {
        if self.turns() >= limits.max_turns {
            Some(out_of_turns(limits))
        } else if self.tokens() >= limits.max_total_tokens {
            Some(out_of_tokens(limits))
        } else {
            (self.talk_bytes() > MAX_TALK_BYTES).then(talks_too_long)
        }
    }

    /// Adds passages to what the answer is given on, each once.
    fn found(&mut self, passages: Vec<Passage>) {
        for passage in passages {
            if !self.sources.contains(&passage) {
                self.sources.push(passage);
            }
        }
    }

    fn turn(&self) -> Turn {
        let calls = match self.talk.last() {
            Some(Message::Model { calls, .. }) => calls.clone(),
            _ => Vec::new(),
        };
        Turn { number: self.turns(), calls }
    }

    fn turns(&self) -> u32 {
        self.usage.as_ref().map_or(0, |usage| usage.turns)
    }

    fn tokens(&self) -> u64 {
        self.usage.as_ref().map_or(0, |usage| usage.input_tokens.saturating_add(usage.output_tokens))
    }

    fn talk_bytes(&self) -> usize {
        self.thought.len() + self.talk.iter().map(Message::bytes).sum::<usize>()
    }

    fn count(&mut self, reply: &ModelReply) {
        let usage = self.usage.get_or_insert_default();
        usage.model.clone_from(&reply.model);
        usage.turns += 1;
        usage.input_tokens = usage.input_tokens.saturating_add(reply.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(reply.output_tokens);
    }
}

/// Some servers name no call, or several alike: results need to find theirs. An id is said
/// again in each request, so a long one is replaced, and no tool has a long name.
fn name_calls(calls: &mut [ToolCall], turn: u32) {
    let mut seen = HashSet::new();
    for (place, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || call.id.len() > MAX_CALL_NAME_BYTES || !seen.insert(call.id.clone()) {
            call.id = format!("call_{turn}_{}", place + 1);
        }
        if call.name.len() > MAX_CALL_NAME_BYTES {
            call.name = cut(&call.name, MAX_CALL_NAME_BYTES);
        }
    }
}

/// The calls as they fit an answer: of many with long results, the later ones are
/// shown without.
fn showable(mut calls: Vec<ToolCallRecord>) -> Vec<ToolCallRecord> {
    let (mut bytes_left, mut values_left) = (MAX_SHOWN_BYTES, MAX_JSON_VALUES);
    for call in &mut calls {
        let (bytes, values) = call.size();
        match bytes_left.checked_sub(bytes).zip(values_left.checked_sub(values)) {
            Some(left) => (bytes_left, values_left) = left,
            None => call.leave_out(),
        }
    }
    calls
}

/// Whether a Lambda can answer this JSON. It answers a text within JSON, which
/// escapes quotes and line ends once more.
pub fn fits_an_answer(json: &str) -> bool {
    let escapes = json.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count();
    json.len() + escapes <= MAX_ANSWERED_BYTES
}

/// A SUCCESS that whoever asks for it can be handed.
fn bounded(answer: Answer) -> Outcome {
    let json = serde_json::to_string(&answer).unwrap_or_default();
    if !json.is_empty() && json.len() <= MAX_RESULT_BYTES && fits_an_answer(&json) {
        return Outcome::Success(answer);
    }
    let too_large = "The result is larger than 4194304 bytes of JSON";
    Outcome::Failure(Failure {
        tool_calls: answer.tool_calls,
        ..Failure::permanent(ErrorType::BudgetExceeded, too_large)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules(limits: &Limits) -> Rules<'_> {
        Rules { limits, has_tools: true, schema: None }
    }

    fn run(reply: ModelReply) -> Ended {
        let mut run = Run::new(Vec::new());
        assert_eq!(run.next(), Step::CallModel);
        let limits = Limits::default();
        run.model_replied(reply, Rules { has_tools: false, ..rules(&limits) });
        done(&run)
    }

    fn done(run: &Run) -> Ended {
        match run.next() {
            Step::Done(ended) => ended,
            step => panic!("the run goes on: {step:?}"),
        }
    }

    fn turn(run: &Run) -> Turn {
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
        let call = |name: &&str| ToolCall { id: "same".into(), name: (*name).into(), arguments: "{}".into() };
        ModelReply { calls: names.iter().map(call).collect(), ..reply("") }
    }

    fn called(content: &str, outcome: CallOutcome) -> Called {
        Called { content: content.into(), outcome, took: Duration::from_millis(5), passages: Vec::new() }
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
        let usage = Usage { model: "m".into(), turns: 1, input_tokens: 3, output_tokens: 4 };
        assert_eq!(ended.usage, Some(usage));
    }

    #[test]
    fn a_run_that_answered_nothing_is_no_success() {
        assert_eq!(failure(reply(" \n")), ErrorType::EmptyAnswer);
    }

    #[test]
    fn a_truncated_or_withheld_answer_is_no_success() {
        for (stop, kind) in [
            (StopReason::Length, ErrorType::BudgetExceeded),
            (StopReason::ContextFull, ErrorType::BudgetExceeded),
            (StopReason::Filtered, ErrorType::ModelError),
            (StopReason::Refused, ErrorType::ModelError),
            (StopReason::Broken, ErrorType::ModelError),
        ] {
            assert_eq!(failure(ModelReply { stop, ..reply("half an") }), kind);
            // Nor are calls made whose arguments may be cut off.
            assert_eq!(failure(ModelReply { stop, ..wants(&["a"]) }), kind);
        }
    }

    #[test]
    fn a_result_that_could_not_be_read_back_is_no_success() {
        assert_eq!(failure(reply(&"x".repeat(4 * 1024 * 1024))), ErrorType::BudgetExceeded);
        assert!(matches!(run(reply(&"x".repeat(4_000_000))).outcome, Outcome::Success(_)));
    }

    #[test]
    fn an_agent_without_tools_fails_by_the_name_of_the_one_asked_for() {
        assert_eq!(failure(wants(&["refund"])), ErrorType::ToolError);
    }

    #[test]
    fn tools_are_called_and_their_results_told_until_there_is_an_answer() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        let asked = ModelReply { thought: "Look it up.".into(), ..wants(&["a", "b"]) };
        run.model_replied(asked, rules(&limits));
        let first = turn(&run);
        assert_eq!(first.calls.iter().map(|call| call.id.as_str()).collect::<Vec<_>>(), ["same", "call_1_2"]);
        run.tools_replied(&first, vec![called("7", CallOutcome::Ok), called("no", CallOutcome::Error)]);
        assert_eq!(run.next(), Step::CallModel);
        let told =
            ToolResult { id: "call_1_2".into(), name: "b".into(), content: "no".into(), is_error: true };
        assert!(matches!(run.talk(), [Message::Model { .. }, Message::Tools(results)] if results[1] == told));

        run.model_replied(ModelReply { thought: "Good.".into(), ..reply("Seven.") }, rules(&limits));
        let ended = done(&run);
        let Outcome::Success(answer) = ended.outcome else { panic!("no success") };
        assert_eq!((answer.answer.as_str(), answer.thought.as_str()), ("Seven.", "Look it up.\n\nGood."));
        assert_eq!(answer.tool_calls.len(), 2);
        assert_eq!((answer.tool_calls[1].status, answer.tool_calls[1].turn), (CallOutcome::Error, 1));
        assert_eq!(ended.usage.map(|usage| (usage.turns, usage.input_tokens)), Some((2, 6)));
    }

    #[test]
    fn a_run_taken_up_again_makes_the_same_calls() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["a", "b"]), rules(&limits));
        let again: Run = serde_json::from_slice(&serde_json::to_vec(&run).unwrap()).unwrap();
        assert_eq!(again, run);
        assert_eq!(turn(&again), turn(&run));
    }

    #[test]
    fn a_run_that_is_stopped_tells_the_calls_that_may_have_been_made() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![called("1", CallOutcome::Ok)]);
        run.model_replied(wants(&["b"]), rules(&limits));
        let Outcome::Failure(failure) = run.stopped(Failure::worker_lost()).outcome else {
            panic!("a success")
        };
        let calls: Vec<_> =
            failure.tool_calls.iter().map(|call| (call.tool_name.as_str(), call.status, call.turn)).collect();
        assert_eq!(calls, [("a", CallOutcome::Ok, 1), ("b", CallOutcome::Unknown, 2)]);
    }

    #[test]
    fn what_a_tool_finds_in_the_sources_is_named_once() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        let passage = Passage { title: "t".into(), text: "x".into(), source: "s".into() };
        let found = Called { passages: vec![passage.clone()], ..called("x", CallOutcome::Ok) };
        run.model_replied(wants(&["a", "a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![found.clone(), found]);
        assert_eq!(run.context(), []);
        run.model_replied(reply("x"), rules(&limits));
        assert!(matches!(done(&run).outcome, Outcome::Success(answer) if answer.sources == [passage]));
    }

    #[test]
    fn no_tool_is_called_for_a_model_that_may_not_be_asked_again() {
        let limits = [
            Limits { max_turns: 2, ..Limits::default() },
            Limits { max_total_tokens: 14, ..Limits::default() },
        ];
        for limits in limits {
            let mut run = Run::new(Vec::new());
            run.model_replied(wants(&["a"]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called("1", CallOutcome::Ok)]);
            run.model_replied(wants(&["a"]), rules(&limits));
            let ended = done(&run);
            assert_eq!(kind(&ended), ErrorType::BudgetExceeded);
            assert!(matches!(ended.outcome, Outcome::Failure(failure) if failure.tool_calls.len() == 1));
        }
    }

    #[test]
    fn an_answer_that_used_up_the_budget_is_still_an_answer() {
        let limits = Limits { max_turns: 1, max_total_tokens: 7, ..Limits::default() };
        let mut run = Run::new(Vec::new());
        assert_eq!(run.output_allowance(&limits), 7);
        run.model_replied(reply("Done."), rules(&limits));
        assert!(matches!(done(&run).outcome, Outcome::Success(_)));
    }

    #[test]
    fn a_tool_that_needs_approval_ends_the_run() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        run.model_replied(wants(&["refund", "b"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![called("", CallOutcome::Refused), called("1", CallOutcome::Ok)]);
        assert_eq!(kind(&done(&run)), ErrorType::ToolError);
    }

    #[test]
    fn an_agent_may_work_around_two_failed_turns_and_not_three() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits::default());
        for outcome in
            [CallOutcome::Error, CallOutcome::Error, CallOutcome::Ok, CallOutcome::Error, CallOutcome::Error]
        {
            run.model_replied(wants(&["a"]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called("x", outcome)]);
            assert_eq!(run.next(), Step::CallModel);
        }
        run.model_replied(wants(&["a"]), rules(&limits));
        run.tools_replied(&turn(&run), vec![called("x", CallOutcome::Error)]);
        assert_eq!(kind(&done(&run)), ErrorType::ToolError);
    }

    #[test]
    fn a_failure_with_many_long_calls_can_still_be_answered() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits { max_turns: 31, ..Limits::default() });
        let quotes = "\"".repeat(4096);
        for _ in 0..30 {
            run.model_replied(wants(&["a"; 32]), rules(&limits));
            run.tools_replied(&turn(&run), vec![called(&quotes, CallOutcome::Ok); 32]);
        }
        let ended = run.stopped(Failure::worker_lost());
        let json = serde_json::to_string(&ended).unwrap();
        assert!(serde_json::to_string(&json).unwrap().len() < 4_000_000, "{}", json.len());
        let Outcome::Failure(failure) = ended.outcome else { panic!("a success") };
        assert_eq!(failure.tool_calls.len(), 30 * 32);
        assert!(failure.tool_calls[959].result.contains("left out"));
    }

    #[test]
    fn a_run_keeps_the_arguments_of_its_calls_within_a_number_of_values() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits { max_turns: 31, ..Limits::default() });
        let arguments = format!("[{}0]", "[0],".repeat(500));
        for _ in 0..2 {
            let mut reply = wants(&["a"; 32]);
            reply.calls.iter_mut().for_each(|call| call.arguments.clone_from(&arguments));
            run.model_replied(reply, rules(&limits));
            run.tools_replied(&turn(&run), vec![called("x", CallOutcome::Ok); 32]);
        }
        let shown = run.tool_calls.iter().filter(|call| call.arguments.is_array()).count();
        assert_eq!(shown, MAX_JSON_VALUES / 1002);
    }

    #[test]
    fn more_talk_than_can_be_kept_ends_the_run() {
        let (mut run, limits) = (Run::new(Vec::new()), Limits { max_turns: 100, ..Limits::default() });
        run.model_replied(wants(&["a"; 5]), rules(&limits));
        let long = "x".repeat(1024 * 1024);
        run.tools_replied(&turn(&run), vec![called(&long, CallOutcome::Ok); 5]);
        assert_eq!(kind(&done(&run)), ErrorType::BudgetExceeded);
        let mut run = Run::new(Vec::new());
        run.model_replied(wants(&["a"; 33]), rules(&limits));
        assert_eq!(kind(&done(&run)), ErrorType::BudgetExceeded);
    }

    #[test]
    fn an_answer_that_does_not_fit_its_schema_is_corrected_twice_and_no_more() {
        let schema = AnswerSchema::parse(&serde_json::json!({ "type": "integer" })).unwrap();
        let limits = Limits::default();
        let rules = Rules { schema: Some(&schema), ..rules(&limits) };
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
            assert_eq!(ended.usage.map(|usage| usage.turns as usize), Some(answers.len()));
            match (ended.outcome, end) {
                (Outcome::Success(answer), Some(end)) => assert_eq!(answer.answer, end),
                (Outcome::Failure(failure), None) => {
                    assert_eq!(failure.kind, ErrorType::ModelError);
                    assert!(failure.message.contains("after 2 corrections"), "{}", failure.message);
                }
                (outcome, _) => panic!("{answers:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_correction_is_within_the_budget_and_tells_what_is_wrong() {
        let schema = AnswerSchema::parse(&serde_json::json!({ "type": "integer" })).unwrap();
        let limits = Limits { max_turns: 2, ..Limits::default() };
        let rules = Rules { schema: Some(&schema), ..rules(&limits) };
        let mut run = Run::new(Vec::new());
        run.model_replied(reply("\"seven\""), rules);
        let [Message::Model { text, .. }, Message::Correction(told)] = run.talk() else {
            panic!("no correction")
        };
        assert_eq!(text, "\"seven\"");
        assert!(told.contains("\"seven\" is not of type \"integer\""), "{told}");
        run.model_replied(reply("8.5"), rules);
        assert_eq!(kind(&done(&run)), ErrorType::ModelError);
    }
}
