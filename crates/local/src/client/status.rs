//! `status …`

use std::time::Duration;

use serde_json::Value;

use super::{Client, ClientError, text_field};
use crate::cli::StatusArgs;
use crate::{eprint_line, print_line};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Consecutive polls that may fail with a transient error: about 10 s.
const MAX_FAILED_POLLS: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub async fn run(args: StatusArgs) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    if args.wait {
        return wait_for_end(&client, &args.task).await;
    }
    let status = client.status(&args.task).await?;
    print_status(&client, &status)
}

/// Polls until the task has ended, at increasing intervals.
pub(super) async fn wait_for_end(client: &Client, task: &str) -> Result<(), ClientError> {
    let (mut pause, mut failed_polls, mut shown) = (FIRST_PAUSE, 0, String::new());
    loop {
        match client.status(task).await {
            Ok(status) if matches!(text_field(&status, "status"), "SUCCESS" | "FAILURE") => {
                return print_status(client, &status);
            }
            Ok(status) => {
                failed_polls = 0;
                print_change(client, &status, &mut shown);
            }
            // The server may be restarting. The task then continues.
            Err(error) if error.is_transient() && failed_polls < MAX_FAILED_POLLS => {
                failed_polls += 1
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Prints one line on stderr if the status or the attempt differs from the last line.
fn print_change(client: &Client, status: &Value, shown: &mut String) {
    let attempt = status
        .get("attempt")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let line = format!("{}, attempt {attempt}", text_field(status, "status"));
    if !client.json && *shown != line {
        eprint_line(format!("         {line}"));
        *shown = line;
    }
}

fn print_status(client: &Client, status: &Value) -> Result<(), ClientError> {
    let state = text_field(status, "status");
    if client.json {
        print_line(status.to_string());
    } else {
        print_line(format!("status   {state}"));
        if let Some(kind) = status.pointer("/error/type").and_then(Value::as_str) {
            print_line(format!(
                "error    {kind} (attempt {})",
                status.get("attempt").unwrap_or(&Value::Null)
            ));
        }
        let answer = status
            .pointer("/result/result/answer")
            .and_then(Value::as_str);
        let message = status.get("result").and_then(Value::as_str);
        if let Some(text) = answer.or(message) {
            print_line(format!("\n{text}"));
        }
    }
    if state == "FAILURE" {
        Err(ClientError::TaskFailed)
    } else {
        Ok(())
    }
}
