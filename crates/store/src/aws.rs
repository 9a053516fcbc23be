//! The AWS clients, built by hand from what the Lambda runtime puts in the
//! environment: resolving credentials and region the general way costs a cold
//! start about a millisecond and finds the same values.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::Builder;

use crate::env::{Env, EnvError};

/// One try of one call. DynamoDB and SQS answer in a few milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// All tries of one call together: well under API Gateway's 30 s.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);
const MAX_ATTEMPTS: u32 = 3;

/// What the Lambda runtime tells a function about its AWS account
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
#[derive(Clone)]
pub struct AwsSettings {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: String,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<String>,
    /// `AWS_ENDPOINT_URL`: an emulator's address; AWS itself if unset.
    pub endpoint_url: Option<String>,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, before the one for all.
    pub dynamodb_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`, likewise.
    pub sqs_url: Option<String>,
}

impl AwsSettings {
    /// What the Lambda runtime has set.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        Ok(Self {
            region: env.required("AWS_REGION")?,
            access_key_id: env.required("AWS_ACCESS_KEY_ID")?,
            secret_access_key: env.required("AWS_SECRET_ACCESS_KEY")?,
            session_token: env.optional("AWS_SESSION_TOKEN"),
            endpoint_url: env.optional("AWS_ENDPOINT_URL"),
            dynamodb_url: env.optional("AWS_ENDPOINT_URL_DYNAMODB"),
            sqs_url: env.optional("AWS_ENDPOINT_URL_SQS"),
        })
    }
}

/// Every client of one process shares this.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    dynamodb_url: Option<String>,
    sqs_url: Option<String>,
}

impl Aws {
    /// Clients that speak HTTPS to AWS, or to the emulator at `endpoint_url`.
    pub fn new(settings: AwsSettings) -> Self {
        let https = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = base(https).region(Region::new(settings.region)).credentials_provider(
            SharedCredentialsProvider::new(Credentials::new(
                settings.access_key_id,
                settings.secret_access_key,
                settings.session_token,
                None,
                "lambda environment",
            )),
        );
        let config = match settings.endpoint_url {
            Some(url) => config.endpoint_url(url).build(),
            None => config.build(),
        };
        Self { config, dynamodb_url: settings.dynamodb_url, sqs_url: settings.sqs_url }
    }

    /// Clients whose requests `engine` answers in this process. No answer of its
    /// is ever lost on the way, so one try has all the time there is: a second
    /// one would only wait behind the first.
    pub fn embedded(engine: impl HttpClient + 'static) -> Self {
        let config = base(engine)
            .timeout_config(TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build())
            .region(Region::from_static("local"))
            .endpoint_url("http://embedded.invalid")
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "local",
                "local",
                None,
                None,
                "embedded engine",
            )));
        Self { config: config.build(), dynamodb_url: None, sqs_url: None }
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        config.set_endpoint_url(self.dynamodb_url.clone().or(self.config.endpoint_url().map(str::to_owned)));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::config::Builder::from(&self.config);
        config.set_endpoint_url(self.sqs_url.clone().or(self.config.endpoint_url().map(str::to_owned)));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }
}

fn base(http: impl HttpClient + 'static) -> Builder {
    SdkConfig::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
}
