//! Prompts: Jinja templates over the payload.
//!
//! The payload is data: it is handed to the template as values and can never
//! become template code.

mod data;
mod names;
mod plain;
mod stack;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

use crate::{Agent, Moment, Payload, TaskId, count_json_values};
use data::{Container, payload_value};
use stack::{RECURSION_LIMIT, with_stack_for};

/// What an agent without a prompt is told.
const DEFAULT_PROMPT: &str = "You are {{ agent.name }}, an agent that is triggered by a webhook. \
The user message is the JSON payload that the webhook received. \
Do what it asks, and answer in plain text, briefly and to the point.";

/// The same, for answers of a given form.
const DEFAULT_PROMPT_FOR_JSON: &str = "You are {{ agent.name }}, an agent that is triggered by a webhook. \
The user message is the JSON payload that the webhook received. \
Do what it asks, and answer with JSON alone, in the form that is asked for.";

/// What the engine calls a template when it says in which line a fault is.
const NAME: &str = "prompt";

/// Instructions a template may execute, so that no loop runs away.
const FUEL: u64 = 1_000_000;
/// Most bytes of a rendered prompt.
const MAX_RENDERED_BYTES: usize = 1024 * 1024;
/// Most bytes of all values a template writes: what blocks and macros write is
/// kept aside first, and may not fill the memory there.
const MAX_WRITTEN_BYTES: usize = 8 * MAX_RENDERED_BYTES;

/// Most JSON values of a payload over which a prompt is plain: 2 MiB in memory.
const MAX_PLAIN_VALUES: usize = 20_000;

/// Why a prompt cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PromptError {
    /// An error in the template.
    #[error("{message}")]
    Template {
        /// What the engine reports, with the line. It may quote the payload.
        message: String,
        /// The kind of the error and its line only, for the log.
        without_payload: String,
    },
    /// The template made too much of the payload.
    #[error("the rendered prompt is larger than 1048576 bytes")]
    TooLarge,
    /// Reading it takes more stack than there is.
    #[error(
        "the prompt nests too much: split its longest {{{{ … }}}} tag, and use fewer {{% … %}} tags, \
         and fewer brackets and filters beside macros"
    )]
    TooDeep,
}

impl PromptError {
    /// What went wrong and where, for the log: without the engine's details, in
    /// which it may quote the payload.
    pub fn without_payload(&self) -> String {
        match self {
            Self::Template { without_payload, .. } => without_payload.clone(),
            Self::TooLarge | Self::TooDeep => self.to_string(),
        }
    }
}

impl From<Error> for PromptError {
    fn from(error: Error) -> Self {
        let line = error.line().unwrap_or_default();
        let without_payload = format!("{} in line {line} of the prompt", error.kind());
        let advice = match error.kind() {
            ErrorKind::OutOfFuel => ": it takes too many steps over this payload, use fewer or smaller loops",
            _ => "",
        };
        Self::Template { message: format!("{error}{advice}"), without_payload }
    }
}

/// Whether `template` can be compiled, and names only filters, tests and
/// functions that exist. What it does with a payload only the payload can show.
///
/// The template is not rendered: it could do anything.
pub fn check_template(template: &str) -> Result<(), PromptError> {
    with_stack_for(template, || {
        environment().template_from_named_str(NAME, template)?;
        names::check(template)
    })?
}

/// An agent's prompt and all that it is rendered over, in a form that can be handed to
/// another process.
#[derive(Clone, Serialize, Deserialize)]
pub struct Prompt<'a> {
    template: Cow<'a, str>,
    agent_name: Cow<'a, str>,
    payload: Cow<'a, str>,
    task_id: String,
    now: String,
}

impl fmt::Debug for Prompt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} bytes over {} bytes)", self.template.len(), self.payload.len())
    }
}

impl<'a> Prompt<'a> {
    /// The agent's prompt over one payload.
    pub fn new(agent: &'a Agent, payload: &'a Payload, task: TaskId, now: Moment) -> Self {
        let default =
            if agent.draft().output_schema.is_some() { DEFAULT_PROMPT_FOR_JSON } else { DEFAULT_PROMPT };
        Self {
            template: agent.draft().prompt.as_deref().unwrap_or(default).into(),
            agent_name: agent.draft().name.as_str().into(),
            payload: payload.as_json().into(),
            task_id: task.to_string(),
            now: now.rfc3339(),
        }
    }

    /// Whether rendering is certain to be quick and small. Any other prompt belongs into a
    /// process that can be ended. A level of a payload takes up to 45 times its text in memory
    /// when the template looks into it, so the payload's values are bounded too.
    pub fn is_plain(&self) -> bool {
        plain::is_plain(&self.template) && count_json_values(self.payload.as_bytes()) <= MAX_PLAIN_VALUES
    }

