//! The tools of one run: what the model is told of them, and calling them.

mod answer;
mod headers;
mod http;
mod mcp;
mod search;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::agent::{McpNames, Tool};
use domain::{CallOutcome, Called, Fault, Passage, TaskId, ToolCall, ToolSpec, Turn};
use futures::future::join_all;
use serde_json::{Map, Value};

use crate::{Runner, traced};
use http::{HttpOperation, HttpServer};
use search::SearchSources;
use store::AgentRecord;
use mcp::{McpOperation, McpServer};

/// An agent's tools, ready to be called.
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
    connections: Vec<Arc<McpServer<'a>>>,
}

/// What is behind a tool's name.
enum Callable<'a> {
    SearchSources(SearchSources<'a>),
    Http(HttpOperation<'a>),
    Mcp(McpOperation<'a>),
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
    /// The tools of this agent, with the secrets and connections that they need.
    pub(crate) async fn open(runner: &'a Runner, record: &'a AgentRecord) -> Result<Self, Fault> {
        let mut toolbox = Self { specs: Vec::new(), tools: HashMap::new(), connections: Vec::new() };
        match toolbox.fill(runner, record).await {
            Ok(()) => Ok(toolbox),
            Err(fault) => {
                toolbox.close().await;
                Err(fault)
            }
        }
    }

    async fn fill(&mut self, runner: &'a Runner, record: &'a AgentRecord) -> Result<(), Fault> {
        let draft = record.agent.draft();
        let mcp_names = McpNames::new(&draft.tools);
        for tool in &draft.tools {
            match tool {
                Tool::SearchSources {} => {
                    let search = SearchSources { sources: &runner.sources, record };
                    self.add(search::spec(), Callable::SearchSources(search));
                }
                Tool::Http(tool) => {
                    let server = HttpServer::open(runner, tool).await?;
                    for operation in server.operations() {
                        self.add(operation.spec(), Callable::Http(operation));
                    }
                }
                Tool::Mcp(tool) => {
                    let server = McpServer::open(runner, tool).await?;
                    for operation in server.operations() {
                        let name = mcp_names.of(tool, operation.name());
                        self.add(operation.spec(name), Callable::Mcp(operation));
                    }
                    self.connections.push(server);
                }
            }
        }
        Ok(())
    }

    /// Takes leave of the servers that are connected to.
    pub(crate) async fn close(self) {
        drop(self.tools);
        mcp::close_all(self.connections).await;
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
        let withheld = turn.calls.iter().any(|call| self.needs_approval(call));
        let calls = turn.calls.iter().enumerate().map(async |(place, call)| {
            let called = async {
                match withheld {
                    true => self.withheld(call),
                    false => self.call(call, &turn.idempotency_key(task, place)).await,
                }
            };
            traced::execute_tool(call, turn.number, self.tools.contains_key(&call.name), called).await
        });
        join_all(calls).await
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
            Callable::Mcp(operation) => operation.call(arguments, key).await,
        }
    }

    fn needs_approval(&self, call: &ToolCall) -> bool {
        match self.tools.get(&call.name) {
            Some(Callable::Http(operation)) => operation.needs_approval(),
            Some(Callable::Mcp(operation)) => operation.needs_approval(),
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

/// What a tool does, for the model.
fn described(description: &str, needs_approval: bool) -> String {
    match needs_approval {
        true => format!(
            "{description} (Needs a person's approval, which a webhook cannot ask for: do not call it.)"
        ),
        false => description.to_owned(),
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
