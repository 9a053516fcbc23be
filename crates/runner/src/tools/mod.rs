//! The tools of one run: their descriptions for the model, and the calls.

mod context;
mod failed;
mod headers;
mod http;
mod mcp;
mod response;
mod search;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::agent::{HttpTool, McpNames, McpTool, Tool};
use domain::{
    CallOutcome, CallReport, ChatTurn, Fault, ForeignJsonError, MAX_JSON_VALUES, Passage, TaskId, ToolCall,
    ToolSpec, parse_foreign_json,
};
use futures::future::join_all;
use serde_json::{Map, Value};
use tokio::task::JoinError;

use crate::memory::RunMemory;
use crate::scrub::{RunSecrets, SecretScrubber};
use crate::traced;
pub(crate) use context::ToolContext;
use headers::ToolHeaders;
use http::{HttpOperation, HttpServer};
use mcp::{McpOperation, McpServer};
use search::SearchSources;

/// An agent's tools with their connections.
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
    connections: Vec<Arc<McpServer<'a>>>,
    secrets: &'a RunSecrets,
}

/// The implementation of a tool.
enum Callable<'a> {
    SearchSources(SearchSources<'a>),
    Http(HttpOperation<'a>),
    Mcp(McpOperation<'a>),
}

/// The result of a successful tool call.
#[derive(Debug, Default)]
pub(crate) struct ToolOutput {
    pub(crate) content: String,
    pub(crate) passages: Vec<Passage>,
}

/// The arguments of a call.
pub(crate) struct Arguments {
    fields: Map<String, Value>,
    /// The length as JSON.
    bytes: usize,
}

/// Why a call failed, as a text for the model, which may try something else.
#[derive(Debug)]
pub(crate) struct CallError(String);

impl<'a> Toolbox<'a> {
    /// Reads the secrets and opens the connections that the agent's tools need.
    pub(crate) async fn open(context: ToolContext<'a>, tools: &'a [Tool]) -> Result<Self, Fault> {
        let secrets = context.run_secrets;
        let mut toolbox = Self { specs: Vec::new(), tools: HashMap::new(), connections: Vec::new(), secrets };
        match toolbox.fill(context, tools).await {
            Ok(()) => Ok(toolbox),
            Err(fault) => {
                toolbox.close().await;
                Err(fault)
            }
        }
    }

    async fn fill(&mut self, context: ToolContext<'a>, tools: &'a [Tool]) -> Result<(), Fault> {
        let mcp_names = McpNames::new(tools);
        // All secrets are read before any server can send one back.
        let mut opening = Vec::with_capacity(tools.len());
        for tool in tools {
            let headers = match tool {
                Tool::SearchSources {} => None,
                Tool::Http(HttpTool { headers, .. }) | Tool::Mcp(McpTool { headers, .. }) => {
                    Some(ToolHeaders::load(context, headers).await?)
                }
            };
            opening.push((tool, headers.unwrap_or_default()));
        }
        for (tool, headers) in opening {
            match tool {
                Tool::SearchSources {} => {
                    let search = SearchSources::new(context);
                    self.add(search::search_spec(), Callable::SearchSources(search));
                }
                Tool::Http(tool) => {
                    let server = HttpServer::new(context, tool, headers);
                    for operation in server.operations() {
                        self.add(operation.spec(), Callable::Http(operation));
                    }
                }
                Tool::Mcp(tool) => {
                    let server = Box::pin(McpServer::open(context, tool, headers)).await?;
                    for operation in server.operations() {
                        let name = mcp_names.exposed_name(tool, operation.name());
                        self.add(operation.spec(name), Callable::Mcp(operation));
                    }
                    self.connections.push(server);
                }
            }
        }
        Ok(())
    }

    /// Closes the connections to MCP servers.
    pub(crate) async fn close(self) {
        drop(self.tools);
        mcp::close_all(self.connections).await;
    }

    fn add(&mut self, mut spec: ToolSpec, callable: Callable<'a>) {
        self.secrets.scrubber().scrub_spec(&mut spec);
        self.tools.insert(spec.name.clone(), callable);
        self.specs.push(spec);
    }

    /// The descriptions for the model.
    pub(crate) fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// Makes the calls of a turn in parallel. Returns the results in the order of the calls. If
    /// one call needs approval, no call is made and the run ends.
    pub(crate) async fn call_all(&self, task: TaskId, turn: &ChatTurn) -> Vec<CallReport> {
        let withheld = turn.calls.iter().any(|call| self.needs_approval(call));
        let calls = turn.calls.iter().enumerate().map(async |(place, call)| {
            let called = async {
                match withheld {
                    true => self.report_withheld(call),
                    false => self.call(call, &turn.idempotency_key(task, place)).await,
                }
            };
            traced::execute_tool(call, (turn.number, place), self.tools.contains_key(&call.name), called)
                .await
        });
        join_all(calls).await
    }

    async fn call(&self, call: &ToolCall, key: &str) -> CallReport {
        let started = Instant::now();
        let result = self.attempt(call, key).await;
        let took = started.elapsed();
        let called = match result {
            Ok(output) => CallReport {
                content: output.content,
                outcome: CallOutcome::Ok,
                took,
                passages: output.passages,
            },
            Err(CallError(why)) => CallReport { took, ..CallReport::error(why) },
        };
        // Taken after the call, because the call may have sent a renewed secret.
        let bytes = called.content.len();
        let scrubber = self.secrets.scrubber();
        let scrubbed = scrubber.scrub_off_workers(bytes, called, SecretScrubber::scrub_called).await;
        scrubbed.unwrap_or_else(|error| {
            let CallError(why) = not_scrubbed(&error);
            CallReport { took, ..CallReport::error(why) }
        })
    }

    async fn attempt(&self, call: &ToolCall, key: &str) -> Result<ToolOutput, CallError> {
        let callable = self.tools.get(&call.name).ok_or_else(|| self.unknown_tool(&call.name))?;
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

    fn report_withheld(&self, call: &ToolCall) -> CallReport {
        match self.needs_approval(call) {
            true => CallReport {
                outcome: CallOutcome::Refused,
                ..CallReport::error("Not called: it needs a person's approval.")
            },
            false => {
                CallReport::error("Not called, because another call of this turn needs a person's approval.")
            }
        }
    }

    fn unknown_tool(&self, name: &str) -> CallError {
        let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        let name = domain::cut(name, 64);
        CallError(format!("Unknown tool `{name}`. Available tools: {}.", known.join(", ")))
    }
}

/// An error in our own code.
fn not_scrubbed(error: &JoinError) -> CallError {
    tracing::error!(%error, "tool result not searched for secrets");
    CallError("The result could not be searched for secrets.".to_owned())
}

/// An error in our own code.
fn not_parsed(error: &JoinError) -> CallError {
    tracing::error!(%error, "tool arguments not parsed");
    CallError("The arguments could not be parsed.".to_owned())
}

/// The description of a tool for the model.
fn describe_tool(description: &str, needs_approval: bool) -> String {
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
        let parsed = RunMemory::current().off_workers(bytes, move || parse_arguments(&text)).await;
        Ok(Self { fields: parsed.map_err(|error| not_parsed(&error))??, bytes })
    }
}

/// Parses the arguments as an object. An empty text is an empty object.
fn parse_arguments(text: &str) -> Result<Map<String, Value>, CallError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    parse_foreign_json(text, MAX_JSON_VALUES).map_err(|error| {
        CallError(match error {
            ForeignJsonError::TooManyValues(most) => {
                format!("The arguments have more than {most} JSON values.")
            }
            ForeignJsonError::Invalid(error) => format!("The arguments are not a JSON object: {error}."),
        })
    })
}
