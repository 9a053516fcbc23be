//! The endpoint of Amazon Bedrock, and the signature of requests to it. The runner sends the
//! requests, because the SDK's client would add another HTTP client with its own retries and
//! timeouts, and would not limit the size of a response.

use std::fmt;

use crate::aws::{AwsSettings, service_url};
use crate::env::Env;
use crate::signature::{SignError, Signer};

/// Bedrock in one region, with the credentials of this process.
#[derive(Clone)]
pub struct Bedrock {
    endpoint: String,
    signer: Signer,
}

impl fmt::Debug for Bedrock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bedrock")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Bedrock {
    /// The endpoint is `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`, else `AWS_ENDPOINT_URL`, else the
    /// one of the region. Returns `None` if the region or credentials are not set.
    pub fn from_env(env: &Env) -> Option<Self> {
        let settings = AwsSettings::from_env(env).ok()?;
        let endpoint = env
            .optional("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
            .or_else(|| settings.endpoint_url.clone())
            .unwrap_or_else(|| service_url("bedrock-runtime", &settings.region));
        Some(Self {
            endpoint,
            signer: Signer::new("bedrock", settings),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The session token of temporary credentials. Every request must send it.
    pub fn session_token(&self) -> Option<&str> {
        self.signer.session_token()
    }

    /// Returns the headers that sign a POST request.
    pub fn sign<'a>(
        &self,
        url: &'a str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &'a [u8],
    ) -> Result<Vec<(&'static str, String)>, SignError> {
        self.signer.sign(url, headers, body)
    }
}

#[cfg(test)]
mod tests {
    use domain::Moment;

    use super::*;
    use crate::Clock;

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
        bedrock.signer.clock = Clock::new(|| Moment::from_millis(1_767_225_600_000));
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
