//! The API described for programs: OpenAPI 3.1, made of the code's own types.
//!
//! A handler's attribute says what it takes and what it answers when all is well;
//! [`refusals`] adds what it refuses, with examples out of the real door for errors;
//! [`shapes`] mends the few types that a derive cannot tell. The product never runs
//! any of this: it serves the committed `openapi.json`, which a test compares.

pub(crate) mod parameters;
mod refusals;
pub(crate) mod shapes;
pub(crate) mod webhook;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::problem::ProblemBody;
use crate::{admin, agents, audit, task_status, tasks};
use refusals::Refusals;
use shapes::Shapes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Agent Webhooks", description = include_str!("openapi/about.md"), license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This deployment.")),
    tags(
        (name = "Webhooks", description = "Trigger an agent, and learn what came of it. Whoever has the URL or the id may."),
        (name = "Agents", description = "What answers, and where it is called."),
        (name = "Tasks", description = "What agents were triggered with, and what came of it."),
        (name = "Documents", description = "What agents answer from."),
        (name = "Secrets", description = "What agents authenticate with, by name."),
        (name = "Console sessions", description = "How the console's pages may manage."),
        (name = "Audit log", description = "Who changed what, and what was refused."),
        (name = "Service", description = "The service itself."),
    ),
    security(("admin_token" = []), ("session" = [])),
    components(schemas(ProblemBody<'static>)),
    modifiers(&Schemes, &Shapes, &Refusals),
    paths(
        webhook::trigger_agent,
        webhook::trigger_agent_by_url,
        task_status::task_status,
        agents::read::list,
        agents::create::create,
        agents::read::show,
        agents::change::update,
        agents::change::delete,
        agents::read::webhook_url,
        agents::change::rotate,
        agents::preview::show,
        agents::sources::list,
        agents::sources::upload::upload,
        agents::sources::delete,
        tasks::list::list,
        tasks::show::show,
        tasks::stats::show,
        agents::secrets::list,
        agents::secrets::keep,
        agents::secrets::forget,
        admin::session::show,
        admin::session::sign_in,
        admin::session::sign_out,
        audit::list,
        task_status::health,
    )
)]
struct Document;

/// The document, as pretty-printed JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let json = serde_json::to_value(Document::openapi())?;
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

/// The two ways to be an admin.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("The admin token."));
        let cookie = ApiKeyValue::with_description(
            "__Host-agent_webhooks",
            "The console's session, which `POST /api/session` begins; over plain http the cookie is called \
             `agent_webhooks_` and the port. A change also needs the header `X-Console: 1`, \
             and a `Sec-Fetch-Site` of `same-origin` or `none` if the browser sends one.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("admin_token", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi.json");

    #[test]
    fn the_committed_openapi_document_is_the_one_that_the_types_make() {
        let document = document().unwrap();
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, &document).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
        assert!(
            committed == document,
            "openapi.json is out of date: UPDATE_OPENAPI=1 cargo test --workspace --lib openapi"
        );
    }
}
