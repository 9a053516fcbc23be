//! A prompt over a payload: the last line is the payload, all before the template.
#![no_main]

use std::time::{Duration, Instant};

use domain::{Payload, check_template};
use fuzz::{NOW, agent_with, last_line, task_id};
use libfuzzer_sys::fuzz_target;

const MOST_RENDERED: usize = 1024 * 1024;
/// What a plain prompt may take in this slow build, whatever it is and its payload is: the
/// work budget. A prompt that is not plain is rendered in a subprocess.
const MOST_TIME: Duration = Duration::from_millis(500);

fuzz_target!(|input: &[u8]| {
    let (template, line) = last_line(input);
    let Ok(template) = std::str::from_utf8(template) else {
        return;
    };
    payload_stays_text(template);
    let payload = Payload::from_json(line).unwrap_or_else(|_| Payload::from_form(line));
    let _ = check_template(template);
    let agent = agent_with(template);
    let prompt = agent.prompt(&payload, task_id(), NOW);
    // The engine repeats a list up to 100 million times, and `~` writes it out
    // before it takes fuel for it.
    if template.contains('*') && !prompt.is_plain() {
        return;
    }
    let began = Instant::now();
    if let Ok(text) = prompt.render() {
        assert!(text.len() <= MOST_RENDERED);
    }
    assert!(
        !prompt.is_plain() || began.elapsed() < MOST_TIME,
        "{:?}",
        began.elapsed()
    );
});

/// Whatever is code in a template is text in a payload.
fn payload_stays_text(text: &str) {
    let json = serde_json::Value::from(text).to_string();
    let payload = Payload::from_json(json.as_bytes()).unwrap();
    let rendered = agent_with("{{ payload }}")
        .prompt(&payload, task_id(), NOW)
        .render();
    assert_eq!(
        rendered.ok().as_deref(),
        (text.len() <= MOST_RENDERED).then_some(text)
    );
}
