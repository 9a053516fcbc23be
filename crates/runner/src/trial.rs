//! Trials: one call of a model or of a tool's server outside of a run.
//!
//! A trial has the same clients, guards, limits and scrubbing as a run. It stores nothing.

use std::time::{Duration, Instant};

use domain::agent::tools::{McpTool, Tool};
use domain::agent::{ModelConfig, RefusedParts, RequestPart};
use domain::{
    AgentId, CallOutcome, CallTrial, ErrorType, Fault, McpListing, ModelReply, ModelTrial, Payload,
    Provider, ToolCall, ToolSpec, TrialError, TrialRequest, TrialResponse,
};
use serde_json::{Value, json};

use crate::Runner;
use crate::memory::RunMemory;
use crate::model::ModelCall;
use crate::scrub::RunSecrets;
use crate::secrets::{model_api_key, replaced_key};
use crate::tools::{AccessTokens, ToolContext, Toolbox, download_document, list_server_tools};

/// The longest trial. Shorter than the time that the console's function has for a request.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Requests after which a model that still refuses parts of them is given up.
const MAX_MODEL_CALLS: usize = 4;
/// Enough for a word. Models that reason first may use it up, which is a reply too.
const MAX_OUTPUT_TOKENS: u32 = 256;

/// What a trial uses instead of a run's. No token of an earlier call: a trial shows whether the
/// current secret is right.
#[derive(Default)]
struct TrialState {
    secrets: RunSecrets,
    access_tokens: AccessTokens,
}

impl Runner {
    /// Makes the call of the request within 20 seconds.
    pub async fn run_trial(&self, request: TrialRequest) -> TrialResponse {
        let state = TrialState::default();
        // All trials share the permits and the threads of one agent.
        let memory = RunMemory::new(self.models.memory(), AgentId::random([0; 16]));
        let started = Instant::now();
        let trial = memory.scope(self.trial(request, &state));
        // Boxed, because the future is large and would be moved on the stack.
        let response = tokio::time::timeout(TRIAL_TIMEOUT, Box::pin(trial)).await;
        let mut response = response.unwrap_or_else(|_| {
            let message = format!(
                "No answer within {} seconds, the limit of a test",
                TRIAL_TIMEOUT.as_secs()
            );
            TrialResponse::Failed(TrialError::new(ErrorType::Timeout, message))
        });
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &mut response {
            TrialResponse::Model(trial) => trial.took_ms = took,
            TrialResponse::Call(trial) => trial.took_ms = took,
            _ => {}
        }
        response
    }

    async fn trial(&self, request: TrialRequest, state: &TrialState) -> TrialResponse {
        match request {
            TrialRequest::Model { model } => {
                let model = model.as_ref().unwrap_or(&self.settings.default_model);
                TrialResponse::Model(self.try_model(model, &state.secrets).await)
            }
            TrialRequest::ListTools { server } => match self.list_tools(&server, state).await {
                Ok(listing) => TrialResponse::Tools(listing),
                Err(error) => TrialResponse::Failed(error),
            },
            TrialRequest::Download { url } => {
                match download_document(self.trial_context(state), &url).await {
                    Ok(document) => TrialResponse::Document(document),
                    Err(error) => TrialResponse::Failed(error),
                }
            }
            TrialRequest::CallTool {
                tool,
                operation,
                arguments,
            } => TrialResponse::Call(self.call_tool(tool, &operation, arguments, state).await),
        }
    }

    fn trial_context<'a>(&'a self, state: &'a TrialState) -> ToolContext<'a> {
        ToolContext {
            egress: self.models.egress(),
            secret_store: &self.secrets,
            access_tokens: &state.access_tokens,
            clock: &self.clock,
            run_secrets: &state.secrets,
            searched: None,
        }
    }

    async fn try_model(&self, model: &ModelConfig, secrets: &RunSecrets) -> ModelTrial {
        if model.provider == Provider::Extractive {
            let message = "There is no model to test: the agent quotes its sources";
            return ModelTrial::failed(TrialError::new(ErrorType::InvalidAgent, message));
        }
        let mut refused = RefusedParts::default();
        let replied = self.ask_model(model, secrets, &mut refused).await;
        let scrubber = secrets.scrubber();
        let trial = match replied {
            Ok(reply) => ModelTrial {
                ok: true,
                model: Some(scrubber.scrub(&reply.model).into_owned()),
                input_tokens: reply.input_tokens,
                output_tokens: reply.output_tokens,
                ..ModelTrial::default()
            },
            Err(mut fault) => {
                scrubber.scrub_fault(&mut fault);
                ModelTrial::failed(fault.into())
            }
        };
        ModelTrial {
            refuses: refused.into_iter().collect(),
            ..trial
        }
    }

