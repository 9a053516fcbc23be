//! Performs what the agent loop asks for.

use std::sync::Arc;
use std::time::Duration;

use domain::agent::ApiKey;
use domain::{
    AnswerSchema, Ended, ErrorType, Failure, Fault, ModelConfig, ModelReply, Payload, Prompt, Provider,
    Rules, Run, Step,
};
use serde_json::Value;
use store::{AgentRecord, Claimed, Finish, error_chain};
use subprocess::RenderError;

use crate::memory::RunMemory;
use crate::model::Question;
use crate::scrub::{RunSecrets, SecretScrubber};
use crate::tools::Toolbox;
use crate::{Runner, traced};

/// How one attempt at a run went.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The task ends like this.
    Ended(Ended),
    /// It met a fault; whether it is tried again is not decided here.
    Faulted {
        /// What went wrong.
        fault: Fault,
        /// How far it has come.
        run: Box<Run>,
    },
    /// A newer attempt holds the task, or it has ended: this one is void.
    Fenced,
}

/// What a model's server wants back may be this long: counting it takes as long as reading
/// it.
const ECHO_BYTES: usize = 1024 * 1024;

/// Why an attempt breaks off.
enum Break {
    Fault(Fault),
    Fenced,
}

impl From<Fault> for Break {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One attempt, within `budget`, from where an earlier one had come to.
pub(crate) async fn attempt(
    runner: &Runner,
    record: &AgentRecord,
    claimed: &Claimed,
    payload: &Payload,
    earlier: Option<Run>,
    budget: Duration,
) -> Attempt {
    let model = record.agent.draft().model.as_ref().unwrap_or(&runner.settings.default_model);
    let secrets = &RunSecrets::default();
    let mut driver = Driver { runner, record, claimed, payload, secrets, is_written: earlier.is_some() };
    let mut run = earlier.unwrap_or_default();
    // On the heap: it is moved into each future around it, which would fill a stack.
    let attempt = Box::pin(async {
        let mut toolbox = None;
        let attempted = tokio::time::timeout(budget, driver.drive(&mut run, &mut toolbox)).await;
        // On no budget: a run that ended in time has.
        if let Some(toolbox) = toolbox {
            toolbox.close().await;
        }
        match attempted {
            Ok(Ok(ended)) => Attempt::Ended(ended),
            Ok(Err(Break::Fault(mut fault))) => {
                secrets.scrubber().scrub_fault(&mut fault);
                Attempt::Faulted { fault, run: Box::new(run) }
            }
            Ok(Err(Break::Fenced)) => Attempt::Fenced,
            Err(_) => Attempt::Ended(run.stopped(Failure::timeout(claimed.task.spent + budget))),
        }
    });
    let memory = RunMemory::new(runner.models.memory(), record.agent.id());
    traced::invoke_agent(&record.agent, claimed, model, memory.scope(attempt)).await
}

/// What an attempt works with.
struct Driver<'a> {
    runner: &'a Runner,
    record: &'a AgentRecord,
    claimed: &'a Claimed,
    payload: &'a Payload,
    /// All that this attempt sends, so that they can be removed from all that comes back.
    secrets: &'a RunSecrets,
    /// Whether the run is in the task's record as it stands.
    is_written: bool,
}

impl<'a> Driver<'a> {
    async fn drive(&mut self, run: &mut Run, toolbox: &mut Option<Toolbox<'a>>) -> Result<Ended, Break> {
        let draft = self.record.agent.draft();
        let model = draft.model.as_ref().unwrap_or(&self.runner.settings.default_model);
        if !self.is_written {
            *run = Run::new(
                self.runner.sources.best(self.record, self.payload.words()).await.map_err(Fault::from)?,
            );
        }
        let schema = answer_schema(draft.output_schema.as_ref(), model.provider)?.map(Arc::new);
        let system = system_message(self.prompt().await?, run.context());
        let mut api_key = api_key(self.runner, model).await?;
        self.secrets.add(api_key.as_deref().into_iter().chain(self.runner.models.session_token()));
        let mut is_key_renewed = false;
        let toolbox = toolbox.insert(Toolbox::open(self.runner, self.record, self.secrets).await?);
        let has_tools = !toolbox.specs().is_empty();
        let rules = Rules { limits: &draft.limits, has_tools, schema: schema.as_deref() };
        loop {
            match run.next() {
                Step::CallModel if model.provider == Provider::Extractive => run.answer_from_sources(),
                Step::CallModel => {
                    let question = Question {
                        model,
                        api_key: api_key.as_deref(),
                        system: &system,
                        payload: self.payload,
                        talk: run.talk(),
                        tools: toolbox.specs(),
                        schema: draft.output_schema.as_ref(),
                        max_output_tokens: run.output_allowance(&draft.limits),
                    };
                    let turn = run.usage().map_or(1, |usage| usage.turns + 1);
                    let asked = async {
                        let reply = self.runner.models.ask(&question).await?;
                        let reply = without_secrets(self.secrets, reply).await?;
                        checked(schema.as_ref(), reply).await
                    };
                    let reply = match traced::chat(model, turn, question.max_output_tokens, asked).await {
                        // Asked again once with the key that replaced the refused one.
                        Err(Fault::Permanent(refusal)) if !is_key_renewed => {
                            is_key_renewed = true;
                            let newer = replaced_key(self.runner, model, api_key.as_deref()).await;
                            api_key = Some(newer.ok_or(Fault::Permanent(refusal))?);
                            self.secrets.add(api_key.as_deref());
                            continue;
                        }
                        reply => reply?,
                    };
                    run.model_replied(reply, rules);
                    self.is_written = false;
                }
                Step::CallTools(turn) => {
                    self.write_down(run).await?;
                    let called = toolbox.call_all(self.claimed.task.id, &turn).await;
                    run.tools_replied(&turn, called);
                }
                Step::Done(ended) => return Ok(ended),
            }
        }
    }

