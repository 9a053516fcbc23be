//! The endpoint of Amazon Bedrock, and the signature of requests to it. The runner sends the
//! requests, because the SDK's client would add another HTTP client with its own retries and
//! timeouts, and would not limit the size of a response.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

use crate::Clock;
use crate::aws::{AwsSettings, service_url};
use crate::env::Env;

/// Bedrock in one region, with the credentials of this process.
#[derive(Clone)]
pub struct Bedrock {
    endpoint: String,
    region: String,
    identity: Identity,
    clock: Clock,
}

impl fmt::Debug for Bedrock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bedrock")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("a setting for the signature is missing")]
    Signer(#[from] v4::signing_params::BuildError),
    #[error("the request cannot be signed")]
    Request(#[from] SigningError),
}

impl Bedrock {
    /// The endpoint is `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`, else `AWS_ENDPOINT_URL`, else the
    /// one of the region. Returns `None` if the region or credentials are not set.
    pub fn from_env(env: &Env) -> Option<Self> {
        let settings = AwsSettings::from_env(env).ok()?;
        let own = env
            .optional("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
            .or(settings.endpoint_url);
        let region = settings.region;
        let endpoint = own.unwrap_or_else(|| service_url("bedrock-runtime", &region));
        let credentials = Credentials::new(
            settings.access_key_id,
            settings.secret_access_key,
            settings.session_token,
            None,
            "environment",
        );
        Some(Self {
            endpoint,
            region,
            identity: credentials.into(),
            clock: Clock::system(),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The session token of temporary credentials. Every request must send it.
    pub fn session_token(&self) -> Option<&str> {
        self.identity.data::<Credentials>()?.session_token()
    }

    /// Returns the headers that sign a POST request.
    pub fn sign<'a>(
        &self,
        url: &'a str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &'a [u8],
    ) -> Result<Vec<(&'static str, String)>, SignError> {
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("bedrock")
            .time(SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now().millis()))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body))?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        let (headers, _) = instructions.into_parts();
        Ok(headers
            .iter()
            .map(|header| (header.name(), header.value().to_owned()))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use domain::Moment;

    use super::*;

    fn bedrock(more: &'static [(&str, &str)]) -> Option<Bedrock> {
        Bedrock::from_env(&Env::from_fn(move |name| {
            let own = [
                ("AWS_REGION", "eu-west-1"),
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                (
                    "AWS_SECRET_ACCESS_KEY",
                    "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                ),
            ];
            let set = more.iter().chain(&own).find(|(set, _)| *set == name);
            set.map(|(_, value)| (*value).to_owned())
        }))
    }

    #[test]
    fn the_endpoint_comes_from_the_environment() {
        let endpoint = |more| bedrock(more).map(|bedrock| bedrock.endpoint);
        assert_eq!(
            endpoint(&[]).as_deref(),
            Some("https://bedrock-runtime.eu-west-1.amazonaws.com")
        );
        assert_eq!(
            endpoint(&[("AWS_ENDPOINT_URL", "http://e")]).as_deref(),
            Some("http://e")
        );
        let both = &[
            ("AWS_ENDPOINT_URL", "http://e"),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://b"),
        ];
        assert_eq!(endpoint(both).as_deref(), Some("http://b"));
        assert_eq!(endpoint(&[("AWS_REGION", "")]), None);
    }

    /// The signature of botocore 1.43 for the same request.
    const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
        Credential=AKIDEXAMPLE/20260101/eu-west-1/bedrock/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, \
        Signature=3382a5ab1ca38d5433ebbc76b4aba6d32362ac62c248c258c9da730500aa2381";

    #[test]
    fn a_signature_equals_the_one_of_the_sdk() {
        let mut bedrock = bedrock(&[("AWS_SESSION_TOKEN", "the-token")]).unwrap();
        bedrock.clock = Clock::new(|| Moment::from_millis(1_767_225_600_000));
        let url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude-v1%3A0/converse";
        let headers = [("content-type", "application/json")];
        let signed = bedrock
            .sign(url, headers.into_iter(), br#"{"messages":[]}"#)
            .unwrap();
        let header = |name| {
            signed
                .iter()
                .find(|(set, _)| *set == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(header("x-amz-date"), Some("20260101T000000Z"));
        assert_eq!(header("x-amz-security-token"), Some("the-token"));
        assert_eq!(header("authorization"), Some(AUTHORIZATION));
    }
}
