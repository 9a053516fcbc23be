//! Signatures of requests that are not sent by an SDK client.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

use crate::Clock;
use crate::aws::AwsSettings;

/// Signs requests to one service with the credentials of this process.
#[derive(Clone)]
pub(crate) struct Signer {
    service: &'static str,
    region: String,
    identity: Identity,
    pub(crate) clock: Clock,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("a setting for the signature is missing")]
    Signer(#[from] v4::signing_params::BuildError),
    #[error("the request cannot be signed")]
    Request(#[from] SigningError),
}

impl Signer {
    pub(crate) fn new(service: &'static str, settings: AwsSettings) -> Self {
        let credentials = Credentials::new(
            settings.access_key_id,
            settings.secret_access_key,
            settings.session_token,
            None,
            "environment",
        );
        Self {
            service,
            region: settings.region,
            identity: credentials.into(),
            clock: Clock::system(),
        }
    }

    /// The session token of temporary credentials. Every request must send it.
    pub(crate) fn session_token(&self) -> Option<&str> {
        self.identity.data::<Credentials>()?.session_token()
    }

    /// Returns the headers that sign a POST request.
    pub(crate) fn sign<'a>(
        &self,
        url: &'a str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        body: &'a [u8],
    ) -> Result<Vec<(&'static str, String)>, SignError> {
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(self.service)
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
