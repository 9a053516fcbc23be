//! The authentication of an operation.

use serde_json::{Map, Value};

use super::{OperationError, resolve};
use crate::agent::credential::is_credential_name;

/// What the security schemes of an operation need.
#[derive(Default)]
pub(super) struct Security {
    /// Headers with credentials: the header's name, and the prefix of the secret.
    pub(super) headers: Vec<(String, String)>,
    /// Parameters of the query with credentials.
    query: Vec<String>,
}

/// One security scheme.
enum Scheme<'d> {
    Header(&'d str, &'static str),
    Query(&'d str),
    Cookie,
    Certificate,
    Other,
}

impl Security {
    /// Reads the alternatives of `security`. It is an error if none of them can be met with
    /// headers.
    pub(super) fn of(
        document: &Value,
        operation: &Map<String, Value>,
    ) -> Result<Self, OperationError> {
        let wanted = operation
            .get("security")
            .or_else(|| document.get("security"));
        let wanted = wanted.and_then(Value::as_array).into_iter().flatten();
        let (mut security, mut obstacle, mut can_be_met) = (Self::default(), None, false);
        for alternative in wanted.filter_map(Value::as_object) {
            let mut is_possible = true;
            for name in alternative.keys() {
                let why = match scheme(document, name) {
                    Scheme::Header(name, prefix) => {
                        let header = (name.to_owned(), prefix.to_owned());
                        security.headers.push(header);
                        continue;
                    }
                    Scheme::Other => continue,
                    Scheme::Query(name) => {
                        security.query.push(name.to_owned());
                        OperationError::QueryCredential(crate::cut(name, 64))
                    }
                    Scheme::Cookie => OperationError::Cookie,
                    Scheme::Certificate => OperationError::Security("a client certificate"),
                };
                is_possible = false;
                obstacle.get_or_insert(why);
            }
            can_be_met |= is_possible;
        }
        match obstacle {
            Some(why) if !can_be_met => Err(why),
            _ => Ok(security),
        }
    }

    /// Whether a parameter of the query holds a credential.
    pub(super) fn is_query_credential(&self, name: &str) -> bool {
        /// Without hyphens and underscores. `pageToken` and `session` are not among them,
        /// because they are often not secret.
        const NAMES: [&str; 26] = [
            "accesskey",
            "accesstoken",
            "apikey",
            "apisecret",
            "apitoken",
            "appid",
            "appkey",
            "auth",
            "authkey",
            "authorization",
            "authtoken",
            "bearertoken",
            "clientsecret",
            "jwt",
            "key",
            "oauthtoken",
            "passwd",
            "password",
            "privatetoken",
            "pwd",
            "secret",
            "secretkey",
            "sig",
            "subscriptionkey",
            "token",
            "xapikey",
        ];
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        let plain: String = letters.collect::<String>().to_ascii_lowercase();
        self.query.iter().any(|declared| declared == name) || NAMES.contains(&plain.as_str())
    }

    /// Whether a header holds a credential.
    pub(super) fn is_header_credential(&self, name: &str) -> bool {
        let is_declared = |(declared, _): &(String, String)| declared.eq_ignore_ascii_case(name);
        is_credential_name(name) || self.headers.iter().any(is_declared)
    }
}

fn scheme<'d>(document: &'d Value, name: &str) -> Scheme<'d> {
    let scheme = document.pointer("/components/securitySchemes");
    let scheme = scheme.and_then(|schemes| schemes.get(name));
    let Some(scheme) = scheme.and_then(|scheme| resolve(document, scheme).ok()) else {
        return Scheme::Other;
    };
    let text = |field: &str| {
        scheme
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match (
        text("type"),
        text("scheme").to_ascii_lowercase().as_str(),
        text("in"),
    ) {
        ("http", "basic", _) => Scheme::Header("Authorization", "Basic "),
        ("http", "bearer", _) | ("oauth2" | "openIdConnect", ..) => {
            Scheme::Header("Authorization", "Bearer ")
        }
        ("apiKey", _, "header") => Scheme::Header(text("name"), ""),
        ("apiKey", _, "query") => Scheme::Query(text("name")),
        ("apiKey", _, "cookie") => Scheme::Cookie,
        ("mutualTLS", ..) => Scheme::Certificate,
        _ => Scheme::Other,
    }
}
