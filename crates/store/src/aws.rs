//! The AWS clients, built by hand from what the Lambda runtime puts in the
//! environment: resolving credentials and region the general way costs a cold
//! start about a millisecond and finds the same values.

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

use crate::env::{Env, EnvError};
use crate::https::Https;

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
    https: Https,
    /// `None` if an embedded engine answers.
    dynamodb_at: Option<Address>,
    sqs_at: Option<Address>,
    /// Made once for all tables: making one takes hundreds of allocations.
    dynamodb: Arc<OnceLock<aws_sdk_dynamodb::Client>>,
}

impl Aws {
    /// Clients that speak HTTPS to AWS, or to the emulator at `endpoint_url`.
    pub fn new(settings: AwsSettings) -> Self {
        let https = Https::default();
        let at = |service, own: Option<String>| {
            let url = own.or_else(|| settings.endpoint_url.clone());
            Address::new(url.unwrap_or_else(|| service_url(service, &settings.region)))
        };
        let dynamodb_at = Some(at("dynamodb", settings.dynamodb_url));
        let sqs_at = Some(at("sqs", settings.sqs_url));
        let mut config = base(https.clone()).region(Region::new(settings.region)).credentials_provider(
            SharedCredentialsProvider::new(Credentials::new(
                settings.access_key_id,
                settings.secret_access_key,
                settings.session_token,
                None,
                "lambda environment",
            )),
        );
        config.set_endpoint_url(settings.endpoint_url);
        Self { config: config.build(), https, dynamodb_at, sqs_at, dynamodb: Arc::default() }
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
        let https = Https::default();
        Self { config: config.build(), https, dynamodb_at: None, sqs_at: None, dynamodb: Arc::default() }
    }

    /// Opens a connection to DynamoDB, so that the first request finds one. To be
    /// awaited before the first invocation: until then Lambda lends a function a
    /// whole processor, and afterwards what its memory pays for.
    pub async fn reach_dynamodb(&self) {
        self.reach(self.dynamodb_at.as_ref()).await;
    }

    /// The same for SQS.
    pub async fn reach_sqs(&self) {
        self.reach(self.sqs_at.as_ref()).await;
    }

    async fn reach(&self, address: Option<&Address>) {
        if let Some(Address(endpoint)) = address {
            self.https.open(endpoint.url()).await;
        }
    }

    /// A DynamoDB client.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let make = || aws_sdk_dynamodb::Client::from_conf(self.for_dynamodb().build());
        self.dynamodb.get_or_init(make).clone()
    }

    /// One whose calls take the time they take.
    pub(crate) fn patient_dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let patience =
            TimeoutConfig::builder().disable_operation_attempt_timeout().disable_operation_timeout().build();
        aws_sdk_dynamodb::Client::from_conf(self.for_dynamodb().timeout_config(patience).build())
    }

    fn for_dynamodb(&self) -> aws_sdk_dynamodb::config::Builder {
        let config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        match &self.dynamodb_at {
            Some(address) => config.endpoint_resolver(address.clone()),
            None => config,
        }
    }

    /// An SQS client.
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

/// Where a service is, known before there is a request that the SDK's rules could
/// tell it for.
#[derive(Clone, Debug)]
struct Address(Endpoint);

impl Address {
    fn new(url: String) -> Self {
        Self(Endpoint::builder().url(url).build())
    }
}

impl aws_sdk_dynamodb::config::endpoint::ResolveEndpoint for Address {
    fn resolve_endpoint<'a>(
        &'a self,
        _: &'a aws_sdk_dynamodb::config::endpoint::Params,
    ) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

impl aws_sdk_sqs::config::endpoint::ResolveEndpoint for Address {
    fn resolve_endpoint<'a>(&'a self, _: &'a aws_sdk_sqs::config::endpoint::Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

/// The regional address of a service, in every partition of AWS (`partitions.json` of
/// the SDKs).
pub(crate) fn service_url(service: &str, region: &str) -> String {
    const ELSEWHERE: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let partition = ELSEWHERE.iter().find(|(prefix, _)| region.starts_with(prefix));
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
    async fn services_are_where_the_sdk_finds_them() {
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
            let of_dynamodb = dynamodb::Params::builder().region(region).build().unwrap();
            let of_sqs = sqs::Params::builder().region(region).build().unwrap();
            let found = [
                ("dynamodb", dynamodb::DefaultResolver::new().resolve_endpoint(&of_dynamodb).await),
                ("sqs", sqs::DefaultResolver::new().resolve_endpoint(&of_sqs).await),
            ];
            for (service, found) in found {
                assert_eq!(service_url(service, region), found.unwrap().url());
            }
        }
    }
}
