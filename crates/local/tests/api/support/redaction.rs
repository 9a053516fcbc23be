//! Writes every line that the product logs in a test run, and every secret that it gets,
//! to files in `target/redaction`. `./test redaction` checks that no line contains a
//! secret (`tests/check_redaction.py`).

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const OUR_CRATES: [&str; 6] = ["api", "domain", "local", "logs", "runner", "store"];

/// Writes all log events of this process to a file from here on: those that the product
/// logs, and those of all levels from our own crates.
pub(crate) fn record_log() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let levels = logs::levels().with_targets(OUR_CRATES.map(|name| (name, LevelFilter::TRACE)));
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(Mutex::new(log()));
        tracing_subscriber::registry()
            .with(lines.with_filter(levels))
            .init();
    });
}

/// The log of this process so far.
pub(crate) fn logged_text() -> String {
    fs::read_to_string(folder().join(log_name())).unwrap()
}

/// The file for a spawned server's log.
pub(crate) fn spawned_log() -> Stdio {
    append(&format!("spawned-{}.log", std::process::id())).into()
}

/// Records that no line of any log may contain `value`.
pub(crate) fn secret(kind: &str, value: &str) {
    static SECRETS: OnceLock<Mutex<File>> = OnceLock::new();
    let file = SECRETS.get_or_init(|| {
        Mutex::new(append(&format!(
            "in-process-{}.secrets",
            std::process::id()
        )))
    });
    let line = json!({ "kind": kind, "value": value });
    writeln!(file.lock().unwrap(), "{line}").unwrap();
}

/// Records what a caller sends. Of a long text, the beginning and the end are enough to find it.
pub(crate) fn payload(sent: &[u8]) {
    const ENOUGH: usize = 300;
    let text: Vec<char> = String::from_utf8_lossy(sent).chars().collect();
    let ends = [
        text.get(..ENOUGH),
        text.get(text.len().saturating_sub(ENOUGH)..),
    ];
    for part in if text.len() > ENOUGH {
        ends
    } else {
        [Some(text.as_slice()), None]
    }
    .into_iter()
    .flatten()
    {
        secret("payload", &part.iter().collect::<String>());
    }
}

/// The token of a webhook URL.
pub(crate) fn webhook(url: &str) {
    secret("webhook token", url.rsplit('/').next().unwrap_or_default());
}

/// Records the path and the arguments of a tool call.
pub(crate) fn tool_call(path: &str, body: &[u8]) {
    secret("tool call", path.split('?').next().unwrap_or_default());
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match json.get("jsonrpc") {
        // The texts of the protocol itself are not secret.
        Some(_) => payload(
            json.pointer("/params/arguments")
                .map(Value::to_string)
                .unwrap_or_default()
                .as_bytes(),
        ),
        None => payload(body),
    }
}

/// Records the parts of an agent's definition that no log may contain.
pub(crate) fn definition(definition: &Value) {
    let fields = [
        ("webhook token", "/webhook_token"),
        ("API key", "/model/api_key"),
        ("prompt", "/prompt"),
    ];
    for (kind, field) in fields {
        if let Some(value) = definition.pointer(field).and_then(Value::as_str) {
            secret(kind, value);
        }
    }
}

fn log() -> File {
    append(&log_name())
}

fn log_name() -> String {
    format!("in-process-{}.log", std::process::id())
}

fn append(name: &str) -> File {
    fs::create_dir_all(folder()).unwrap();
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder().join(name))
        .unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("redaction")
}
