//! The response of a token endpoint (RFC 6749 section 5).

use std::time::Duration;

use domain::Moment;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::client::OAuthResponse;
use super::failure::{OAuthFailure, TokenRefusal, host_of, known_code};
use super::token::AccessToken;
use crate::model::retry_after;

#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenReply {
    access_token: Value,
    token_type: Value,
    /// Some servers send a text.
    expires_in: Value,
    error: Value,
}

/// The token in a response. `secret` is the name of the client's secret.
pub(super) fn read_reply(
    url: &Url,
    secret: &str,
    response: &OAuthResponse,
    now: Moment,
) -> Result<AccessToken, OAuthFailure> {
    let parsed: Option<TokenReply> = serde_json::from_slice(&response.body).ok();
    let has_error = parsed.as_ref().is_some_and(|reply| !reply.error.is_null());
    if !response.status.is_success() || has_error {
        return Err(refusal(url, secret, response, parsed.as_ref()));
    }
    let other = |why| {
        let host = host_of(url);
        Err(OAuthFailure::NotAToken { host, why })
    };
    let Some(reply) = parsed else {
        return other("a body that is not the JSON of a token");
    };
    match reply.token_type.as_str() {
        Some(kind) if !kind.eq_ignore_ascii_case("bearer") => {
            return other("a token of another type than `Bearer`");
        }
        _ => {}
    }
    let token = reply.access_token.as_str();
    match token.and_then(|text| AccessToken::new(text, lifetime(&reply.expires_in), now)) {
        Some(token) => Ok(token),
        None => other("no access token that can be sent in a header"),
    }
}

fn refusal(
    url: &Url,
    secret: &str,
    response: &OAuthResponse,
    parsed: Option<&TokenReply>,
) -> OAuthFailure {
    let status = response.status;
    let code = parsed.and_then(|reply| known_code(reply.error.as_str()?));
    tracing::warn!(
        server = url.origin().ascii_serialization(),
        status = status.as_u16(),
        code,
        "token endpoint returned an error"
    );
    OAuthFailure::Refused(Box::new(TokenRefusal {
        host: host_of(url),
        status,
        code,
        retry_after: retry_after(status, &response.headers),
        secret: secret.to_owned(),
    }))
}

fn lifetime(expires_in: &Value) -> Option<Duration> {
    let seconds = match expires_in {
        Value::String(text) => text.parse().ok()?,
        number => number.as_f64()?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    use super::*;

    fn read(status: u16, body: &str) -> Result<AccessToken, OAuthFailure> {
        let response = OAuthResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        let url = Url::parse("https://auth.example/token").unwrap();
        read_reply(&url, "s", &response, Moment::from_millis(0))
    }

    #[test]
    fn a_token_is_read_from_what_servers_send() {
        for body in [
            r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#,
            r#"{"access_token":"t","token_type":"bearer","expires_in":"3600","scope":"a"}"#,
            r#"{"access_token":"t"}"#,
            r#"{"access_token":"t","expires_in":-1,"error":null}"#,
        ] {
            assert!(read(200, body).is_ok(), "{body}");
        }
    }

    #[test]
    fn anything_else_is_an_error_without_the_text_of_the_server() {
        for (status, body, says) in [
            (200, "", "not the JSON of a token"),
            (200, "<html>hello-text</html>", "not the JSON of a token"),
            (200, "[]", "no access token"),
            (200, r#"{"access_token":5}"#, "no access token"),
            (200, r#"{"access_token":"hello text"}"#, "no access token"),
            (
                200,
                r#"{"access_token":"t","token_type":"DPoP"}"#,
                "another type",
            ),
            (
                200,
                r#"{"error":"invalid_client"}"#,
                "200 OK, `invalid_client`",
            ),
            (
                400,
                r#"{"error":"hello-text","error_description":"hello-text"}"#,
                "400 Bad Request",
            ),
            (
                401,
                r#"{"error":{"type":"hello-text"}}"#,
                "401 Unauthorized",
            ),
            (302, "hello-text", "302 Found"),
        ] {
            let failure = read(status, body).err().unwrap();
            let shown = format!("{:?}", failure.to_fault("shop"));
            assert!(
                shown.contains(says) && !shown.contains("hello"),
                "{body}: {shown}"
            );
        }
    }
}
