//! Lambda 4: manages agents and their webhook URLs.

use std::sync::Arc;

use api::agents::{self, Management};
use store::aws::{Aws, AwsSettings};
use store::env::Env;
use store::{Agents, Clock, Secrets, read_secret};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    logs::to_lambda(None);
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let admin_token = read_secret(&aws, &env.required("AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET")?).await?;
    let signing_secret = read_secret(&aws, &env.required("AGENT_WEBHOOKS_SIGNING_SECRET")?).await?;
    let management = Management {
        agents: Arc::new(Agents::from_env(&aws, &env)?),
        secrets: Arc::new(Secrets::secrets_manager(&aws, env.required("AGENT_WEBHOOKS_SECRETS_PREFIX")?)),
        clock: Clock::system(),
        admin_token: admin_token.into(),
        signing_secret: signing_secret.into(),
        public_url: env.required("AGENT_WEBHOOKS_PUBLIC_URL")?.trim_end_matches('/').into(),
    };
    lambda_http::run(api::app(agents::router(management))).await
}
