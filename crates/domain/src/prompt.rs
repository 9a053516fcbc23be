//! Prompts: Jinja templates over the payload.
//!
//! The payload is data: it is handed to the template as values and can never
//! become template code.

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, ValueKind};
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
/// Most bytes of all values a template writes: what blocks and macros write is
/// kept aside first, and may not fill the memory there.
const MAX_WRITTEN_BYTES: usize = 8 * MAX_RENDERED_BYTES;
/// The engine descends once for every link of `1+1+1…` and `a|b|c…`, which can be
/// as many as a template has bytes, and takes up to this much stack each time.
const STACK_PER_BYTE: usize = 8 * 1024;
/// For what does not grow with the template: macros may call each other 125 deep.
const STACK_AT_LEAST: usize = 2 * 1024 * 1024;

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

impl PromptError {
    /// What went wrong and where, for the log: without the engine's details, in
    /// which it may quote the payload.
    pub fn without_payload(&self) -> String {
        match self {
            Self::Template(error) => {
                format!("{} in line {} of the prompt", error.kind(), error.line().unwrap_or_default())
            }
            Self::TooLarge => self.to_string(),
        }
    }
}

/// Whether `template` can be compiled, and names only filters, tests and
/// functions that exist. What it does with a payload only the payload can show.
pub fn check_template(template: &str) -> Result<(), PromptError> {
    with_stack_for(template, || {
        let environment = environment();
        let template = environment.template_from_str(template)?;
        match template.render(context! {}) {
            Err(error) if is_unknown_name(error.kind()) => Err(error.into()),
            _ => Ok(()),
        }
    })
}

fn with_stack_for<R>(template: &str, run: impl FnOnce() -> R) -> R {
    stacker::grow(STACK_AT_LEAST + template.len() * STACK_PER_BYTE, run)
}

const fn is_unknown_name(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction)
}

/// The agent's prompt over one payload. Missing fields render as nothing.
pub fn render_prompt(
    agent: &Agent,
    payload: &Payload,
    task: TaskId,
    now: Moment,
) -> Result<String, PromptError> {
    let template = agent.draft().prompt.as_deref().unwrap_or(DEFAULT_PROMPT);
    let values = context! {
        payload => payload_value(payload),
        agent => context! { name => agent.draft().name.as_str() },
        task_id => task.to_string(),
        now => now.rfc3339(),
    };
    let mut prompt = Bounded::default();
    let rendered = with_stack_for(template, || {
        environment().template_from_str(template)?.render_captured_to(values, &mut prompt).map(drop)
    });
    match rendered {
        _ if prompt.is_full => Err(PromptError::TooLarge),
        Err(error) if error.kind() == ErrorKind::WriteFailure => Err(PromptError::TooLarge),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(String::from_utf8_lossy(&prompt.text).into_owned()),
    }
}

/// Takes no more than a prompt may have.
#[derive(Default)]
struct Bounded {
    text: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.text.len() + text.len() > MAX_RENDERED_BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.text.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    // A namespace can hold itself, or be nested anew by every turn of a loop, and
    // to write such a value takes more stack than there is.
    environment.remove_global("namespace");
    // Prompts are plain text: nothing is escaped for HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // And the payload is JSON, so its values are written as JSON writes them.
    let room = AtomicUsize::new(MAX_WRITTEN_BYTES);
    environment.set_formatter(move |out, _, value| {
        match value.kind() {
            ValueKind::Bool => write!(out, "{}", value.is_true()),
            ValueKind::None => out.write_str("null"),
            // The engine takes fuel for a value once it is written: too late for a
            // list repeated a million times.
            _ => write!(Metered { out, room: &room }, "{value}"),
        }
        .map_err(Into::into)
    });
    environment.add_filter("tojson", |value: Value, indent: Option<Value>, args: Kwargs| {
        match value.downcast_object_ref::<Container>() {
            Some(container) if indent.is_none() => Ok(Value::from_safe_string(container.text().to_owned())),
            _ => minijinja::filters::tojson(&value, indent, args),
        }
    });
    environment
}

