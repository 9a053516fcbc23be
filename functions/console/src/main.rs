//! Function 4: the console, the management API and the API's documentation.

mod caller;
mod trials;

use std::process::ExitCode;
use std::sync::Arc;

use api::admin::Admins;
use api::{DocumentImporter, Management};
use axum::middleware::map_request;
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use store::{Agents, Clock, Documents, Secrets, Tasks, read_secret};
use subprocess::Subprocesses;

use caller::with_caller;
use trials::AgentFunction;

fn main() -> Result<ExitCode, lambda_http::Error> {
    match subprocess::run_requested_job() {
        Some(code) => Ok(code),
        None => serve().map(|()| ExitCode::SUCCESS),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let admin = env.required("AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET")?;
    let signing = env.required("AGENT_WEBHOOKS_SIGNING_SECRET")?;
    let (admin_token, signing_secret) =
        tokio::try_join!(read_secret(&aws, &admin), read_secret(&aws, &signing))?;
    domain::check_admin_token(&admin_token)?;
    let public_url = env.required("AGENT_WEBHOOKS_PUBLIC_URL")?;
    let public_url = public_url.trim_end_matches('/');
    let secrets_prefix = env.required("AGENT_WEBHOOKS_SECRETS_PREFIX")?;
    let management = Management {
        agents: Arc::new(Agents::from_env(&aws, &env)?),
        tasks: Tasks::new(&aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        secrets: Arc::new(Secrets::secrets_manager(&aws, secrets_prefix)),
        document_importer: DocumentImporter::new(Documents::from_env(&aws, &env)?),
        subprocesses: Subprocesses::new(subprocess::this_program(), 1),
        trials: Arc::new(AgentFunction::from_env(&env)?),
        clock: Clock::system(),
        admins: Admins::new(admin_token, public_url, Clock::system()),
        signing_secret: signing_secret.into(),
        public_url: public_url.into(),
    };
    let routes = api::app(api::management_routes(management).merge(pages::router()))
        .layer(map_request(async |request| with_caller(request)));
    gateway::serve(routes).await
}
