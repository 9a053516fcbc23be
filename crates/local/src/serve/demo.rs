//! The demo agent, and the text that the server prints after its start.

use std::time::Duration;

use api::audit::Actor;
use domain::{Definition, NewAgent, Source};
use store::error_chain;

use super::admin_token::AdminToken;
use super::{ServeError, Server};
use crate::print_line;

const NAME: &str = "demo";
const QUESTION: &str = r#"{"question":"How long is an Idempotency-Key remembered?"}"#;
/// The demo agent answers questions from these documents.
const SOURCES: [(&str, &str); 2] = [
    ("Questions", include_str!("../../../../docs/faq.md")),
    (
        "Quick start",
        include_str!("../../../../docs/quickstart.md"),
    ),
];

/// Creates the demo agent at the very first start, and prints what to do next.
pub(super) async fn introduce(
    server: &Server,
    resumed: usize,
    start_time: Duration,
) -> Result<(), ServeError> {
    let management = &server.management;
    let agents = match server.is_new {
        true => vec![management.create(demo_agent(), &Actor::server()).await?],
        // If an agent cannot be read, the others are served anyway.
        false => management.agents.list().await.unwrap_or_else(|error| {
            tracing::error!(
                error = error_chain(&error),
                "failed to list agents; the demo agent's URL is not shown"
            );
            Vec::new()
        }),
    };
    if resumed > 0 {
        print_line(format!("resumed tasks that had not ended: {resumed}"));
    }
    let demo = agents
        .iter()
        .find(|record| record.agent.definition().name == NAME);
    let url = match demo {
        Some(record) => Some(management.webhook_url(record).await?),
        None => None,
    };
    if let Some(url) = url {
        print_line(format!(
            "\nTry the agent `{NAME}`, which answers from this product's documentation:\n"
        ));
        print_line(format!(
            "  curl -s -H 'Content-Type: application/json' -d '{QUESTION}' {url}"
        ));
        print_line(format!(
            "  curl -s '{}/api/task_status?task_id=TASK_ID'\n",
            server.url
        ));
    }
    print_line(format!(
        "Manage agents and view their tasks in the console: {}/console/",
        server.url
    ));
    print_line(describe_admin_token(&server.admin_token));
    tracing::info!(
        start_ms = u64::try_from(start_time.as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    Ok(())
}

fn describe_admin_token(token: &AdminToken) -> String {
    match token {
        AdminToken::Created { secret, file } => format!(
            "It asks for the admin token (shown once, stored in {}): {}\n",
            file.display(),
            secret.value
        ),
        AdminToken::Stored { file } => {
            format!(
                "It asks for the admin token, which is in {}\n",
                file.display()
            )
        }
        AdminToken::FromEnv => {
            "It asks for the admin token, AGENT_WEBHOOKS_ADMIN_TOKEN\n".to_owned()
        }
    }
}

/// Returns the document without its code blocks, which answer no questions.
fn strip_code_blocks(document: &str) -> String {
    let blocks = document.split("\n```").enumerate();
    let outside = blocks.filter(|(index, _)| index % 2 == 0);
    let texts = outside.map(|(index, text)| match index {
        0 => text,
        // Drops the rest of the closing fence's line.
        _ => text.split_once('\n').map_or("", |(_, rest)| rest),
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn demo_agent() -> NewAgent {
    let sources = SOURCES.map(|(title, text)| Source {
        title: title.into(),
        text: strip_code_blocks(text),
    });
    NewAgent {
        definition: Definition::named(NAME, sources.into()),
        webhook_token: None,
    }
}
