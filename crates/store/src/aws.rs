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
        })
    }
}

/// Every client of one process shares this.
#[derive(Clone, Debug)]
pub struct Aws(SdkConfig);

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
        Self(match settings.endpoint_url {
            Some(url) => config.endpoint_url(url).build(),
            None => config.build(),
        })
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
        Self(config.build())
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.0)
    }

    /// One whose calls take the time they take.
    pub(crate) fn patient_dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let patience =
            TimeoutConfig::builder().disable_operation_attempt_timeout().disable_operation_timeout().build();
        let config = aws_sdk_dynamodb::config::Builder::from(&self.0).timeout_config(patience);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.0)
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.0)
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
