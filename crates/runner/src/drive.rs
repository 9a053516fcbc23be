//! Performs what the agent loop asks for.

use std::time::Duration;

use domain::agent::ApiKey;
use domain::{
    Ended, ErrorType, Failure, Fault, ModelConfig, Outcome, Payload, Provider, Run, Step, Usage,
    render_prompt,
};
use store::{AgentRecord, Claimed, error_chain};

use crate::Runner;
use crate::model::{Models, Question};

/// How one attempt at a run went.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The task ends like this.
    Ended(Ended),
    /// It met a fault; whether it is tried again is not decided here.
    Faulted {
        /// What went wrong.
        fault: Fault,
        /// What it has cost so far.
        usage: Option<Usage>,
    },
}

/// One attempt, within `budget`.
pub(crate) async fn attempt(
    runner: &Runner,
    record: &AgentRecord,
    claimed: &Claimed,
    payload: &Payload,
    budget: Duration,
) -> Attempt {
    let agent = &record.agent;
    let draft = agent.draft();
    let mut run = Run::new(Vec::new());
    let driven = async {
        let passages = runner.sources.best(record, payload.words()).await?;
        run = Run::new(passages.clone());
        let now = runner.clock.now();
        let prompt = render_prompt(agent, payload, claimed.task.id, now).map_err(|error| {
            tracing::error!(error = error.without_payload(), "prompt not rendered");
            Fault::permanent(
                ErrorType::InvalidAgent,
                "The agent's prompt cannot be rendered over this payload",
            )
        })?;
        let model = draft.model.as_ref().unwrap_or(&runner.settings.default_model);
        let question = Question {
            model,
            api_key: api_key(runner, model).await?,
            system: system_message(prompt, &passages),
            payload,
            passages: &passages,
            max_output_tokens: draft.limits.max_output_tokens,
        };
        drive(&runner.models, &mut run, &question).await
    };
    match tokio::time::timeout(budget, driven).await {
        Ok(Ok(ended)) => Attempt::Ended(ended),
        Ok(Err(fault)) => Attempt::Faulted { fault, usage: run.usage().cloned() },
        Err(_) => Attempt::Ended(Ended {
            outcome: Outcome::Failure(Failure::timeout(claimed.task.spent + budget)),
            usage: run.usage().cloned(),
        }),
    }
}

async fn drive(models: &Models, run: &mut Run, question: &Question<'_>) -> Result<Ended, Fault> {
    loop {
        match run.next() {
            Step::CallModel => {
                let reply = models.ask(question).await?;
                tracing::debug!(
                    gen_ai.request.model = reply.model,
                    gen_ai.usage.input_tokens = reply.input_tokens,
                    gen_ai.usage.output_tokens = reply.output_tokens,
                    "model replied"
                );
                match question.model.provider {
                    // No model spoke, so there is nothing to count.
                    Provider::Extractive => run.passages_replied(reply),
                    Provider::Openai => run.model_replied(reply),
                }
            }
            Step::Done(ended) => return Ok(ended),
        }
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
        Some(ApiKey::Stored(name)) => match runner.secrets.get(&name.secret).await {
            Ok(Some(key)) => Ok(Some(key)),
            Ok(None) => {
                tracing::error!(secret = name.secret, "the secret of a model's API key does not exist");
                Err(Fault::permanent(ErrorType::InvalidAgent, "The API key of the agent's model is missing"))
            }
            Err(error) => {
                tracing::error!(error = error_chain(&error), "secret store failed");
                Err(Fault::passing(ErrorType::Internal, "The secret store could not be read"))
            }
        },
    }
}
