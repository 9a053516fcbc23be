//! A token endpoint, and the request for a token (RFC 6749 section 4.4.2).

use base64::prelude::{BASE64_STANDARD, Engine as _};
use domain::Moment;
use domain::agent::tools::OAuth;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::assertion::sign_assertion;
use super::client::OAuthClient;
use super::failure::OAuthFailure;
use super::reply::read_reply;
use super::token::AccessToken;

/// The type of a JWT that authenticates a client (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Where a token is requested, and with what.
pub(super) struct TokenEndpoint {
    pub(super) url: Url,
    /// Who a signed JWT is for: the issuer if it is known, otherwise the endpoint.
    pub(super) audience: String,
    pub(super) secret_method: SecretMethod,
    /// The server that the token is for (RFC 8707).
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
}

/// How a client secret is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecretMethod {
    /// `client_secret_basic`
    Basic,
    /// `client_secret_post`
    Post,
}

impl TokenEndpoint {
    /// The endpoint that the definition names.
    pub(super) fn configured(
        url: &str,
        oauth: &OAuth,
        resource: Option<String>,
    ) -> Result<Self, OAuthFailure> {
        Ok(Self {
            url: Url::parse(url).map_err(|_| OAuthFailure::NotAUrl)?,
            audience: url.to_owned(),
            secret_method: SecretMethod::Basic,
            resource,
            scope: oauth.scope.clone(),
        })
    }
}

/// Requests a token once.
pub(super) async fn request_token(
    client: &OAuthClient,
    endpoint: &TokenEndpoint,
    oauth: &OAuth,
    credential: &str,
    now: Moment,
) -> Result<AccessToken, OAuthFailure> {
    let (headers, form) = build_request(endpoint, oauth, credential, now)?;
    let response = client.post_form(&endpoint.url, headers, form).await?;
    read_reply(&endpoint.url, oauth.secret_name(), &response, now)
}

fn build_request(
    endpoint: &TokenEndpoint,
    oauth: &OAuth,
    credential: &str,
    now: Moment,
) -> Result<(HeaderMap, String), OAuthFailure> {
    let (mut headers, mut form) = (HeaderMap::new(), Serializer::new(String::new()));
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &endpoint.scope {
        form.append_pair("scope", scope);
    }
    if let Some(resource) = &endpoint.resource {
        form.append_pair("resource", resource);
    }
    match (&oauth.client_assertion, endpoint.secret_method) {
        (Some(assertion), _) => {
            let (client, algorithm) = (&oauth.client_id, assertion.algorithm);
            let signed = sign_assertion(client, &endpoint.audience, algorithm, credential, now);
            let signed = signed.ok_or_else(|| OAuthFailure::PrivateKey {
                secret: assertion.secret.clone(),
                algorithm,
            })?;
            form.append_pair("client_id", client);
            form.append_pair("client_assertion_type", JWT_BEARER);
            form.append_pair("client_assertion", &signed);
        }
        (None, SecretMethod::Basic) => {
            // Percent-encoded and in base64, so it is always a valid header.
            let basic = basic_credentials(&oauth.client_id, credential);
            if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {basic}")) {
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        (None, SecretMethod::Post) => {
            form.append_pair("client_id", &oauth.client_id);
            form.append_pair("client_secret", credential);
        }
    }
    Ok((headers, form.finish()))
}

/// Id and secret as RFC 6749 section 2.3.1 encodes them.
pub(super) fn basic_credentials(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    BASE64_STANDARD.encode(format!("{}:{}", encoded(client_id), encoded(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth() -> OAuth {
        serde_json::from_value(serde_json::json!({
            "grant": "client_credentials", "client_id": "the shop",
            "client_secret": { "secret": "s" }, "scope": "read write",
        }))
        .unwrap()
    }

    fn endpoint(secret_method: SecretMethod) -> TokenEndpoint {
        let resource = Some("https://mcp.example/mcp".to_owned());
        TokenEndpoint {
            secret_method,
            ..TokenEndpoint::configured("https://auth.example/token", &oauth(), resource).unwrap()
        }
    }

    fn request(secret_method: SecretMethod) -> (HeaderMap, String) {
        let now = Moment::from_millis(0);
        let built = build_request(&endpoint(secret_method), &oauth(), "a:b&c", now);
        built.ok().unwrap()
    }

    #[test]
    fn a_secret_is_sent_as_basic_authentication_or_in_the_form() {
        let form = "grant_type=client_credentials&scope=read+write&resource=https%3A%2F%2Fmcp.example%2Fmcp";
        let (headers, sent) = request(SecretMethod::Basic);
        // the+shop:a%3Ab%26c
        assert_eq!(headers[AUTHORIZATION], "Basic dGhlK3Nob3A6YSUzQWIlMjZj");
        assert!(headers[AUTHORIZATION].is_sensitive());
        assert_eq!(sent, form);
        let (headers, sent) = request(SecretMethod::Post);
        assert!(headers.is_empty());
        let secret = "client_id=the+shop&client_secret=a%3Ab%26c";
        assert_eq!(sent, format!("{form}&{secret}"));
    }
}