    /// Without references to what it was made of.
    pub fn into_owned(self) -> Prompt<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Prompt {
            template: owned(self.template),
            agent_name: owned(self.agent_name),
            payload: owned(self.payload),
            ..self
        }
    }

    /// The prompt's text. Missing fields render as nothing.
    pub fn render(&self) -> Result<String, PromptError> {
        let values = context! {
            payload => payload_value(&self.payload),
            agent => context! { name => &*self.agent_name },
            task_id => &self.task_id,
            now => &self.now,
        };
        let mut prompt = Bounded::default();
        let rendered = with_stack_for(&self.template, || {
            environment()
                .template_from_named_str(NAME, &self.template)?
                .render_captured_to(values, &mut prompt)
                .map(drop)
        })?;
        match rendered {
            _ if prompt.is_full => Err(PromptError::TooLarge),
            Err(error) if error.kind() == ErrorKind::WriteFailure => Err(PromptError::TooLarge),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(String::from_utf8_lossy(&prompt.text).into_owned()),
        }
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
    environment.set_recursion_limit(RECURSION_LIMIT);
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
    let room = AtomicUsize::new(MAX_WRITTEN_BYTES);
    environment.add_filter("tojson", move |value: Value, indent: Option<Value>, args: Kwargs| {
        let indent = indent.map_or_else(|| args.get("indent"), |indent| Ok(Some(indent)))?;
        match value.downcast_object_ref::<Container>() {
            Some(container) if indent.is_none() => {
                spend(&room, container.text().len())?;
                Ok(Value::from_safe_string(container.text().to_owned()))
            }
            _ => {
                measure(&room, &value, indent.as_ref())?;
                minijinja::filters::tojson(&value, indent, args)
            }
        }
    });
    environment
}

/// Fails if the value as JSON is larger than what is left of the room: the engine
/// writes it in full, whatever a payload or `indent` makes of it.
fn measure(room: &AtomicUsize, value: &Value, indent: Option<&Value>) -> Result<(), Error> {
    let indent = indent.and_then(|indent| usize::try_from(indent.clone()).ok()).unwrap_or(2);
    let indent = " ".repeat(indent.min(MAX_WRITTEN_BYTES));
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut json = serde_json::Serializer::with_formatter(Measured { room }, formatter);
    value.serialize(&mut json).map_err(|error| {
        let kind = if error.is_io() { ErrorKind::WriteFailure } else { ErrorKind::InvalidOperation };
        Error::new(kind, "cannot serialize to JSON").with_source(error)
    })
}

fn spend(room: &AtomicUsize, bytes: usize) -> Result<(), fmt::Error> {
    let less = |room: usize| room.checked_sub(bytes);
    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).map(drop).map_err(|_| fmt::Error)
}

/// Keeps nothing, and takes as many bytes as there is room for.
struct Measured<'a> {
    room: &'a AtomicUsize,
}

impl io::Write for Measured<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        spend(self.room, text.len()).map_err(io::Error::other)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands on as many bytes as there is room for, and no more.
struct Metered<'a, W> {
    out: W,
    room: &'a AtomicUsize,
}

