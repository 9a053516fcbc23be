//! Prompts: Jinja templates over the payload.
//!
//! The payload is data. The template gets it as values, so it can never become template code.

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

use crate::{Moment, Payload, TaskId, count_json_values};
use data::{Container, payload_value};
use stack::{RECURSION_LIMIT, with_stack_for};

/// The template's name in error messages of the engine, such as `in prompt:12`.
const NAME: &str = "prompt";

/// Instructions that a template may execute. Limits loops.
const FUEL: u64 = 1_000_000;
const MAX_RENDERED_BYTES: usize = 1024 * 1024;
/// Bytes of all values that a template writes. Blocks and macros write to buffers first, which
/// must not fill the memory.
const MAX_WRITTEN_BYTES: usize = 8 * MAX_RENDERED_BYTES;

/// JSON values in a payload of a plain prompt. They take 2 MiB in memory.
const MAX_PLAIN_VALUES: usize = 20_000;

/// Why a prompt cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PromptError {
    #[error("{message}")]
    Template {
        /// The error of the engine, with the line. It may quote the payload.
        message: String,
        /// Only the kind of the error and its line, for the log.
        without_payload: String,
    },
    #[error("the rendered prompt is larger than 1048576 bytes")]
    TooLarge,
    /// Parsing or rendering needs too much stack.
    #[error(
        "the prompt is nested too deeply: split its longest {{{{ … }}}} tag, and use fewer {{% … %}} tags, \
         and fewer brackets and filters beside macros"
    )]
    TooDeep,
}

impl PromptError {
    /// The error and its line, for the log. Omits the engine's details, which may quote the
    /// payload.
    pub fn without_payload(&self) -> String {
        match self {
            Self::Template {
                without_payload, ..
            } => without_payload.clone(),
            Self::TooLarge | Self::TooDeep => self.to_string(),
        }
    }
}

impl From<Error> for PromptError {
    fn from(error: Error) -> Self {
        let line = error.line().unwrap_or_default();
        let without_payload = format!("{} in line {line} of the prompt", error.kind());
        let advice = match error.kind() {
            ErrorKind::OutOfFuel => {
                ": the prompt needs too many steps for this payload; use fewer or smaller loops"
            }
            _ => "",
        };
        Self::Template {
            message: format!("{error}{advice}"),
            without_payload,
        }
    }
}

/// Checks that `template` compiles and that its filters, tests and functions exist.
///
/// The template is not rendered, because rendering could be expensive. Errors that depend on the
/// payload are only found at run time.
pub fn check_template(template: &str) -> Result<(), PromptError> {
    with_stack_for(template, || {
        environment().template_from_named_str(NAME, template)?;
        names::check(template)
    })?
}

/// An agent's prompt and its variables, in a form that can be sent to another process.
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
        write!(
            f,
            "Prompt({} bytes with a payload of {} bytes)",
            self.template.len(),
            self.payload.len()
        )
    }
}

impl<'a> Prompt<'a> {
    pub fn new(
        template: &'a str,
        agent_name: &'a str,
        payload: &'a Payload,
        task: TaskId,
        now: Moment,
    ) -> Self {
        Self {
            template: template.into(),
            agent_name: agent_name.into(),
            payload: payload.as_json().into(),
            task_id: task.to_string(),
            now: now.rfc3339(),
        }
    }

    /// Whether rendering certainly takes little time and memory. Any other prompt must be
    /// rendered in a process that can be killed. The number of the payload's values is limited
    /// too: accessing a level of a payload takes up to 45 times its text in memory.
    pub fn is_plain(&self) -> bool {
        plain::is_plain(&self.template)
            && count_json_values(self.payload.as_bytes()) <= MAX_PLAIN_VALUES
    }

    pub fn into_owned(self) -> Prompt<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Prompt {
            template: owned(self.template),
            agent_name: owned(self.agent_name),
            payload: owned(self.payload),
            ..self
        }
    }

    /// Renders the prompt. Missing fields render as nothing.
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

/// A buffer of at most [`MAX_RENDERED_BYTES`].
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
    // A namespace can contain itself, or be nested deeper in every iteration of a loop.
    // Writing such a value would overflow the stack.
    environment.remove_global("namespace");
    // Prompts are plain text: nothing is escaped for HTML.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    // The payload is JSON, so its values are written as JSON.
    let room = AtomicUsize::new(MAX_WRITTEN_BYTES);
    environment.set_formatter(move |out, _, value| {
        match value.kind() {
            ValueKind::Bool => write!(out, "{}", value.is_true()),
            ValueKind::None => out.write_str("null"),
            // The engine consumes fuel only after a value is written. That is too late for a
            // list repeated a million times.
            _ => write!(Metered { out, room: &room }, "{value}"),
        }
        .map_err(Into::into)
    });
    let room = AtomicUsize::new(MAX_WRITTEN_BYTES);
    environment.add_filter(
        "tojson",
        move |value: Value, indent: Option<Value>, args: Kwargs| {
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
        },
    );
    environment
}

