//! Performs the steps of the agent loop.

use std::sync::Arc;
use std::time::Duration;

use domain::agent::{ModelConfig, RefusedParts};
use domain::{
    AnswerSchema, Ended, ErrorType, Failure, Fault, ModelReply, Payload, Provider, Rules, Run, Step,
};
use store::{Claimed, Finish, Refused, StoredAgent, error_chain};
use subprocess::RenderError;

use crate::answer::{check_answer, parse_answer_schema};
use crate::attempt::AttemptOutcome;
use crate::log::{log_error_text, log_failed_calls};
use crate::memory::RunMemory;
use crate::model::ModelCall;
use crate::scrub::{RunSecrets, SecretScrubber};
use crate::secrets::{model_api_key, replaced_key};
use crate::tools::{Searched, ToolContext, Toolbox};
use crate::{Runner, traced};

/// The assumed size of what goes back to a model provider, because counting its bytes would
/// take as long as scrubbing it.
const ECHO_BYTES: usize = 1024 * 1024;

/// Why an attempt stops.
enum AttemptError {
    Fault(Fault),
    Fenced,
}

impl From<Fault> for AttemptError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Makes one attempt within `budget`, starting from the state that an earlier one saved.
pub(crate) async fn attempt(
    runner: &Runner,
    record: &StoredAgent,
    claimed: &Claimed,
    payload: &Payload,
    earlier: Option<Run>,
    budget: Duration,
) -> AttemptOutcome {
    let model = record
        .agent
        .definition()
        .model
        .as_ref()
        .unwrap_or(&runner.settings.default_model);
    let secrets = &RunSecrets::default();
    let mut driver = Driver {
        runner,
        record,
        claimed,
        payload,
        secrets,
        is_checkpointed: earlier.is_some(),
    };
    let mut run = earlier.unwrap_or_default();
    // Boxed, because it is moved into each future around it, which could overflow the stack.
    let attempt = Box::pin(async {
        let mut toolbox = None;
        let attempted = tokio::time::timeout(budget, driver.drive(&mut run, &mut toolbox)).await;
        // Outside the budget: a run that ended in time stays successful.
        if let Some(toolbox) = toolbox {
            toolbox.close().await;
        }
        match attempted {
            Ok(Ok(ended)) => AttemptOutcome::Ended(ended),
            Ok(Err(AttemptError::Fault(mut fault))) => {
                secrets.scrubber().scrub_fault(&mut fault);
                if runner.settings.log_server_errors {
                    log_error_text(&fault);
                }
                AttemptOutcome::Faulted {
                    fault,
                    run: Box::new(run),
                }
            }
            Ok(Err(AttemptError::Fenced)) => AttemptOutcome::Fenced,
            Err(_) => {
                AttemptOutcome::Ended(run.stopped(Failure::timeout(claimed.task.spent + budget)))
            }
        }
    });
    let memory = RunMemory::new(runner.models.memory(), record.agent.id());
    traced::invoke_agent(&record.agent, claimed, model, memory.scope(attempt)).await
}

/// What an attempt works with.
struct Driver<'a> {
    runner: &'a Runner,
    record: &'a StoredAgent,
    claimed: &'a Claimed,
    payload: &'a Payload,
    /// All secrets that this attempt sends, to remove them from everything that it receives.
    secrets: &'a RunSecrets,
    /// Whether the task's record contains the current state of the run.
    is_checkpointed: bool,
}

impl<'a> Driver<'a> {
    async fn drive(
        &mut self,
        run: &mut Run,
        toolbox: &mut Option<Toolbox<'a>>,
    ) -> Result<Ended, AttemptError> {
        let definition = self.record.agent.definition();
        let model = self.model();
        if !self.is_checkpointed {
            *run = self.new_run().await?;
        }
        let is_extractive = model.provider == Provider::Extractive;
        let output_schema = definition.output_schema.as_ref();
        let schema = parse_answer_schema(output_schema, model.provider).await?;
        let mut refused = self.record.refused.parts_of(model, output_schema);
        let system = system_message(self.render_prompt().await?, run.context());
        let mut api_key = self.api_key(model).await?;
        let mut is_key_renewed = false;
        let toolbox = toolbox.insert(Toolbox::open(self.tool_context(), &definition.tools).await?);
        let rules = Rules {
            limits: &definition.limits,
            has_tools: !toolbox.specs().is_empty(),
            schema: schema.as_deref(),
        };
        loop {
            match run.next() {
                Step::CallModel if is_extractive => run.answer_from_sources(),
                Step::CallModel => {
                    let model_call = ModelCall {
                        model,
                        api_key: api_key.as_deref(),
                        system: &system,
                        payload: self.payload,
                        messages: run.messages(),
                        tools: toolbox.specs(),
                        schema: output_schema,
                        max_output_tokens: run.output_allowance(&definition.limits),
                        refused: refused.clone(),
                    };
                    let turn = run.usage().map_or(1, |usage| usage.turns + 1);
                    let reply = self.call_model(model_call, &mut refused, turn, schema.as_ref());
                    let reply = match reply.await {
                        // Retried once with the API key that replaced the refused one.
                        Err(Fault::Permanent(refusal)) if !is_key_renewed => {
                            is_key_renewed = true;
                            let newer = self.replaced_key(model, api_key.as_deref()).await;
                            api_key = Some(newer.ok_or(Fault::Permanent(refusal))?);
                            continue;
                        }
                        reply => reply?,
                    };
                    run.model_replied(reply, rules);
                    self.is_checkpointed = false;
                }
                Step::CallTools(turn) => {
                    self.save_checkpoint(run).await?;
                    let called = toolbox.call_all(self.claimed.task.id, &turn).await;
                    if self.runner.settings.log_server_errors {
                        log_failed_calls(&called);
                    }
                    run.tools_replied(&turn, called);
                }
                Step::Done(ended) => return Ok(ended),
            }
        }
    }

