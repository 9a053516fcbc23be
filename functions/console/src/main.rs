//! Lambda 4: manages agents and their webhook URLs.

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use api::admin::{Admins, Caller};
use api::agents::{self, Intake, Management};
use axum::middleware::map_request;
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use store::{Agents, Clock, Documents, Secrets, Tasks, read_secret};

fn main() -> Result<ExitCode, lambda_http::Error> {
    if env::args().nth(1).as_deref() == Some(agents::READ_PDF) {
        return Ok(agents::read_pdf_for_parent());
    }
    serve().map(|()| ExitCode::SUCCESS)
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), lambda_http::Error> {
    logs::to_lambda();
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let (admin_token, signing_secret) =
        (env.required("AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET")?, env.required("AGENT_WEBHOOKS_SIGNING_SECRET")?);
    let (admin_token, signing_secret) =
        tokio::try_join!(read_secret(&aws, &admin_token), read_secret(&aws, &signing_secret))?;
    let public_url = env.required("AGENT_WEBHOOKS_PUBLIC_URL")?;
    let public_url = public_url.trim_end_matches('/');
    let management = Management {
        agents: Arc::new(Agents::from_env(&aws, &env)?),
        tasks: Tasks::new(&aws, env.required("AGENT_WEBHOOKS_TASKS_TABLE")?),
        secrets: Arc::new(Secrets::secrets_manager(&aws, env.required("AGENT_WEBHOOKS_SECRETS_PREFIX")?)),
        intake: Intake::new(Documents::from_env(&aws, &env)?, env::current_exe()?),
        clock: Clock::system(),
        admins: Admins::new(admin_token, public_url, Clock::system()),
        signing_secret: signing_secret.into(),
        public_url: public_url.into(),
    };
    let routes = api::app(agents::router(management).merge(pages::router()))
        .layer(map_request(async |request| with_caller(request)));
    gateway::serve(routes).await
}

/// API Gateway says who called it.
fn with_caller(mut request: axum::extract::Request) -> axum::extract::Request {
    let address = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.as_deref(),
        _ => None,
    };
    if let Some(address) = address.and_then(|address| address.parse().ok()) {
        request.extensions_mut().insert(Caller(address));
    }
    request
}