    async fn prompt(&self) -> Result<String, Fault> {
        let now = self.runner.clock.now();
        let prompt = Prompt::new(&self.record.agent, self.payload, self.claimed.task.id, now);
        self.runner.subprocesses.render_prompt(self.record.agent.id(), prompt).await.map_err(|error| {
            match error {
                RenderError::System(error) => {
                    tracing::error!(error = error_chain(&error), "prompt not rendered");
                    Fault::passing(ErrorType::Internal, "The agent's prompt could not be rendered")
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
            }
        })
    }

    /// Before tools are called, so that whoever takes the run up again makes the
    /// same calls under the same keys, and a void attempt makes none.
    async fn write_down(&mut self, run: &Run) -> Result<(), Break> {
        if self.is_written {
            return Ok(());
        }
        match self.runner.tasks.checkpoint(self.claimed, run).await {
            Ok(Finish::Recorded) => {
                self.is_written = true;
                Ok(())
            }
            Ok(Finish::Fenced) => Err(Break::Fenced),
            Err(error) => {
                tracing::error!(error = error_chain(&error), "run not written down");
                Err(Fault::passing(ErrorType::Internal, "The run could not be written down").into())
            }
        }
    }
}

/// What a model said, as it may leave the run.
async fn without_secrets(secrets: &RunSecrets, reply: ModelReply) -> Result<ModelReply, Fault> {
    let calls: usize =
        reply.calls.iter().map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
    let echo = if reply.echo.is_some() { ECHO_BYTES } else { 0 };
    let bytes = reply.text.len() + reply.thought.len() + calls + echo;
    let scrubbed = secrets.scrubber().scrub_off_workers(bytes, reply, SecretScrubber::scrub_reply).await;
    scrubbed.map_err(|error| {
        tracing::error!(%error, "reply of a model not searched for secrets");
        Fault::permanent(ErrorType::Internal, "The reply of the model could not be searched for secrets")
    })
}

/// A reply whose answer has been held against its schema.
async fn checked(schema: Option<&Arc<AnswerSchema>>, mut reply: ModelReply) -> Result<ModelReply, Fault> {
    let Some(schema) = schema.filter(|_| reply.calls.is_empty()).cloned() else { return Ok(reply) };
    let cost = schema.cost(reply.text.len());
    let check = move || {
        reply.check(&schema);
        reply
    };
    RunMemory::of_this_run().off_workers(cost, check).await.map_err(|error| {
        tracing::error!(%error, "reply of a model not held against its schema");
        Fault::permanent(ErrorType::Internal, "The answer could not be held against its schema")
    })
}

/// What the answer must fit. It was checked when the agent was made, if not for
/// the model that the deployment has by default.
fn answer_schema(schema: Option<&Value>, provider: Provider) -> Result<Option<AnswerSchema>, Fault> {
    let invalid = |message| Fault::permanent(ErrorType::InvalidAgent, message);
    match schema {
        None => Ok(None),
        Some(_) if provider == Provider::Extractive => {
            Err(invalid("The agent has an output_schema and no model to follow it"))
        }
        Some(schema) => match AnswerSchema::parse(schema) {
            Ok(schema) => Ok(Some(schema)),
            Err(_) => Err(invalid("The agent's output_schema is not valid")),
        },
    }
}

/// The rendered prompt, followed by what the agent's sources say on the payload.
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

async fn api_key(runner: &Runner, model: &ModelConfig) -> Result<Option<String>, Fault> {
    match &model.api_key {
        None => Ok(None),
        Some(ApiKey::Inline(key)) => Ok(Some(key.clone())),
        Some(ApiKey::Stored(name)) => {
            let missing = "The API key of the agent's model is missing";
            stored_secret(runner, &name.secret, missing).await.map(Some)
        }
    }
}

/// The key that has replaced `refused` in the secret store. A process caches keys for some
/// minutes, and tasks should not fail because their key was replaced in that time.
async fn replaced_key(runner: &Runner, model: &ModelConfig, refused: Option<&str>) -> Option<String> {
    let (Some(ApiKey::Stored(name)), Some(refused)) = (&model.api_key, refused) else { return None };
    let current = runner.secrets.replaced(&name.secret, refused).await;
    let newer = current.unwrap_or_else(|error| {
        tracing::warn!(error = error_chain(&error), "cannot check whether the refused key was replaced");
        None
    })?;
    tracing::info!(secret = name.secret, "model asked again with the key that replaced the refused one");
    Some(newer)
}

/// What the secret store has under a name that an agent's definition gives.
pub(crate) async fn stored_secret(
    runner: &Runner,
    name: &str,
    missing: &'static str,
) -> Result<String, Fault> {
    match runner.secrets.get(name).await {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => {
            tracing::error!(secret = name, "a secret that an agent names does not exist");
            Err(Fault::permanent(ErrorType::InvalidAgent, missing))
        }
        Err(error) => {
            tracing::error!(error = error_chain(&error), "secret store failed");
            Err(Fault::passing(ErrorType::Internal, "The secret store could not be read"))
        }
    }
}
