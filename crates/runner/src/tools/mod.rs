//! The tools of one run: what the model is told of them, and calling them.

mod answer;
mod http;
mod search;

use std::collections::HashMap;
use std::time::Instant;

use domain::agent::Tool;
use domain::{CallOutcome, Called, Fault, Passage, TaskId, ToolCall, ToolSpec, Turn};
use futures::future::join_all;
use serde_json::{Map, Value};

use crate::Runner;
use http::{HttpOperation, HttpServer};
use search::SearchSources;
use store::AgentRecord;

/// An agent's tools, ready to be called.
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
}

/// What is behind a tool's name.
enum Callable<'a> {
    SearchSources(SearchSources<'a>),
    Http(HttpOperation<'a>),
}

/// What a tool found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) content: String,
    pub(crate) passages: Vec<Passage>,
}

/// Why a call gave no result, in words for the model, which may try something else.
#[derive(Debug)]
pub(crate) struct CallError(String);

impl<'a> Toolbox<'a> {
    /// The tools of this agent, with the secrets that they need.
    pub(crate) async fn open(runner: &'a Runner, record: &'a AgentRecord) -> Result<Self, Fault> {
        let mut toolbox = Self { specs: Vec::new(), tools: HashMap::new() };
        for tool in &record.agent.draft().tools {
            match tool {
                Tool::SearchSources {} => {
                    let search = SearchSources { sources: &runner.sources, record };
                    toolbox.add(search::spec(), Callable::SearchSources(search));
                }
                Tool::Http(tool) => {
                    let server = HttpServer::open(runner, tool).await?;
                    for operation in server.operations() {
                        toolbox.add(operation.spec(), Callable::Http(operation));
                    }
                }
            }
        }
        Ok(toolbox)
    }

    fn add(&mut self, spec: ToolSpec, callable: Callable<'a>) {
        self.tools.insert(spec.name.clone(), callable);
        self.specs.push(spec);
    }

    /// What the model is told of them.
    pub(crate) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Makes the calls of a turn side by side; their results come in order. If one
    /// of them must not be made, the run ends and none is.
    pub(crate) async fn call_all(&self, task: TaskId, turn: &Turn) -> Vec<Called> {
        if turn.calls.iter().any(|call| self.needs_approval(call)) {
            return turn.calls.iter().map(|call| self.withheld(call)).collect();
        }
        let keyed =
            turn.calls.iter().enumerate().map(|(place, call)| (call, turn.idempotency_key(task, place)));
        join_all(keyed.map(async |(call, key)| self.call(call, &key).await)).await
    }

    async fn call(&self, call: &ToolCall, key: &str) -> Called {
        let started = Instant::now();
        let result = self.attempt(call, key).await;
        let took = started.elapsed();
        match result {
            Ok(found) => {
                Called { content: found.content, outcome: CallOutcome::Ok, took, passages: found.passages }
            }
            Err(CallError(why)) => Called { took, ..Called::error(why) },
        }
    }

    async fn attempt(&self, call: &ToolCall, key: &str) -> Result<Found, CallError> {
        let callable = self.tools.get(&call.name).ok_or_else(|| self.unknown(&call.name))?;
        let arguments = arguments(&call.arguments)?;
        match callable {
            Callable::SearchSources(search) => search.call(&arguments).await,
            Callable::Http(operation) => operation.call(&arguments, key).await,
        }
    }

    fn needs_approval(&self, call: &ToolCall) -> bool {
        match self.tools.get(&call.name) {
            Some(Callable::Http(operation)) => operation.needs_approval(),
            Some(Callable::SearchSources(_)) | None => false,
        }
    }

    fn withheld(&self, call: &ToolCall) -> Called {
        match self.needs_approval(call) {
            true => Called {
                outcome: CallOutcome::Refused,
                ..Called::error("Not called: it needs a person's approval.")
            },
            false => Called::error("Not called, as another call of this turn needs a person's approval."),
        }
    }

    fn unknown(&self, name: &str) -> CallError {
        let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        let name = domain::cut(name, 64);
        CallError(format!("There is no tool `{name}`. There are: {}.", known.join(", ")))
    }
}

/// The arguments as an object; none at all are an empty one.
fn arguments(text: &str) -> Result<Map<String, Value>, CallError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|error| CallError(format!("The arguments are no JSON object: {error}.")))
}
