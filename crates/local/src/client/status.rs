//! `status …`

use std::time::Duration;

use serde_json::Value;

use super::{Client, ClientError, text};
use crate::cli::StatusArgs;
use crate::{fail, say};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Polls in a row that may find no server, some 10 seconds.
const MOST_UNREACHABLE: u32 = 10;
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
    let (mut pause, mut unreachable, mut seen) = (FIRST_PAUSE, 0, String::new());
    loop {
        match client.status(task).await {
            Ok(status) if matches!(text(&status, "status"), "SUCCESS" | "FAILURE") => {
                return report(client, &status);
            }
            Ok(status) => {
                unreachable = 0;
                tell_change(client, &status, &mut seen);
            }
            // The server may be starting again; the task goes on then.
            Err(error) if error.is_transient() && unreachable < MOST_UNREACHABLE => unreachable += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One line on stderr when the task stands differently than at the last look.
fn tell_change(client: &Client, status: &Value, seen: &mut String) {
    let attempt = status.get("attempt").and_then(Value::as_u64).unwrap_or_default();
    let stands = format!("{}, attempt {attempt}", text(status, "status"));
    if !client.json && *seen != stands {
        fail(format!("         {stands}"));
        *seen = stands;
    }
}

fn report(client: &Client, status: &Value) -> Result<(), ClientError> {
    let state = text(status, "status");
    if client.json {
        say(status.to_string());
    } else {
        say(format!("status   {state}"));
        if let Some(kind) = status.pointer("/error/type").and_then(Value::as_str) {
            say(format!("error    {kind} (attempt {})", status.get("attempt").unwrap_or(&Value::Null)));
        }
        let answer = status.pointer("/result/result/answer").and_then(Value::as_str);
        let sentence = status.get("result").and_then(Value::as_str);
        if let Some(words) = answer.or(sentence) {
            say(format!("\n{words}"));
        }
    }
    if state == "FAILURE" { Err(ClientError::TaskFailed) } else { Ok(()) }
}