/// Hands on as many bytes as there is room for, and no more.
struct Metered<'a, W> {
    out: W,
    room: &'a AtomicUsize,
}

impl<W: fmt::Write> fmt::Write for Metered<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let less = |room: usize| room.checked_sub(text.len());
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).map_err(|_| fmt::Error)?;
        self.out.write_str(text)
    }
}

fn payload_value(payload: &Payload) -> Value {
    let json: Arc<str> = payload.as_json().into();
    let whole = 0..json.len();
    value(&json, whole)
}

/// JSON as template values. A number whose digits a float would change
/// (`1.50`, big integers) becomes its digits as text; `| float` makes it a
/// number again.
fn value(json: &Arc<str>, range: Range<usize>) -> Value {
    let text = json.get(range.clone()).unwrap_or_default();
    match text.as_bytes().first() {
        Some(b'{' | b'[') => {
            Value::from_object(Container { json: Arc::clone(json), range, content: OnceLock::new() })
        }
        // A lone surrogate is valid JSON and no Unicode: it stays as written.
        Some(b'"') => serde_json::from_str::<String>(text).map_or_else(|_| Value::from(text), Value::from),
        Some(b't') => Value::from(true),
        Some(b'f') => Value::from(false),
        Some(b'n') => Value::from(()),
        _ => number(text),
    }
}

/// An object or array of the payload: a part of its text, looked into only when
/// a template does, one level at a time, so that deep payloads cost nothing.
#[derive(Debug)]
struct Container {
    json: Arc<str>,
    range: Range<usize>,
    content: OnceLock<Value>,
}

impl Container {
    fn text(&self) -> &str {
        self.json.get(self.range.clone()).unwrap_or_default()
    }

    fn is_map(&self) -> bool {
        self.text().starts_with('{')
    }

    fn content(&self) -> &Value {
        self.content.get_or_init(|| {
            let text = self.text();
            if self.is_map() {
                // A name that is no Unicode hides its object's fields, not its text.
                let fields = serde_json::from_str(text).unwrap_or(Fields(Vec::new()));
                Value::from_pairs(fields.0.into_iter().map(|(name, raw)| (name, self.child(raw))))
            } else {
                let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                items.into_iter().map(|raw| self.child(raw)).collect()
            }
        })
    }

    /// A value inside this one, as a part of the same text.
    fn child(&self, raw: &RawValue) -> Value {
        let start = raw.get().as_ptr().addr().saturating_sub(self.json.as_ptr().addr());
        value(&self.json, start..start + raw.get().len())
    }
}

impl Object for Container {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_map() { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.content().get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.is_map() {
            Enumerator::Values(self.content().try_iter().map(Iterator::collect).unwrap_or_default())
        } else {
            Enumerator::Seq(self.content().len().unwrap_or_default())
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
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
        assert_eq!(render("{{ payload + 1 }} {{ payload > 41 }}", "42"), "43 true");
    }

