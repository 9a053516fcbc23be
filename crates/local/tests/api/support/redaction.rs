//! Every line the product logs in a test run, and every secret it is handed, each
//! in a file of `target/redaction`. `./test redaction` makes sure that no secret
//! is in any line (`infra/check_redaction.py`).

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

/// From here on every event of this process is kept: as much as the product
/// logs, and from our own crates all they could ever log.
pub(crate) fn keep_log() {
    static KEPT: OnceLock<()> = OnceLock::new();
    KEPT.get_or_init(|| {
        let levels = logs::levels().with_targets(OUR_CRATES.map(|name| (name, LevelFilter::TRACE)));
        let lines =
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Mutex::new(log()));
        tracing_subscriber::registry().with(lines.with_filter(levels)).init();
    });
}

/// The log of this process so far.
pub(crate) fn kept_log() -> String {
    fs::read_to_string(folder().join(log_name())).unwrap()
}

/// Where a spawned server's log is kept.
pub(crate) fn spawned_log() -> Stdio {
    append(&format!("spawned-{}.log", std::process::id())).into()
}

/// `value` must be in no line of any log.
pub(crate) fn secret(kind: &str, value: &str) {
    static SECRETS: OnceLock<Mutex<File>> = OnceLock::new();
    let file =
        SECRETS.get_or_init(|| Mutex::new(append(&format!("in-process-{}.secrets", std::process::id()))));
    let line = json!({ "kind": kind, "value": value });
    writeln!(file.lock().unwrap(), "{line}").unwrap();
}

/// What a caller sends: of a long text its ends, which is enough to find it.
pub(crate) fn payload(sent: &[u8]) {
    const ENOUGH: usize = 300;
    let text: Vec<char> = String::from_utf8_lossy(sent).chars().collect();
    let ends = [text.get(..ENOUGH), text.get(text.len().saturating_sub(ENOUGH)..)];
    for part in if text.len() > ENOUGH { ends } else { [Some(text.as_slice()), None] }.into_iter().flatten() {
        secret("payload", &part.iter().collect::<String>());
    }
}

/// The token of a webhook URL.
pub(crate) fn webhook(url: &str) {
    secret("webhook token", url.rsplit('/').next().unwrap_or_default());
}

/// What a tool's server is asked: all of it but what the agent's definition says.
pub(crate) fn tool_call(path: &str, body: &[u8]) {
    secret("tool call", path.split('?').next().unwrap_or_default());
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match json.get("jsonrpc") {
        // The protocol's own words are no secrets.
        Some(_) => {
            payload(json.pointer("/params/arguments").map(Value::to_string).unwrap_or_default().as_bytes())
        }
        None => payload(body),
    }
}

/// What an agent's definition holds that no log may.
pub(crate) fn definition(definition: &Value) {
    let fields = [("webhook token", "/webhook_token"), ("API key", "/model/api_key"), ("prompt", "/prompt")];
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
    OpenOptions::new().create(true).append(true).open(folder().join(name)).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("redaction")
}
