//! The metadata of protected resources (RFC 9728) and of authorization servers (RFC 8414, OpenID
//! Connect Discovery): their URLs, and what of them may be trusted.

use serde::Deserialize;
use url::Url;

use super::endpoint::SecretMethod;

/// What a server says about the tokens that it requires.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ResourceMetadata {
    pub(super) resource: Option<String>,
    pub(super) authorization_servers: Vec<String>,
    pub(super) scopes_supported: Vec<String>,
}

/// What an authorization server says about itself.
#[derive(Deserialize)]
pub(super) struct ServerMetadata {
    pub(super) issuer: String,
    pub(super) token_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl ServerMetadata {
    /// Whether the metadata is that of this issuer. Otherwise it must not be used (RFC 8414
    /// section 3.3).
    pub(super) fn is_of(&self, issuer: &str) -> bool {
        self.issuer.trim_end_matches('/') == issuer.trim_end_matches('/')
    }

    /// Basic authentication, unless the server supports a secret in the form only.
    pub(super) fn secret_method(&self) -> SecretMethod {
        let has = |method| {
            let methods = &self.token_endpoint_auth_methods_supported;
            methods.iter().any(|supported| supported == method)
        };
        match has("client_secret_post") && !has("client_secret_basic") {
            true => SecretMethod::Post,
            false => SecretMethod::Basic,
        }
    }
}

/// Where a server has the metadata of a resource, if it does not say so.
pub(super) fn resource_metadata_urls(server: &Url) -> Vec<Url> {
    let name = "/.well-known/oauth-protected-resource";
    let path = server.path().trim_end_matches('/');
    let mut urls = vec![with_path(server, &format!("{name}{path}"))];
    if !path.is_empty() {
        urls.push(with_path(server, name));
    }
    urls
}

/// Where an authorization server has its metadata, in the order of the MCP specification.
pub(super) fn server_metadata_urls(issuer: &Url) -> Vec<Url> {
    let (oauth, openid) = (
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    );
    let path = issuer.path().trim_end_matches('/');
    let mut urls = vec![
        with_path(issuer, &format!("{oauth}{path}")),
        with_path(issuer, &format!("{openid}{path}")),
    ];
    if !path.is_empty() {
        urls.push(with_path(issuer, &format!("{path}{openid}")));
    }
    urls
}

fn with_path(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Whether the metadata of this resource is about the server: it has the same origin, and its path
/// begins with that of the resource.
pub(super) fn covers(resource: &str, server: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else {
        return false;
    };
    let (above, path) = (resource.path().trim_end_matches('/'), server.path());
    let rest = path.strip_prefix(above);
    resource.origin() == server.origin()
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A URL that a server names. No http URL, if the server is reached over https.
pub(super) fn named_url(text: &str, by: &Url) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && by.scheme() == "http");
    let has_user = !url.username().is_empty() || url.password().is_some();
    (is_safe && url.has_host() && !has_user).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn texts(urls: &[Url]) -> Vec<&str> {
        urls.iter().map(Url::as_str).collect()
    }

    #[test]
    fn metadata_is_at_its_well_known_urls() {
        let resource = resource_metadata_urls(&url("https://a.example:8443/v1/mcp?x=1"));
        let well_known = "https://a.example:8443/.well-known/oauth-protected-resource";
        let with_path = format!("{well_known}/v1/mcp");
        assert_eq!(texts(&resource), [with_path.as_str(), well_known]);
        assert_eq!(resource_metadata_urls(&url("https://a.example/")).len(), 1);
        assert_eq!(
            texts(&server_metadata_urls(&url("https://a.example/t/1"))),
            [
                "https://a.example/.well-known/oauth-authorization-server/t/1",
                "https://a.example/.well-known/openid-configuration/t/1",
                "https://a.example/t/1/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            texts(&server_metadata_urls(&url("https://a.example"))),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ]
        );
    }

    #[test]
    fn metadata_of_another_resource_or_issuer_is_not_used() {
        let server = url("https://a.example/v1/mcp");
        for good in [
            "https://a.example",
            "https://a.example/v1",
            "https://a.example/v1/",
            "https://a.example/v1/mcp",
        ] {
            assert!(covers(good, &server), "{good}");
        }
        for bad in [
            "",
            "https://b.example",
            "http://a.example",
            "https://a.example/v",
            "https://a.example/v1/mcp/x",
        ] {
            assert!(!covers(bad, &server), "{bad}");
        }
        let metadata: ServerMetadata =
            serde_json::from_str(r#"{"issuer":"https://a.example/","token_endpoint":"x"}"#)
                .unwrap();
        assert!(metadata.is_of("https://a.example") && !metadata.is_of("https://a.example/t"));
    }

    #[test]
    fn a_secret_is_sent_in_the_form_only_if_the_server_supports_nothing_else() {
        for (methods, expected) in [
            ("", SecretMethod::Basic),
            (r#""none""#, SecretMethod::Basic),
            (
                r#""client_secret_post","client_secret_basic""#,
                SecretMethod::Basic,
            ),
            (
                r#""client_secret_post","private_key_jwt""#,
                SecretMethod::Post,
            ),
        ] {
            let json = format!(
                r#"{{"issuer":"a","token_endpoint":"b","token_endpoint_auth_methods_supported":[{methods}]}}"#
            );
            let metadata: ServerMetadata = serde_json::from_str(&json).unwrap();
            assert_eq!(metadata.secret_method(), expected, "{methods}");
        }
    }

    #[test]
    fn a_server_over_https_cannot_name_a_url_over_http() {
        let (safe, unsafe_) = (url("https://a.example"), url("http://a.example"));
        assert!(named_url("https://b.example/token", &safe).is_some());
        assert!(named_url("http://b.example/token", &safe).is_none());
        assert!(named_url("http://b.example/token", &unsafe_).is_some());
        for bad in ["", "b.example", "file:///a", "https://u:p@b.example/"] {
            assert!(named_url(bad, &unsafe_).is_none(), "{bad}");
        }
    }
}