/// Fails if the value as JSON is larger than the remaining `room`. The engine would write it in
/// full, however large the payload and `indent` make it.
fn measure(room: &AtomicUsize, value: &Value, indent: Option<&Value>) -> Result<(), Error> {
    let indent = indent
        .and_then(|indent| usize::try_from(indent.clone()).ok())
        .unwrap_or(2);
    let indent = " ".repeat(indent.min(MAX_WRITTEN_BYTES));
    let formatter = PrettyFormatter::with_indent(indent.as_bytes());
    let mut json = serde_json::Serializer::with_formatter(Measured { room }, formatter);
    value.serialize(&mut json).map_err(|error| {
        let kind = if error.is_io() {
            ErrorKind::WriteFailure
        } else {
            ErrorKind::InvalidOperation
        };
        Error::new(kind, "cannot serialize to JSON").with_source(error)
    })
}

fn spend(room: &AtomicUsize, bytes: usize) -> Result<(), fmt::Error> {
    let less = |room: usize| room.checked_sub(bytes);
    room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
        .map(drop)
        .map_err(|_| fmt::Error)
}

/// Discards its input. Fails if there is no room left.
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

/// Forwards its input. Fails if there is no room left.
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
    use crate::{Agent, AgentId, Definition, TaskKey};

    fn render(prompt: &str, payload: &str) -> String {
        let definition = serde_json::json!({ "name": "triage", "prompt": prompt }).to_string();
        let definition = Definition::from_json(definition.as_bytes()).unwrap();
        let agent = Agent::new(AgentId::random([1; 16]), definition).unwrap();
        render_for(&agent, payload)
    }

    fn try_render(prompt: &str) -> Result<String, PromptError> {
        check_template(prompt)?;
        let agent = Agent::from_stored(AgentId::random([1; 16]), definition_with(prompt));
        let (payload, now) = (Payload::from_json(b"{}").unwrap(), Moment::from_millis(0));
        agent
            .prompt(&payload, TaskId::new(now, TaskKey::random([0; 10])), now)
            .render()
    }

    fn definition_with(prompt: &str) -> Definition {
        let mut definition = Definition::named("triage", Vec::new());
        definition.prompt = Some(prompt.to_owned());
        definition
    }

    fn render_for(agent: &Agent, payload: &str) -> String {
        let payload = Payload::from_json(payload.as_bytes()).unwrap();
        let now = Moment::from_millis(0);
        agent
            .prompt(&payload, TaskId::new(now, TaskKey::random([0; 10])), now)
            .render()
            .unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn a_prompt_can_use_the_payload_the_agent_and_the_task() {
        assert_eq!(
            render(
                "{{ agent.name }}: {{ payload.order.id }} at {{ now }}",
                r#"{"order":{"id":7}}"#
            ),
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
        assert_eq!(
            render("{{ payload + 1 }} {{ payload > 41 }}", "42"),
            "43 true"
        );
    }

    #[test]
    fn values_of_the_payload_are_written_as_json() {
        let payload = r#"{"order":{"z":1.10,"a":[true,null,"x"]},"ok":true,"no":null}"#;
        let order = r#"{"z":1.10,"a":[true,null,"x"]}"#;
        assert_eq!(render("{{ payload.order }}", payload), order);
        assert_eq!(render("{{ payload.order | tojson }}", payload), order);
        assert_eq!(render("{{ payload }}", payload), payload);
        assert_eq!(
            render(
                "{{ payload.ok }} {{ payload.no }} {{ payload.order.a[2] }}",
                payload
            ),
            "true null x"
        );
        assert_eq!(
            render(
                "{{ payload.order.a | length }} {{ payload | length }}",
                payload
            ),
            "3 3"
        );
        assert_eq!(
            render(
                "{{ payload.order.a | join('-') }}",
                r#"{"order":{"a":[1,2]}}"#
            ),
            "1-2"
        );
        assert_eq!(
            render(
                "{{ payload[-1] }}{% for n in payload %}<{{ n }}>{% endfor %}",
                "[1,2]"
            ),
            "2<1><2>"
        );
    }

    #[test]
    fn a_deep_payload_can_be_accessed_and_written() {
        let deep = format!("{}\"x\"{}", "[".repeat(127), "]".repeat(127));
        let inside = format!("{{{{ payload{} }}}} {{{{ payload }}}}", "[0]".repeat(127));
        assert_eq!(render(&inside, &deep), format!("x {deep}"));
    }

    #[test]
    fn an_unknown_filter_is_detected_without_a_payload() {
        assert!(check_template("{{ payload.a | nofilter }}").is_err());
        assert!(check_template("{{ payload.a / payload.b }}").is_ok());
    }

    #[test]
    fn unknown_names_are_detected_everywhere_and_reported_with_their_line() {
        for (template, name, line) in [
            (
                "a\n{% if false %}{{ x | nofilter }}{% endif %}",
                "nofilter",
                2,
            ),
            ("{% filter nofilter %}x{% endfilter %}", "nofilter", 1),
            ("{{ x is not\nnotest }}", "notest", 2),
            (
                "{% macro f() %}{{ nofunction(1) }}{% endmacro %}",
                "nofunction",
                1,
            ),
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
                assert!(
                    !error.to_string().contains("unknown"),
                    "{template}: {error}"
                );
            }
        }
    }

    #[test]
    fn missing_fields_render_as_nothing() {
        assert_eq!(render("[{{ payload.a.b.c }}]", r#"{"x":1}"#), "[]");
    }

    #[test]
    fn template_code_in_a_payload_stays_text() {
        assert_eq!(
            render("{{ payload.x }}", r#"{"x":"{{ 7 * 7 }}<b>"}"#),
            "{{ 7 * 7 }}<b>"
        );
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
    fn values_cannot_be_nested_endlessly() {
        let itself = "{% set n = namespace() %}{% set n.x = n %}{{ n }}";
        let deeper = "{% set n = namespace(x=[]) %}{% for i in range(10000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}";
        for template in [itself, deeper] {
            assert!(
                check_template(template)
                    .unwrap_err()
                    .to_string()
                    .contains("namespace is unknown")
            );
        }
    }

    /// Templates of about this many tokens, each of which adds a level of recursion.
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
            format!(
                "{{% set x=1 %}}{}{{{{ x|tojson(2) }}}}",
                chain("{%set x={1:x}%}", 10)
            ),
        ]
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        for template in chains(15_500) {
            // The process must not crash. Any result is fine.
            assert!(
                !matches!(try_render(&template), Err(PromptError::TooDeep)),
                "{template:.60}"
            );
        }
    }

    #[test]
    fn a_chain_that_needs_too_much_stack_is_refused_with_an_explanation() {
        for template in chains(16_500) {
            assert!(
                matches!(check_template(&template), Err(PromptError::TooDeep)),
                "{template:.60}"
            );
        }
        // One that an earlier version stored is refused where it is rendered.
        let [sums, ..] = chains(16_500);
        assert_eq!(
            render_for(
                &Agent::from_stored(AgentId::random([1; 16]), definition_with(&sums)),
                "{}"
            ),
            "error: the prompt is nested too deeply: split its longest {{ … }} tag, and use fewer {% … %} tags, \
             and fewer brackets and filters beside macros"
        );
    }

    #[test]
    fn values_that_macros_and_loops_nest_repeatedly_do_not_exhaust_the_stack() {
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
            // The engine may return an error, but the process must not crash.
            let rendered = try_render(&template);
            assert!(
                !matches!(rendered, Err(PromptError::TooDeep)),
                "{rendered:?}"
            );
        }
        for template in [by_macro(600), by_loop(200)] {
            assert!(matches!(
                check_template(&template),
                Err(PromptError::TooDeep)
            ));
        }
    }

    #[test]
    fn a_tree_can_be_written_by_a_macro_that_calls_itself() {
        let tree = "{% macro f(node) %}({{ node.name }}{% for child in node.children %}{{ f(child) }}{% endfor %})\
                    {% endmacro %}{{ f(payload) }}";
        let payload =
            r#"{"name":"a","children":[{"name":"b","children":[{"name":"c"}]},{"name":"d"}]}"#;
        assert_eq!(render(tree, payload), "(a(b(c))(d))");
    }

    #[test]
    fn the_size_of_json_is_checked_before_it_is_written() {
        let deep = format!(
            "{}{}1{}",
            "[".repeat(100),
            "1,".repeat(200_000),
            "]".repeat(100)
        );
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
        assert_eq!(
            render("{{ payload | tojson(indent=1) }}", r#"{"a":[1]}"#),
            "{\n \"a\": [\n  1\n ]\n}"
        );
        assert_eq!(
            render("{{ [payload, 'x'] | tojson }}", r#"{"a":[1]}"#),
            r#"[{"a": [1]}, "x"]"#
        );
        assert_eq!(
            render(
                "{{ payload.none | tojson }}{{ payload.a | tojson(true) }}",
                r#"{"a":1}"#
            ),
            "null1"
        );
    }

    #[test]
    fn macros_that_call_themselves_are_stopped() {
        for macros in [
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% macro f(x) %}{{ f([[[[[[[[x]]]]]]]]) }}{% endmacro %}{{ f(1) }}",
        ] {
            assert!(
                render(macros, "{}").contains("recursion limit exceeded"),
                "{}",
                render(macros, "{}")
            );
        }
    }

    #[test]
    fn the_size_of_values_is_checked_before_they_are_created() {
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
            assert!(
                bounds.iter().any(|bound| message.contains(bound)),
                "{template}: {message:.200}"
            );
        }
    }

    #[test]
    fn a_list_that_is_repeated_too_often_is_not_written() {
        let message = render(
            "{{ payload * 60000 }}",
            &format!("[\"{}\"]", "x".repeat(1000)),
        );
        assert_eq!(
            message,
            "error: the rendered prompt is larger than 1048576 bytes"
        );
    }

    #[test]
    fn a_runaway_template_is_stopped() {
        let message = render(
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
            "{}",
        );
        assert!(message.starts_with("error: "), "{message}");
    }
}
