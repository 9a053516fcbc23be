//! The tools of one run: what the model is told of them, and calling them.

mod search;

use std::collections::HashMap;
use std::time::Instant;

use domain::agent::Tool;
use domain::{AgentDraft, CallOutcome, Called, Passage, ToolCall, ToolSpec, Turn};
use futures::future::join_all;
use serde_json::{Map, Value};

/// An agent's tools, ready to be called.
#[derive(Debug)]
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
}

/// What is behind a tool's name.
#[derive(Debug)]
enum Callable<'a> {
    SearchSources(&'a AgentDraft),
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
    /// The tools of this agent.
    pub(crate) fn open(draft: &'a AgentDraft) -> Self {
        let mut toolbox = Self { specs: Vec::new(), tools: HashMap::new() };
        for tool in &draft.tools {
            match tool {
                Tool::SearchSources {} => toolbox.add(search::spec(), Callable::SearchSources(draft)),
            }
        }
        toolbox
    }

    fn add(&mut self, spec: ToolSpec, callable: Callable<'a>) {
        self.tools.insert(spec.name.clone(), callable);
        self.specs.push(spec);
    }

    /// What the model is told of them.
    pub(crate) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Makes the calls of a turn side by side; their results come in order.
    pub(crate) async fn call_all(&self, turn: &Turn) -> Vec<Called> {
        join_all(turn.calls.iter().map(|call| self.call(call))).await
    }

    async fn call(&self, call: &ToolCall) -> Called {
        let started = Instant::now();
        let result = self.attempt(call).await;
        let took = started.elapsed();
        match result {
            Ok(found) => {
                Called { content: found.content, outcome: CallOutcome::Ok, took, passages: found.passages }
            }
            Err(CallError(why)) => Called { took, ..Called::error(why) },
        }
    }

    async fn attempt(&self, call: &ToolCall) -> Result<Found, CallError> {
        let callable = self.tools.get(&call.name).ok_or_else(|| self.unknown(&call.name))?;
        let arguments = arguments(&call.arguments)?;
        match callable {
            Callable::SearchSources(draft) => search::call(draft, &arguments),
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
