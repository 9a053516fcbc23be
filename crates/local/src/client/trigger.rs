//! `trigger …`

use super::{Client, ClientError, argument, status, text};
use crate::cli::TriggerArgs;
use crate::{fail, say};

/// Triggers an agent, and perhaps waits for the task's end.
pub async fn run(args: TriggerArgs) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let payload = argument(&args.data)?;
    let url = webhook_url(&client, &args.agent).await?;
    let client = client.at_webhook(&url);
    let (accepted, replayed) = client.trigger(&url, payload, args.key.as_deref()).await?;
    let task = text(&accepted, "task_id");
    if replayed && !client.json {
        fail("this key named this task before: nothing new was triggered");
    }
    if args.wait {
        if !client.json {
            say(format!("task     {task}"));
        }
        return status::wait(&client, task).await;
    }
    match client.json {
        true => say(accepted.to_string()),
        false => say(task),
    }
    Ok(())
}

async fn webhook_url(client: &Client, agent: &str) -> Result<String, ClientError> {
    if agent.starts_with("http://") || agent.starts_with("https://") {
        return Ok(agent.to_owned());
    }
    let found = client.find(agent).await?;
    Ok(text(&found, "webhook_url").to_owned())
}