    /// Asks with a system message, a tool and a schema. Asks again without the parts that the
    /// server refuses.
    async fn ask_model(
        &self,
        model: &ModelConfig,
        secrets: &RunSecrets,
        refused: &mut RefusedParts,
    ) -> Result<ModelReply, Fault> {
        let mut api_key = model_api_key(&self.secrets, model).await?;
        secrets.add(api_key.as_deref());
        secrets.add(self.models.session_token());
        let payload = sample_payload()?;
        let (tools, schema) = ([sample_tool()], sample_schema());
        let mut calls = 0;
        loop {
            calls += 1;
            let has_tools = !refused.contains(&RequestPart::Tools);
            let mut call = ModelCall {
                model,
                api_key: api_key.as_deref(),
                system: "This is a test of the connection. Answer with the word OK.",
                payload: &payload,
                messages: &[],
                tools: if has_tools { &tools } else { &[] },
                schema: Some(&schema),
                max_output_tokens: MAX_OUTPUT_TOKENS,
                refused: refused.clone(),
            };
            let replied = self.models.call_model(&mut call).await;
            let refuses_more = call.refused.len() > refused.len();
            *refused = call.refused;
            match replied {
                Err(_) if refuses_more && calls < MAX_MODEL_CALLS => {}
                Err(Fault::Permanent(failure)) if calls < MAX_MODEL_CALLS => {
                    // The process may have an API key that was replaced.
                    let newer = replaced_key(&self.secrets, model, api_key.as_deref()).await;
                    secrets.add(newer.as_deref());
                    api_key = Some(newer.ok_or(Fault::Permanent(failure))?);
                }
                replied => return replied,
            }
        }
    }

    async fn list_tools(
        &self,
        server: &McpTool,
        state: &TrialState,
    ) -> Result<McpListing, TrialError> {
        let listed = list_server_tools(self.trial_context(state), server).await;
        listed.map_err(|mut fault| {
            state.secrets.scrubber().scrub_fault(&mut fault);
            fault.into()
        })
    }

    /// Calls an operation that the tool has. A person makes the call, so it needs no approval.
    async fn call_tool(
        &self,
        mut tool: Tool,
        operation: &str,
        arguments: String,
        state: &TrialState,
    ) -> CallTrial {
        if !tool.keep_only(operation) {
            let message = format!(
                "The tool has no operation `{}`",
                domain::cut(operation, 128)
            );
            return CallTrial::failed(TrialError::new(ErrorType::InvalidAgent, message));
        }
        let tools = [tool];
        let toolbox = match Toolbox::open(self.trial_context(state), &tools).await {
            Ok(toolbox) => toolbox,
            Err(mut fault) => {
                state.secrets.scrubber().scrub_fault(&mut fault);
                return CallTrial::failed(fault.into());
            }
        };
        let name = toolbox.specs().first().map(|spec| spec.name.clone());
        let call = ToolCall {
            id: "trial".to_owned(),
            name: name.unwrap_or_default(),
            arguments,
        };
        let report = toolbox.call(&call, &random_key()).await;
        toolbox.close().await;
        match report.outcome {
            CallOutcome::Ok => CallTrial {
                ok: true,
                result: Some(report.content),
                ..CallTrial::default()
            },
            _ => CallTrial::failed(TrialError::new(ErrorType::ToolError, report.content)),
        }
    }
}

fn sample_payload() -> Result<Payload, Fault> {
    Payload::from_json(br#""Answer with the word OK.""#)
        .map_err(|error| Fault::permanent(ErrorType::Internal, error.to_string()))
}

fn sample_tool() -> ToolSpec {
    ToolSpec {
        name: "current_time".to_owned(),
        description: "The current time. Not needed here: do not call it.".to_owned(),
        parameters: json!({ "type": "object", "properties": {} }),
    }
}

fn sample_schema() -> Value {
    json!({
        "type": "object", "properties": { "answer": { "type": "string" } },
        "required": ["answer"], "additionalProperties": false,
    })
}

/// The idempotency key of a call. Every trial is a call of its own.
fn random_key() -> String {
    let mut entropy = [0; 16];
    // Without randomness the key is the same for all trials, and a server may replay an answer.
    let _ = getrandom::fill(&mut entropy);
    format!("trial:{:032x}", u128::from_be_bytes(entropy))
}