impl<W: fmt::Write> fmt::Write for Metered<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        spend(self.room, text.len())?;
        self.out.write_str(text)
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
        render_for(&agent, payload)
    }

    fn try_render(prompt: &str) -> Result<String, PromptError> {
        check_template(prompt)?;
        let agent = Agent::from_stored(AgentId::random([1; 16]), draft_with(prompt));
        let (payload, now) = (Payload::from_json(b"{}").unwrap(), Moment::from_millis(0));
        Prompt::new(&agent, &payload, TaskId::new(now, TaskKey::random([0; 10])), now).render()
    }

    fn draft_with(prompt: &str) -> AgentDraft {
        let mut draft = AgentDraft::named("triage", Vec::new());
        draft.prompt = Some(prompt.to_owned());
        draft
    }

    fn render_for(agent: &Agent, payload: &str) -> String {
        let payload = Payload::from_json(payload.as_bytes()).unwrap();
        let now = Moment::from_millis(0);
        Prompt::new(agent, &payload, TaskId::new(now, TaskKey::random([0; 10])), now)
            .render()
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
    fn unknown_names_are_found_wherever_they_are_and_with_their_line() {
        for (template, name, line) in [
            ("a\n{% if false %}{{ x | nofilter }}{% endif %}", "nofilter", 2),
            ("{% filter nofilter %}x{% endfilter %}", "nofilter", 1),
            ("{{ x is not\nnotest }}", "notest", 2),
            ("{% macro f() %}{{ nofunction(1) }}{% endmacro %}", "nofunction", 1),
        ] {
            let message = check_template(template).unwrap_err().to_string();
            assert!(message.contains(&format!("{name} is unknown")), "{message}");
            assert!(message.contains(&format!("prompt:{line}")), "{message}");
        }
        for template in [
            "{% macro f(x) %}({{ x }}{{ caller() }}){% endmacro %}{% call(y) f(1) %}{{ y }}{% endcall %}",
            "{% set g = payload.f %}{{ g() }}{{ payload.method() }}",
            "{% for (a, b) in (payload|items) recursive %}{{ loop(b) if (a) else (b) }}{% endfor %}",
            "{{ range(3)|list }}{{ x is not divisibleby(3) }}{{ dict(a=1) }}",
            "{% set (a, b) = (1, 2) %}{% with (c) = 1 %}{% endwith %}",
        ] {
            if let Err(error) = check_template(template) {
                assert!(!error.to_string().contains("unknown"), "{template}: {error}");
            }
        }
    }

    /// Half a billion steps if each look at the object collected its 40,000 fields.
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

    /// Templates of about so many tokens, each of which takes the engine deeper.
    fn chains(tokens: usize) -> [String; 12] {
        let chain = |link: &str, each: usize| link.repeat(tokens / each);
        [
            format!("{{{{ 1{} }}}}", chain("+1", 2)),
            format!("{{{{ {}1 }}}}", chain("-", 1)),
            format!("{{{{ {}1 }}}}", chain("not ", 1)),
            format!("{{{{ a{} }}}}", chain(".a", 2)),
            format!("{{{{ a{} }}}}", chain("[0]", 3)),
            format!("{{{{ a{} }}}}", chain("()", 2)),
            format!("{{{{ 1{} }}}}", chain("|e", 2)),
            format!("{{{{ 1{} }}}}", chain(" is odd", 2)),
            format!("{{{{ 1{} }}}}", chain(" if 1", 2)),
            format!("{{% if 1 %}}{}{{% endif %}}", chain("{%elif 1%}", 4)),
            format!("{{% set x=1 %}}{}{{{{ x }}}}", chain("{%set x=[x]%}", 8)),
            format!("{{% set x=1 %}}{}{{{{ x|tojson(2) }}}}", chain("{%set x={1:x}%}", 10)),
        ]
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        for template in chains(15_500) {
            // Whatever comes of it, the process lives.
            assert!(!matches!(try_render(&template), Err(PromptError::TooDeep)), "{template:.60}");
        }
    }

    #[test]
    fn a_chain_that_takes_more_stack_than_there_is_is_refused_in_a_sentence() {
        for template in chains(16_500) {
            assert!(matches!(check_template(&template), Err(PromptError::TooDeep)), "{template:.60}");
        }
        // One that an earlier version stored is refused where it is rendered.
        let [sums, ..] = chains(16_500);
        assert_eq!(
            render_for(&Agent::from_stored(AgentId::random([1; 16]), draft_with(&sums)), "{}"),
            "error: the prompt nests too much: split its longest {{ … }} tag, and use fewer {% … %} tags, \
             and fewer brackets and filters beside macros"
        );
    }

    #[test]
    fn values_that_macros_and_loops_nest_anew_do_not_exhaust_the_stack() {
        let levels = |count| "{%set x=[x]%}".repeat(count);
        let by_macro = |count| {
            format!(
                "{{% macro f(x, n) %}}{}{{% if n == 23 %}}{{{{ x }}}}{{{{ x|tojson }}}}{{% else %}}{{{{ f(x, n + 1) }}}}\
                 {{% endif %}}{{% endmacro %}}{{{{ f(1, 0) }}}}",
                levels(count)
            )
        };
        let by_loop = |count| {
            format!(
                "{{% for x in [1] recursive %}}{}{{{{ loop([x]) if loop.depth < 95 else x }}}}{{% endfor %}}",
                levels(count)
            )
        };
        for template in [by_macro(400), by_loop(120)] {
            // The engine may stop it, and the process lives.
            let rendered = try_render(&template);
            assert!(!matches!(rendered, Err(PromptError::TooDeep)), "{rendered:?}");
        }
        for template in [by_macro(600), by_loop(200)] {
            assert!(matches!(check_template(&template), Err(PromptError::TooDeep)));
        }
    }

    #[test]
    fn a_tree_can_be_written_by_a_macro_that_calls_itself() {
        let tree = "{% macro f(node) %}({{ node.name }}{% for child in node.children %}{{ f(child) }}{% endfor %})\
                    {% endmacro %}{{ f(payload) }}";
        let payload = r#"{"name":"a","children":[{"name":"b","children":[{"name":"c"}]},{"name":"d"}]}"#;
        assert_eq!(render(tree, payload), "(a(b(c))(d))");
    }

    #[test]
    fn json_is_measured_before_it_is_made() {
        let deep = format!("{}{}1{}", "[".repeat(100), "1,".repeat(200_000), "]".repeat(100));
        for template in [
            "{{ payload | tojson(2) | length }}",
            "{{ payload | tojson(indent=4) | length }}",
            "{{ payload[0] | tojson(1000000000) | length }}",
            "{{ (payload[0] * 60000) | tojson | length }}",
            "{% for i in range(100) %}{% set text = payload | tojson %}{% endfor %}",
        ] {
            assert_eq!(
                render(template, &deep),
                "error: the rendered prompt is larger than 1048576 bytes",
                "{template}"
            );
        }
        assert_eq!(render("{{ payload | tojson(indent=1) }}", r#"{"a":[1]}"#), "{\n \"a\": [\n  1\n ]\n}");
        assert_eq!(render("{{ [payload, 'x'] | tojson }}", r#"{"a":[1]}"#), r#"[{"a": [1]}, "x"]"#);
        assert_eq!(
            render("{{ payload.none | tojson }}{{ payload.a | tojson(true) }}", r#"{"a":1}"#),
            "null1"
        );
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
