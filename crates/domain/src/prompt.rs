//! Prompts: Jinja templates over the payload.
//!
//! The payload is data: it is handed to the template as values and can never
//! become template code.

use std::fmt;

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, context};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Agent, Moment, Payload, TaskId};

/// What an agent without a prompt is told.
const DEFAULT_PROMPT: &str = "You are {{ agent.name }}, an agent that is triggered by a webhook. \
The user message is the JSON payload that the webhook received. \
Do what it asks, and answer in plain text, briefly and to the point.";

/// Instructions a template may execute, so that no loop runs away.
const FUEL: u64 = 1_000_000;
/// Most bytes of a rendered prompt.
const MAX_RENDERED_BYTES: usize = 1024 * 1024;

/// Why a prompt cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A fault in the template; the engine says where.
    #[error("{0}")]
    Template(#[from] minijinja::Error),
    /// The template made too much of the payload.
    #[error("the rendered prompt is larger than 1048576 bytes")]
    TooLarge,
}

/// Whether `template` can be compiled.
pub fn check_template(template: &str) -> Result<(), PromptError> {
    environment().template_from_str(template)?;
    Ok(())
}

/// The agent's prompt over one payload. Missing fields render as nothing.
pub fn render_prompt(
    agent: &Agent,
    payload: &Payload,
    task: TaskId,
    now: Moment,
) -> Result<String, PromptError> {
    let environment = environment();
    let template = agent.draft().prompt.as_deref().unwrap_or(DEFAULT_PROMPT);
    let rendered = environment.render_str(
        template,
        context! {
            payload => payload_value(payload)?,
            agent => context! { name => agent.draft().name.as_str() },
            task_id => task.to_string(),
            now => now.rfc3339(),
        },
    )?;
    if rendered.len() > MAX_RENDERED_BYTES {
        return Err(PromptError::TooLarge);
    }
    Ok(rendered)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    // Prompts are plain text: nothing is escaped for HTML or JSON.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

fn payload_value(payload: &Payload) -> Result<Value, PromptError> {
    let raw: &RawValue = serde_json::from_str(payload.as_json())
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(value(raw))
}

/// JSON as template values. A number whose digits a float would change
/// (`1.50`, big integers) becomes its digits as text; `| float` makes it a
/// number again.
fn value(raw: &RawValue) -> Value {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => object(text),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
            .map(|items| items.into_iter().map(value).collect())
            .unwrap_or_default(),
        // A lone surrogate is valid JSON and no Unicode: it stays as written.
        Some(b'"') => serde_json::from_str::<String>(text).map_or_else(|_| Value::from(text), Value::from),
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') => Value::from(()),
        _ => number(text),
    }
}

fn number(text: &str) -> Value {
    if let Ok(integer) = text.parse::<i128>()
        && integer.to_string() == text
    {
        return Value::from(integer);
    }
    match text.parse::<f64>() {
        Ok(float) if float.to_string() == text => Value::from(float),
        _ => Value::from(text),
    }
}

fn object(text: &str) -> Value {
    serde_json::from_str::<Fields<'_>>(text)
        .map(|fields| Value::from_pairs(fields.0.into_iter().map(|(name, raw)| (name, value(raw)))))
        // A name that is no Unicode: the object stays as written.
        .unwrap_or_else(|_| Value::from(text))
}

/// An object's fields in their order, each value still text.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Fields<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(field) = map.next_entry()? {
            self.0.push(field);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentDraft, AgentId, TaskKey};

    fn render(prompt: &str, payload: &str) -> String {
        let draft = serde_json::json!({ "name": "triage", "prompt": prompt }).to_string();
        let draft = AgentDraft::from_json(draft.as_bytes()).unwrap();
        let (agent, _) = Agent::new(AgentId::random([1; 16]), draft).unwrap();
        let payload = Payload::from_json(payload.as_bytes()).unwrap();
        let now = Moment::from_millis(0);
        render_prompt(&agent, &payload, TaskId::new(now, TaskKey::random([0; 10])), now)
            .unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn a_prompt_reads_the_payload_the_agent_and_the_task() {
        assert_eq!(
            render("{{ agent.name }}: {{ payload.order.id }} at {{ now }}", r#"{"order":{"id":7}}"#),
            "triage: 7 at 1970-01-01T00:00:00.000Z"
        );
    }

    #[test]
    fn numbers_keep_their_digits_and_objects_their_order() {
        assert_eq!(
            render(
                "{{ payload.big }} {{ payload.price }} {{ payload.huge }} {% for k in payload %}{{ k }},{% endfor %}",
                r#"{"big":123456789012345678901234567890,"price":1.50,"huge":1e999,"a":0.1}"#
            ),
            "123456789012345678901234567890 1.50 1e999 big,price,huge,a,"
        );
        assert_eq!(render("{{ payload + 1 }} {{ payload > 41 }}", "42"), "43 True");
    }

    #[test]
    fn missing_fields_render_as_nothing() {
        assert_eq!(render("[{{ payload.a.b.c }}]", r#"{"x":1}"#), "[]");
    }

    #[test]
    fn template_code_in_a_payload_stays_text() {
        assert_eq!(render("{{ payload.x }}", r#"{"x":"{{ 7 * 7 }}<b>"}"#), "{{ 7 * 7 }}<b>");
    }

    #[test]
    fn a_runaway_template_is_stopped() {
        let message =
            render("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}", "{}");
        assert!(message.starts_with("error: "), "{message}");
    }
}
