//! What the tables hold: one agent with its token, and one task.

use domain::{AgentId, Answer, Ended, Moment, Outcome, TaskId, TaskKey, WebhookToken};
use serde_json::{Value, json};

use crate::Failure;

pub(super) struct Records {
    pub(super) token: WebhookToken,
    pub(super) agent_id: AgentId,
    pub(super) task_id: TaskId,
    agent: Value,
    webhook: Value,
    ended: Value,
    /// The task as a claim of it finds it.
    pub(super) claimed: Value,
}

impl Records {
    pub(super) fn new(now: Moment) -> Result<Self, Failure> {
        let agent_id = AgentId::random([7; 16]);
        let token = WebhookToken::derive(b"bench", agent_id, 1);
        let task_id = TaskId::new(now, TaskKey::random([9; 10]));
        let definition = json!({ "name": "bench", "prompt": "Sum up: {{ payload }}", "model": { "provider": "extractive" } });
        Ok(Self {
            agent: agent(agent_id, &token, &definition)?,
            webhook: webhook(agent_id, &token),
            ended: with(
                task(task_id, agent_id)?,
                json!({
                    "status": { "S": "SUCCESS" },
                    "finished_at": number(now.millis() + 900),
                    "outcome": packed(&Ended {
                        outcome: Outcome::Success(Answer { answer: "All is well.".to_owned(), ..Answer::default() }),
                        usage: None,
                    })?,
                }),
            ),
            claimed: with(
                task(task_id, agent_id)?,
                json!({
                    "status": { "S": "STARTED" },
                    "payload": packed(&json!({ "text": "Water boils at 100 degrees." }))?,
                    "lease_until": number(now.millis() + 60_000),
                }),
            ),
            token,
            agent_id,
            task_id,
        })
    }

    /// The item of this key.
    pub(super) fn at(&self, id: &str) -> &Value {
        match id.split_once('#') {
            Some(("token", _)) => &self.webhook,
            Some(_) => &self.agent,
            None => &self.ended,
        }
    }
}

fn agent(id: AgentId, token: &WebhookToken, definition: &Value) -> Result<Value, Failure> {
    Ok(json!({
        "id": { "S": format!("agent#{id}") },
        "v": { "N": "1" },
        "agent_id": { "S": id.to_string() },
        "draft": packed(definition)?,
        "salt": bytes(&[7; 32]),
        "webhook_version": { "N": "1" },
        "imported": { "BOOL": false },
        "hash": { "S": token.hash().as_str() },
        "previous": { "L": [] },
        "created_at": { "N": "1795867200000" },
        "updated_at": { "N": "1795867200000" },
        "revision": { "N": "1" },
    }))
}

fn webhook(agent: AgentId, token: &WebhookToken) -> Value {
    let hash = token.hash();
    json!({
        "id": { "S": format!("token#{}", hash.as_str()) },
        "v": { "N": "1" },
        "hash": { "S": hash.as_str() },
        "agent_id": { "S": agent.to_string() },
        "salt": bytes(&[7; 32]),
        "enabled": { "BOOL": true },
    })
}

fn task(id: TaskId, agent: AgentId) -> Result<Value, Failure> {
    let created_at = id.created_at().millis();
    Ok(json!({
        "id": { "S": id.key().as_hex() },
        "v": { "N": "1" },
        "agent_id": { "S": agent.to_string() },
        "listed": { "S": format!("{agent}#{}", id.key().shard()) },
        "task_id": { "S": id.to_string() },
        "attempt": { "N": "1" },
        "spent_ms": { "N": "0" },
        "created_at": number(created_at),
        "started_at": number(created_at),
        "expires_at": number(created_at / 1000 + 86_400),
        "payload": packed(&json!({}))?,
    }))
}

fn with(mut item: Value, more: Value) -> Value {
    if let (Value::Object(item), Value::Object(more)) = (&mut item, more) {
        item.extend(more);
    }
    item
}

fn number(number: u64) -> Value {
    json!({ "N": number.to_string() })
}

/// As the product packs what is short: docs/contributing/data-model.md.
fn packed(content: &impl serde::Serialize) -> Result<Value, Failure> {
    let mut bytes_of = vec![0];
    serde_json::to_writer(&mut bytes_of, content)?;
    Ok(bytes(&bytes_of))
}

fn bytes(bytes: &[u8]) -> Value {
    json!({ "B": aws_smithy_types::base64::encode(bytes) })
}
