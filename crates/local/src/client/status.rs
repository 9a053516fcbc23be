//! `status …`

use std::time::Duration;

use serde_json::Value;

use super::{Client, ClientError, text};
use crate::cli::StatusArgs;
use crate::say;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Shows how a task stands, or waits for its end.
pub async fn run(args: StatusArgs) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    if args.wait {
        return wait(&client, &args.task).await;
    }
    let status = client.status(&args.task).await?;
    report(&client, &status)
}

/// Polls until the task has ended, ever more slowly.
pub(super) async fn wait(client: &Client, task: &str) -> Result<(), ClientError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let status = client.status(task).await?;
        if matches!(text(&status, "status"), "SUCCESS" | "FAILURE") {
            return report(client, &status);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn report(client: &Client, status: &Value) -> Result<(), ClientError> {
    let state = text(status, "status");
    if client.json {
        say(status.to_string());
    } else {
        say(format!("status   {state}"));
        if let Some(kind) = status.pointer("/error/type").and_then(Value::as_str) {
            say(format!("error    {kind}, after {} attempts", status.get("attempt").unwrap_or(&Value::Null)));
        }
        let answer = status.pointer("/result/result/answer").and_then(Value::as_str);
        let sentence = status.get("result").and_then(Value::as_str);
        if let Some(words) = answer.or(sentence) {
            say(format!("\n{words}"));
        }
    }
    if state == "FAILURE" { Err(ClientError::TaskFailed) } else { Ok(()) }
}
