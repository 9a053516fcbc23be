//! The first minute: an agent to try, and a command that works when pasted.

use std::time::Duration;

use api::audit::Actor;
use domain::{AgentDraft, Source};
use store::error_chain;

use super::{AdminToken, ServeError, Server};
use crate::say;

const NAME: &str = "demo";
const QUESTION: &str = r#"{"question":"How long is an Idempotency-Key remembered?"}"#;
/// The demo agent answers from the product's own documentation.
const SOURCES: [(&str, &str); 2] = [
    ("README", include_str!("../../../../README.md")),
    ("Architecture", include_str!("../../../../ARCHITECTURE.md")),
];

/// Makes the demo agent at the very first start, and says what to do next.
pub(super) async fn introduce(server: &Server, resumed: usize, took: Duration) -> Result<(), ServeError> {
    let management = &server.management;
    let agents = match server.is_new {
        true => vec![management.create(demo_agent(), &Actor::server()).await?],
        // An agent that cannot be read is no reason not to serve the others.
        false => management.agents.list().await.unwrap_or_else(|error| {
            tracing::error!(error = error_chain(&error), "agents not listed");
            Vec::new()
        }),
    };
    if resumed > 0 {
        say(format!("tasks resumed that had not ended: {resumed}"));
    }
    let demo = agents.iter().find(|record| record.agent.draft().name == NAME);
    let url = match demo {
        Some(record) => Some(management.webhook_url(record).await?),
        None => None,
    };
    if let Some(url) = url {
        say(format!("\nTry the agent `{NAME}`, which answers from this product's documentation:\n"));
        say(format!("  curl -s -H 'Content-Type: application/json' -d '{QUESTION}' {url}"));
        say(format!("  curl -s '{}/api/task_status?task_id=TASK_ID'\n", server.url));
    }
    say(format!("Manage agents and look at their tasks in the console: {}/console/", server.url));
    say(match &server.admin_token {
        AdminToken::Made { secret, file } => {
            format!(
                "It asks for the admin token (shown once, kept in {}): {}\n",
                file.display(),
                secret.value
            )
        }
        AdminToken::Kept { file } => format!("It asks for the admin token, which is in {}\n", file.display()),
        AdminToken::Given => "It asks for the admin token, AGENT_WEBHOOKS_ADMIN_TOKEN\n".to_owned(),
    });
    tracing::info!(start_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "ready");
    Ok(())
}

/// A document without its fenced blocks, which answer no question.
fn prose(document: &str) -> String {
    let blocks = document.split("\n```").enumerate();
    let outside = blocks.filter(|(index, _)| index % 2 == 0);
    let texts = outside.map(|(index, text)| match index {
        0 => text,
        // What follows the closing fence on its line.
        _ => text.split_once('\n').map_or("", |(_, rest)| rest),
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn demo_agent() -> AgentDraft {
    let sources = SOURCES.map(|(title, text)| Source { title: title.into(), text: prose(text) });
    AgentDraft::named(NAME, sources.into())
}