    /// The agent's model, or the deployment's default.
    fn model(&self) -> &'a ModelConfig {
        let own = self.record.agent.definition().model.as_ref();
        own.unwrap_or(&self.runner.settings.default_model)
    }

    /// Reads the model's API key. This attempt sends it, so it is removed from what comes back.
    async fn api_key(&self, model: &ModelConfig) -> Result<Option<String>, Fault> {
        let api_key = model_api_key(&self.runner.secrets, model).await?;
        self.secrets.add(api_key.as_deref());
        self.secrets.add(self.runner.models.session_token());
        Ok(api_key)
    }

    /// A run with the passages of the agent's sources that fit the payload best.
    async fn new_run(&self) -> Result<Run, Fault> {
        let sources = &self.runner.sources;
        let passages = sources.best_passages(self.record, self.payload.words());
        Ok(Run::new(passages.await?))
    }

    async fn replaced_key(&self, model: &ModelConfig, refused: Option<&str>) -> Option<String> {
        let newer = replaced_key(&self.runner.secrets, model, refused).await;
        self.secrets.add(newer.as_deref());
        newer
    }

    fn tool_context(&self) -> ToolContext<'a> {
        ToolContext {
            egress: self.runner.models.egress(),
            secret_store: &self.runner.secrets,
            access_tokens: &self.runner.access_tokens,
            clock: &self.runner.clock,
            run_secrets: self.secrets,
            searched: Some(Searched {
                sources: &self.runner.sources,
                record: self.record,
            }),
        }
    }

    async fn call_model(
        &self,
        mut call: ModelCall<'_>,
        refused: &mut RefusedParts,
        turn: u32,
        schema: Option<&Arc<AnswerSchema>>,
    ) -> Result<ModelReply, Fault> {
        let (model, most) = (call.model, call.max_output_tokens);
        let reply = async {
            let reply = self.runner.models.call_model(&mut call).await;
            if call.refused != *refused {
                self.store_refused(&call).await;
                refused.clone_from(&call.refused);
            }
            let reply = scrub_model_reply(self.secrets, reply?).await?;
            check_answer(schema, call.tools, reply).await
        };
        traced::chat(model, turn, most, reply).await
    }

    /// Stores what the model's server refuses, so that later runs leave it out from the start.
    async fn store_refused(&self, call: &ModelCall<'_>) {
        let refused = Refused {
            by: call.model.fingerprint(call.schema),
            parts: call.refused.clone(),
        };
        if let Err(error) = self.runner.agents.store_refused(self.record, refused).await {
            tracing::warn!(
                error = error_chain(&error),
                "what the model server refuses could not be stored"
            );
        }
    }

    async fn render_prompt(&self) -> Result<String, Fault> {
        let now = self.runner.clock.now();
        let prompt = self
            .record
            .agent
            .prompt(self.payload, self.claimed.task.id, now);
        self.runner
            .subprocesses
            .render_prompt(self.record.agent.id(), prompt)
            .await
            .map_err(|error| match error {
                RenderError::System(error) => {
                    tracing::error!(error = error_chain(&error), "prompt not rendered");
                    Fault::transient(
                        ErrorType::Internal,
                        "The agent's prompt could not be rendered",
                    )
                }
                error => {
                    let reason = match &error {
                        RenderError::Prompt(error) => error.without_payload(),
                        error => error.to_string(),
                    };
                    tracing::error!(error = reason, "prompt not rendered");
                    Fault::permanent(
                        ErrorType::InvalidAgent,
                        "The agent's prompt cannot be rendered over this payload",
                    )
                }
            })
    }

    /// Saves the run before tools are called. A later attempt then makes the same calls under
    /// the same idempotency keys, and a superseded attempt makes none.
    async fn save_checkpoint(&mut self, run: &Run) -> Result<(), AttemptError> {
        if self.is_checkpointed {
            return Ok(());
        }
        match self.runner.tasks.checkpoint(self.claimed, run).await {
            Ok(Finish::Recorded) => {
                self.is_checkpointed = true;
                Ok(())
            }
            Ok(Finish::Fenced) => Err(AttemptError::Fenced),
            Err(error) => {
                tracing::error!(error = error_chain(&error), "checkpoint not saved");
                Err(Fault::transient(
                    ErrorType::Internal,
                    "The state of the run could not be saved",
                )
                .into())
            }
        }
    }
}

/// Removes secrets from a model's reply.
async fn scrub_model_reply(secrets: &RunSecrets, reply: ModelReply) -> Result<ModelReply, Fault> {
    let calls: usize = reply
        .calls
        .iter()
        .map(|call| call.id.len() + call.name.len() + call.arguments.len())
        .sum();
    let echo = if reply.echo.is_some() { ECHO_BYTES } else { 0 };
    let bytes = reply.text.len() + reply.thought.len() + calls + echo;
    let scrubbed = secrets
        .scrubber()
        .scrub_off_workers(bytes, reply, SecretScrubber::scrub_reply)
        .await;
    scrubbed.map_err(|error| {
        tracing::error!(%error, "model reply not searched for secrets");
        Fault::permanent(
            ErrorType::Internal,
            "The model's reply could not be searched for secrets",
        )
    })
}

/// The rendered prompt, followed by the passages of the agent's sources.
fn system_message(prompt: String, passages: &[domain::Passage]) -> String {
    if passages.is_empty() {
        return prompt;
    }
    let mut message = prompt + "\n\nPassages that may help, each under the title of its source:\n";
    for passage in passages {
        message.push_str(&format!("\n## {}\n{}\n", passage.title, passage.text));
    }
    message
}
