//! `trigger …`

use super::argument::read_argument;
use super::{Client, ClientError, status, text_field};
use crate::cli::TriggerArgs;
use crate::{eprint_line, print_line};

pub async fn run(args: TriggerArgs) -> Result<(), ClientError> {
    let client = Client::new(&args.deployment)?;
    let payload = read_argument(&args.data)?;
    let url = webhook_url(&client, &args.agent).await?;
    let client = client.at_webhook(&url);
    let (accepted, replayed) = client.trigger(&url, payload, args.key.as_deref()).await?;
    let task = text_field(&accepted, "task_id");
    if replayed && !client.json {
        eprint_line("a task with this idempotency key exists already; no new task was created");
    }
    if args.wait {
        if !client.json {
            print_line(format!("task     {task}"));
        }
        return status::wait_for_end(&client, task).await;
    }
    match client.json {
        true => print_line(accepted.to_string()),
        false => print_line(task),
    }
    Ok(())
}

async fn webhook_url(client: &Client, agent: &str) -> Result<String, ClientError> {
    if agent.starts_with("http://") || agent.starts_with("https://") {
        return Ok(agent.to_owned());
    }
    let found = client.find_agent(agent).await?;
    Ok(text_field(&found, "webhook_url").to_owned())
}
