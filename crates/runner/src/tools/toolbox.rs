//! The tools of one run: their descriptions for the model, and the calls of a turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use domain::agent::tools::{ExposedNames, Tool};
use domain::{CallOutcome, CallReport, ChatTurn, Fault, TaskId, ToolCall, ToolSpec};
use futures::future::join_all;

use super::call::{Arguments, CallError, ToolOutput, not_scrubbed};
use super::credentials::ToolCredentials;
use super::mcp::{self, McpServer};
use super::{Callable, OpenTool, ToolContext};
use crate::scrub::{RunSecrets, SecretScrubber};
use crate::traced::{self, UNKNOWN_TOOL};

/// An agent's tools with their connections.
pub(crate) struct Toolbox<'a> {
    specs: Vec<ToolSpec>,
    tools: HashMap<String, Callable<'a>>,
    connections: Vec<Arc<McpServer<'a>>>,
    secrets: &'a RunSecrets,
}

impl<'a> Toolbox<'a> {
    /// Reads the secrets and opens the connections that the agent's tools need.
    pub(crate) async fn open(context: ToolContext<'a>, tools: &'a [Tool]) -> Result<Self, Fault> {
        let secrets = context.run_secrets;
        let mut toolbox = Self {
            specs: Vec::new(),
            tools: HashMap::new(),
            connections: Vec::new(),
            secrets,
        };
        match toolbox.fill(context, tools).await {
            Ok(()) => Ok(toolbox),
            Err(fault) => {
                toolbox.close().await;
                Err(fault)
            }
        }
    }

    async fn fill(&mut self, context: ToolContext<'a>, tools: &'a [Tool]) -> Result<(), Fault> {
        let names = ExposedNames::new(tools);
        // All secrets are read before any server can send one back.
        let mut opening = Vec::with_capacity(tools.len());
        for tool in tools {
            opening.push((tool, ToolCredentials::load(context, tool).await?));
        }
        for (tool, credentials) in opening {
            let OpenTool {
                callables,
                connection,
            } = OpenTool::open(tool, context, &names, credentials).await?;
            self.connections.extend(connection);
            for (spec, callable) in callables {
                self.add(spec, callable);
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
        spec.parameters = domain::normalize_tool_schema(spec.parameters);
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
            let name = self
                .tools
                .get_key_value(&call.name)
                .map_or(UNKNOWN_TOOL, |(name, _)| name);
            traced::execute_tool(name, (turn.number, place), called).await
        });
        join_all(calls).await
    }

    pub(crate) async fn call(&self, call: &ToolCall, key: &str) -> CallReport {
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
            Err(CallError(why)) => CallReport {
                took,
                ..CallReport::error(why)
            },
        };
        // Taken after the call, because the call may have sent a renewed secret.
        let bytes = called.content.len();
        let scrubber = self.secrets.scrubber();
        let scrubbed = scrubber
            .scrub_off_workers(bytes, called, SecretScrubber::scrub_called)
            .await;
        scrubbed.unwrap_or_else(|error| {
            let CallError(why) = not_scrubbed(&error);
            CallReport {
                took,
                ..CallReport::error(why)
            }
        })
    }

    async fn attempt(&self, call: &ToolCall, key: &str) -> Result<ToolOutput, CallError> {
        let callable = self
            .tools
            .get(&call.name)
            .ok_or_else(|| self.unknown_tool(&call.name))?;
        let arguments = Arguments::parse(&call.arguments).await?;
        callable.call(arguments, key).await
    }

    fn needs_approval(&self, call: &ToolCall) -> bool {
        self.tools
            .get(&call.name)
            .is_some_and(Callable::needs_approval)
    }

    fn report_withheld(&self, call: &ToolCall) -> CallReport {
        match self.needs_approval(call) {
            true => CallReport {
                outcome: CallOutcome::Refused,
                ..CallReport::error("Not called: it needs a person's approval.")
            },
            false => CallReport::error(
                "Not called, because another call of this turn needs a person's approval.",
            ),
        }
    }

    fn unknown_tool(&self, name: &str) -> CallError {
        let known: Vec<&str> = self.specs.iter().map(|spec| spec.name.as_str()).collect();
        let name = domain::cut(name, 64);
        CallError(format!(
            "Unknown tool `{name}`. Available tools: {}.",
            known.join(", ")
        ))
    }
}