    #[test]
    fn what_a_prompt_writes_of_the_payload_is_json() {
        let payload = r#"{"order":{"z":1.10,"a":[true,null,"x"]},"ok":true,"no":null}"#;
        let order = r#"{"z":1.10,"a":[true,null,"x"]}"#;
        assert_eq!(render("{{ payload.order }}", payload), order);
        assert_eq!(render("{{ payload.order | tojson }}", payload), order);
        assert_eq!(render("{{ payload }}", payload), payload);
        assert_eq!(
            render("{{ payload.ok }} {{ payload.no }} {{ payload.order.a[2] }}", payload),
            "true null x"
        );
        assert_eq!(render("{{ payload.order.a | length }} {{ payload | length }}", payload), "3 3");
        assert_eq!(render("{{ payload.order.a | join('-') }}", r#"{"order":{"a":[1,2]}}"#), "1-2");
        assert_eq!(
            render("{{ payload[-1] }}{% for n in payload %}<{{ n }}>{% endfor %}", "[1,2]"),
            "2<1><2>"
        );
    }

    #[test]
    fn a_deep_payload_can_be_looked_into_and_written() {
        let deep = format!("{}\"x\"{}", "[".repeat(127), "]".repeat(127));
        let inside = format!("{{{{ payload{} }}}} {{{{ payload }}}}", "[0]".repeat(127));
        assert_eq!(render(&inside, &deep), format!("x {deep}"));
    }

    #[test]
    fn a_filter_that_does_not_exist_is_noticed_before_any_payload() {
        assert!(check_template("{{ payload.a | nofilter }}").is_err());
        assert!(check_template("{{ payload.a / payload.b }}").is_ok());
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
    fn a_payload_that_multiplies_itself_is_stopped_before_it_fills_the_memory() {
        let (rows, text) = ("0,".repeat(100_000), "x".repeat(500_000));
        let payload = format!(r#"{{"rows":[{rows}0],"text":"{text}"}}"#);
        for prompt in [
            "{% for row in payload.rows %}{{ payload.text }}{% endfor %}",
            "{% for row in payload.rows %}{{ payload }}{% endfor %}",
            "{% set all %}{% for row in payload.rows %}{{ payload.text }}{% endfor %}{% endset %}",
        ] {
            assert!(render(prompt, &payload).starts_with("error: "), "{prompt}");
        }
        // 1 MiB is fine, in a block too.
        let twice = "{% set all %}{{ payload.text }}{{ payload.text }}{% endset %}{{ all }}";
        assert_eq!(render(twice, &payload).len(), 1_000_000);
    }

    #[test]
    fn nothing_can_be_nested_without_end() {
        let itself = "{% set n = namespace() %}{% set n.x = n %}{{ n }}";
        let deeper = "{% set n = namespace(x=[]) %}{% for i in range(10000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}";
        for template in [itself, deeper] {
            assert!(check_template(template).unwrap_err().to_string().contains("namespace is unknown"));
        }
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let chain = |link: &str| link.repeat(16 * 1024 / link.len());
        for template in [
            format!("{{{{ 1{} }}}}", chain("+1")),
            format!("{{{{ {}1 }}}}", chain("-")),
            format!("{{{{ {}1 }}}}", chain("not ")),
            format!("{{{{ a{} }}}}", chain(".a")),
            format!("{{{{ a{} }}}}", chain("[0]")),
            format!("{{{{ a{} }}}}", chain("()")),
            format!("{{{{ 1{} }}}}", chain("|e")),
            format!("{{{{ 1{} }}}}", chain(" is odd")),
            format!("{{{{ 1{} }}}}", chain(" if 1")),
            format!("{{% if 1 %}}{}{{% endif %}}", chain("{%elif 1%}")),
        ] {
            // Whatever comes of it, the process lives.
            let _ = check_template(&template);
        }
    }

    #[test]
    fn macros_that_call_themselves_are_stopped() {
        for macros in [
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% macro f(x) %}{{ f([[[[[[[[x]]]]]]]]) }}{% endmacro %}{{ f(1) }}",
        ] {
            assert!(render(macros, "{}").contains("recursion limit exceeded"), "{}", render(macros, "{}"));
        }
    }

    #[test]
    fn what_a_template_makes_is_bounded_before_it_is_made() {
        let payload = format!("[{}]", vec!["\"0123456789\""; 5000].join(","));
        for template in [
            "{% for a in payload %}{{ payload }}{% endfor %}",
            "{% for a in payload %}{{ payload | tojson }}{% endfor %}",
            "{{ payload | join(payload | string) }}",
            "{{ (payload | string) * 1000 * 1000 }}",
            "{{ payload | string | replace('', payload | string) }}",
        ] {
            let message = render(template, &payload);
            let bounds = ["ran out of fuel", "too large", "larger than 1048576 bytes"];
            assert!(bounds.iter().any(|bound| message.contains(bound)), "{template}: {message:.200}");
        }
    }

    #[test]
    fn a_list_repeated_without_measure_is_not_written_out() {
        let message = render("{{ payload * 60000 }}", &format!("[\"{}\"]", "x".repeat(1000)));
        assert_eq!(message, "error: the rendered prompt is larger than 1048576 bytes");
    }

    #[test]
    fn a_runaway_template_is_stopped() {
        let message =
            render("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}", "{}");
        assert!(message.starts_with("error: "), "{message}");
    }
}
