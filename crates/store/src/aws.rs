//! The AWS clients, configured from the environment variables of the Lambda runtime. The
//! SDK's default chain finds the same values, but adds about a millisecond to a cold start.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::endpoint::EndpointFuture;
use aws_smithy_runtime_api::client::http::HttpClient;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::Builder;
use sdk_http::AwsHttpClient;

use crate::env::{Env, EnvError};

/// For one attempt. DynamoDB and SQS respond in a few milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// For all attempts together: well below API Gateway's 30 s.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);
const MAX_ATTEMPTS: u32 = 3;

/// The environment variables of the Lambda runtime
/// (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>).
#[derive(Clone)]
pub struct AwsSettings {
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// `AWS_ENDPOINT_URL`: the address of an emulator. Unset means AWS.
    pub endpoint_url: Option<String>,
    /// `AWS_ENDPOINT_URL_DYNAMODB`, which takes precedence over `AWS_ENDPOINT_URL`.
    pub dynamodb_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`, which takes precedence over `AWS_ENDPOINT_URL`.
    pub sqs_url: Option<String>,
}

impl AwsSettings {
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

/// The configuration that all clients of the process share.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    http: AwsHttpClient,
    /// `None` for the embedded engine.
    dynamodb_at: Option<FixedEndpoint>,
    sqs_at: Option<FixedEndpoint>,
    /// Created once for all tables, because creating a client takes hundreds of allocations.
    dynamodb: Arc<OnceLock<aws_sdk_dynamodb::Client>>,
}

impl Aws {
    /// Connects to AWS over HTTPS, or to the emulator at `endpoint_url`.
    pub fn new(settings: AwsSettings) -> Self {
        let http = AwsHttpClient::default();
        let at = |service, own: Option<String>| {
            let url = own.or_else(|| settings.endpoint_url.clone());
            FixedEndpoint::new(url.unwrap_or_else(|| service_url(service, &settings.region)))
        };
        let dynamodb_at = Some(at("dynamodb", settings.dynamodb_url));
        let sqs_at = Some(at("sqs", settings.sqs_url));
        let mut config = base(http.clone())
            .region(Region::new(settings.region))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                settings.access_key_id,
                settings.secret_access_key,
                settings.session_token,
                None,
                "lambda environment",
            )));
        config.set_endpoint_url(settings.endpoint_url);
        Self {
            config: config.build(),
            http,
            dynamodb_at,
            sqs_at,
            dynamodb: Arc::default(),
        }
    }

    /// Sends all requests to `engine` in this process. Its responses cannot be lost, so
    /// there is no timeout for one attempt: a retry would only wait for the first attempt.
    pub fn embedded(engine: impl HttpClient + 'static) -> Self {
        let config = base(engine)
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            .region(Region::from_static("local"))
            .endpoint_url("http://embedded.invalid")
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "local",
                "local",
                None,
                None,
                "embedded engine",
            )));
        let http = AwsHttpClient::default();
        Self {
            config: config.build(),
            http,
            dynamodb_at: None,
            sqs_at: None,
            dynamodb: Arc::default(),
        }
    }

    /// Opens a connection to DynamoDB for the first request. Call it before the first
    /// invocation: until then Lambda gives a function a whole CPU, afterwards only the
    /// share that its memory setting pays for.
    pub async fn reach_dynamodb(&self) {
        self.reach(self.dynamodb_at.as_ref()).await;
    }

    /// Opens a connection to SQS, see [`Self::reach_dynamodb`].
    pub async fn reach_sqs(&self) {
        self.reach(self.sqs_at.as_ref()).await;
    }

    async fn reach(&self, address: Option<&FixedEndpoint>) {
        if let Some(FixedEndpoint(endpoint)) = address {
            self.http.open(endpoint.url()).await;
        }
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let make = || aws_sdk_dynamodb::Client::from_conf(self.dynamodb_config().build());
        self.dynamodb.get_or_init(make).clone()
    }

    /// For operations that can take minutes.
    pub(crate) fn dynamodb_without_timeouts(&self) -> aws_sdk_dynamodb::Client {
        let no_timeouts = TimeoutConfig::builder()
            .disable_operation_attempt_timeout()
            .disable_operation_timeout()
            .build();
        aws_sdk_dynamodb::Client::from_conf(
            self.dynamodb_config().timeout_config(no_timeouts).build(),
        )
    }

    fn dynamodb_config(&self) -> aws_sdk_dynamodb::config::Builder {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        match &self.dynamodb_at {
            Some(address) => config.endpoint_resolver(address.clone()),
            None => config,
        }
    }

    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::config::Builder::from(&self.config);
        if let Some(address) = &self.sqs_at {
            config = config.endpoint_resolver(address.clone());
        }
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    pub(crate) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.config)
    }
}

/// The endpoint of a service. The SDK's own rules resolve an endpoint only for a request,
/// but we connect before the first request.
#[derive(Clone, Debug)]
struct FixedEndpoint(Endpoint);

impl FixedEndpoint {
    fn new(url: String) -> Self {
        Self(Endpoint::builder().url(url).build())
    }
}

impl aws_sdk_dynamodb::config::endpoint::ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(
        &'a self,
        _: &'a aws_sdk_dynamodb::config::endpoint::Params,
    ) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

impl aws_sdk_sqs::config::endpoint::ResolveEndpoint for FixedEndpoint {
    fn resolve_endpoint<'a>(
        &'a self,
        _: &'a aws_sdk_sqs::config::endpoint::Params,
    ) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

/// Returns the regional endpoint of a service, for all partitions of AWS (`partitions.json`
/// of the SDKs).
pub(crate) fn service_url(service: &str, region: &str) -> String {
    const OTHER_PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let partition = OTHER_PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix));
    let suffix = partition.map_or("amazonaws.com", |(_, suffix)| suffix);
    format!("https://{service}.{region}.{suffix}")
}

fn base(http: impl HttpClient + 'static) -> Builder {
    SdkConfig::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::endpoint::{self as dynamodb, ResolveEndpoint as _};
    use aws_sdk_sqs::config::endpoint::{self as sqs, ResolveEndpoint as _};

    use super::*;

    #[tokio::test]
    async fn endpoints_are_those_of_the_sdk() {
        let regions = [
            "us-east-1",
            "eu-central-1",
            "us-gov-west-1",
            "cn-north-1",
            "us-iso-east-1",
            "us-isob-east-1",
            "us-isof-south-1",
            "eu-isoe-west-1",
            "eusc-de-east-1",
        ];
        for region in regions {
            let dynamodb_params = dynamodb::Params::builder().region(region).build().unwrap();
            let sqs_params = sqs::Params::builder().region(region).build().unwrap();
            let endpoints = [
                (
                    "dynamodb",
                    dynamodb::DefaultResolver::new()
                        .resolve_endpoint(&dynamodb_params)
                        .await,
                ),
                (
                    "sqs",
                    sqs::DefaultResolver::new()
                        .resolve_endpoint(&sqs_params)
                        .await,
                ),
            ];
            for (service, endpoint) in endpoints {
                assert_eq!(service_url(service, region), endpoint.unwrap().url());
            }
        }
    }
}
