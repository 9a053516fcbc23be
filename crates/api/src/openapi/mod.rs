//! The OpenAPI 3.1 document, generated from the types of the code.
//!
//! A handler's attribute describes its parameters and its successful response. [`refusals`]
//! adds the errors, with examples made from the same types as the responses. [`shapes`]
//! corrects schemas that a derive cannot express, and [`generators`] helps generators of clients. The product runs none of this: it serves
//! the committed `openapi.json`, and a test compares the two.

mod generators;
pub(crate) mod parameters;
mod refusals;
pub(crate) mod shapes;
pub(crate) mod webhook;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::problem::ProblemBody;
use crate::{admin, agents, audit_list, task_status, tasks, trials};
use generators::Generators;
use refusals::Refusals;
use shapes::Shapes;

#[derive(OpenApi)]
#[openapi(
    info(title = "Agent Webhooks", description = include_str!("about.md"), license(name = "Apache-2.0", identifier = "Apache-2.0")),
    servers((url = "/", description = "This deployment.")),
    tags(
        (name = "Webhooks", description = "Trigger an agent and poll its task. The webhook URL or the task id is the only credential."),
        (name = "Agents", description = "Agents and their webhook URLs."),
        (name = "Tests", description = "Call a model or a tool once, before an agent uses it."),
        (name = "Tasks", description = "Tasks, their payloads and results, and statistics."),
        (name = "Documents", description = "Documents that agents search."),
        (name = "Secrets", description = "Named credentials that agents use."),
        (name = "Console sessions", description = "Sign in to the console, and out."),
        (name = "Audit log", description = "Changes and refused attempts."),
        (name = "Service", description = "Health of the service."),
    ),
    security(("admin_token" = []), ("session" = [])),
    components(schemas(ProblemBody<'static>, webhook::FormPayload, webhook::FormValue)),
    modifiers(&Schemes, &Shapes, &Refusals, &Generators),
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
        trials::model::test,
        trials::inspect::inspect,
        trials::call::call,
        agents::sources::list,
        agents::sources::upload::upload,
        agents::sources::delete,
        tasks::list::list,
        tasks::show::show,
        tasks::stats::show,
        agents::secrets::list,
        agents::secrets::store_secret,
        agents::secrets::delete_secret,
        admin::session::show,
        admin::session::sign_in,
        admin::session::sign_out,
        audit_list::list,
        task_status::health,
    )
)]
struct ApiDocument;

/// The OpenAPI document, as pretty-printed JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let json = serde_json::to_value(ApiDocument::openapi())?;
    Ok(serde_json::to_string_pretty(&json)? + "\n")
}

/// Adds the security schemes.
struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The admin token."));
        let cookie = ApiKeyValue::with_description(
            "__Host-agent_webhooks",
            "The console session from `POST /api/session`. Without TLS the name of the cookie is \
             `agent_webhooks_` and the port. A change also needs the header `X-Console: 1`. \
             If the browser sends `Sec-Fetch-Site`, it must be `same-origin` or `none`.",
        );
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("admin_token", SecurityScheme::Http(bearer.build()));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");

    #[test]
    fn the_committed_openapi_document_matches_the_types() {
        compare("openapi.json", &document().unwrap());
    }

    #[test]
    fn the_consoles_table_of_providers_matches_that_of_the_domain() {
        let table = domain::Provider::ALL.map(domain::Provider::info);
        let table = serde_json::to_string_pretty(&table).unwrap() + "\n";
        compare("web/src/definition/providers.json", &table);
    }

    fn compare(file: &str, generated: &str) {
        let path = format!("{ROOT}{file}");
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(&path, generated).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == generated,
            "{file} is out of date: UPDATE_OPENAPI=1 cargo test --workspace --lib openapi"
        );
    }
}
