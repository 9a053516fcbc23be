//! The tools of one run: what the model is told of them, and calling them.

mod answer;
mod headers;
mod http;
mod mcp;
mod search;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::agent::{HttpTool, McpNames, McpTool, Tool};
use domain::{
    CallOutcome, Called, Fault, ForeignJsonError, MAX_JSON_VALUES, Passage, TaskId, ToolCall, ToolSpec, Turn,
    parse_foreign_json,
};
use futures::future::join_all;
use serde_json::{Map, Value};
use tokio::task::JoinError;

use crate::memory::RunMemory;
use crate::scrub::{RunSecrets, SecretScrubber};
use crate::{Runner, traced};
use headers::Headers;
use http::{HttpOperation, HttpServer};
use mcp::{McpOperation, McpServer};
use search::SearchSources;
use store::AgentRecord;

/// An agent's tools, ready to be called.
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
    connections: Vec<Arc<McpServer<'a>>>,
    secrets: &'a RunSecrets,
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

/// The arguments of a call.
pub(crate) struct Arguments {
    fields: Map<String, Value>,
    /// How many bytes they have as JSON.
    bytes: usize,
}

/// Why a call gave no result, in words for the model, which may try something else.
#[derive(Debug)]
pub(crate) struct CallError(String);

impl<'a> Toolbox<'a> {
    /// The tools of this agent, with the secrets and connections that they need.
    pub(crate) async fn open(
        runner: &'a Runner,
        record: &'a AgentRecord,
        secrets: &'a RunSecrets,
    ) -> Result<Self, Fault> {
        let mut toolbox = Self { specs: Vec::new(), tools: HashMap::new(), connections: Vec::new(), secrets };
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
        // All secrets are read before any server can send one back.
        let mut opening = Vec::with_capacity(draft.tools.len());
        for tool in &draft.tools {
            let headers = match tool {
                Tool::SearchSources {} => None,
                Tool::Http(HttpTool { headers, .. }) | Tool::Mcp(McpTool { headers, .. }) => {
                    Some(Headers::read(runner, headers, self.secrets).await?)
                }
            };
            opening.push((tool, headers.unwrap_or_default()));
        }
        for (tool, headers) in opening {
            match tool {
                Tool::SearchSources {} => {
                    let search = SearchSources { sources: &runner.sources, record };
                    self.add(search::spec(), Callable::SearchSources(search));
                }
                Tool::Http(tool) => {
                    let server = HttpServer::new(runner, tool, self.secrets, headers);
                    for operation in server.operations() {
                        self.add(operation.spec(), Callable::Http(operation));
                    }
                }
                Tool::Mcp(tool) => {
                    let server = Box::pin(McpServer::open(runner, tool, self.secrets, headers)).await?;
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

    fn add(&mut self, mut spec: ToolSpec, callable: Callable<'a>) {
        self.secrets.scrubber().scrub_spec(&mut spec);
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
            traced::execute_tool(call, (turn.number, place), self.tools.contains_key(&call.name), called)
                .await
        });
        join_all(calls).await
    }

    async fn call(&self, call: &ToolCall, key: &str) -> Called {
        let started = Instant::now();
        let result = self.attempt(call, key).await;
        let took = started.elapsed();
        let called = match result {
            Ok(found) => {
                Called { content: found.content, outcome: CallOutcome::Ok, took, passages: found.passages }
            }
            Err(CallError(why)) => Called { took, ..Called::error(why) },
        };
        // Read after the call, which may have sent a renewed secret.
        let bytes = called.content.len();
        let scrubber = self.secrets.scrubber();
        let scrubbed = scrubber.scrub_off_workers(bytes, called, SecretScrubber::scrub_called).await;
        scrubbed.unwrap_or_else(|error| {
            let CallError(why) = not_scrubbed(&error);
            Called { took, ..Called::error(why) }
        })
    }

    async fn attempt(&self, call: &ToolCall, key: &str) -> Result<Found, CallError> {
        let callable = self.tools.get(&call.name).ok_or_else(|| self.unknown(&call.name))?;
        let arguments = Arguments::parse(&call.arguments).await?;
        match callable {
            Callable::SearchSources(search) => search.call(&arguments.fields).await,
            Callable::Http(operation) => Box::pin(operation.call(arguments, key)).await,
            Callable::Mcp(operation) => Box::pin(operation.call(arguments.fields, key)).await,
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

/// A defect of ours.
fn not_scrubbed(error: &JoinError) -> CallError {
    tracing::error!(%error, "result of a tool not searched for secrets");
    CallError("The result could not be searched for secrets.".to_owned())
}

/// A defect of ours.
fn not_parsed(error: &JoinError) -> CallError {
    tracing::error!(%error, "arguments of a tool not parsed");
    CallError("The arguments could not be parsed.".to_owned())
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

impl Arguments {
    async fn parse(text: &str) -> Result<Self, CallError> {
        let (text, bytes) = (text.to_owned(), text.len());
        let parsed = RunMemory::of_this_run().off_workers(bytes, move || parse_arguments(&text)).await;
        Ok(Self { fields: parsed.map_err(|error| not_parsed(&error))??, bytes })
    }
}

/// The arguments as an object; none at all are an empty one.
fn parse_arguments(text: &str) -> Result<Map<String, Value>, CallError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    parse_foreign_json(text, MAX_JSON_VALUES).map_err(|error| {
        CallError(match error {
            ForeignJsonError::TooManyValues(most) => {
                format!("The arguments have more than {most} JSON values.")
            }
            ForeignJsonError::Invalid(error) => format!("The arguments are no JSON object: {error}."),
        })
    })
}
