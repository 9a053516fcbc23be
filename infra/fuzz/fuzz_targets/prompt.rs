//! A prompt over a payload: the last line is the payload, all before the template.
#![no_main]

use domain::{Payload, check_template, render_prompt};
use fuzz::{NOW, agent_with, last_line, task_id};
use libfuzzer_sys::fuzz_target;

const MOST_RENDERED: usize = 1024 * 1024;

fuzz_target!(|input: &[u8]| {
    let (template, line) = last_line(input);
    let Ok(template) = std::str::from_utf8(template) else { return };
    payload_stays_text(template);
    // The engine repeats a list up to 100 million times, and `~` writes it out
    // before it takes fuel for it.
    if template.contains('*') {
        return;
    }
    let payload = Payload::from_json(line).unwrap_or_else(|_| Payload::from_form(line));
    let _ = check_template(template);
    if let Ok(text) = render_prompt(&agent_with(template), &payload, task_id(), NOW) {
        assert!(text.len() <= MOST_RENDERED);
    }
});

/// Whatever is code in a template is text in a payload.
fn payload_stays_text(text: &str) {
    let json = serde_json::Value::from(text).to_string();
    let payload = Payload::from_json(json.as_bytes()).unwrap();
    let rendered = render_prompt(&agent_with("{{ payload }}"), &payload, task_id(), NOW);
    assert_eq!(rendered.ok().as_deref(), (text.len() <= MOST_RENDERED).then_some(text));
}
