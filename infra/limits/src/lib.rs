//! What the functions are measured against: the least that a Lambda can do, each a
//! program of its own, by the SDKs as they come.

use std::env;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::BehaviorVersion;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::sdk_config::SharedHttpClient;

/// DynamoDB where `AWS_ENDPOINT_URL_DYNAMODB` says.
pub fn dynamodb(http: &SharedHttpClient) -> Result<aws_sdk_dynamodb::Client, env::VarError> {
    Ok(aws_sdk_dynamodb::Client::new(&config(http, env::var("AWS_ENDPOINT_URL_DYNAMODB")?)?))
}

/// SQS where `AWS_ENDPOINT_URL_SQS` says.
pub fn sqs(http: &SharedHttpClient) -> Result<aws_sdk_sqs::Client, env::VarError> {
    Ok(aws_sdk_sqs::Client::new(&config(http, env::var("AWS_ENDPOINT_URL_SQS")?)?))
}

/// One for both, by the TLS provider that starts fastest.
pub fn https() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

fn config(http: &SharedHttpClient, endpoint: String) -> Result<SdkConfig, env::VarError> {
    let credentials = Credentials::new(
        env::var("AWS_ACCESS_KEY_ID")?,
        env::var("AWS_SECRET_ACCESS_KEY")?,
        None,
        None,
        "limit",
    );
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http.clone())
        .region(Region::new(env::var("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .build())
}
