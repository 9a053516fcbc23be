//! The server of each operation: the nearest `servers` of the operation, of its path or of the
//! document.

use serde_json::{Map, Value};
use url::Url;

use super::{ImportSource, LocatedOperation, OperationError};

/// The server of the imported operations.
pub(super) struct Servers {
    pub(super) base_url: Option<String>,
    /// Relative servers of operations are resolved against it.
    context: Option<Url>,
    /// The only server of all operations, which the owner's base URL replaces.
    replaced: Option<String>,
}

impl Servers {
    /// Chooses the server that the owner has set, else the document's, else the first one of an
    /// operation.
    pub(super) fn choose<'d: 'o, 'o>(
        document: &'d Value,
        source: ImportSource<'_>,
        mut wanted: impl Iterator<Item = &'o LocatedOperation<'d>> + Clone,
    ) -> Self {
        let wanted_again = wanted.clone();
        let parse = |url: Option<&str>| url.and_then(|url| Url::parse(url).ok());
        let (given, document_url) = (parse(source.base_url), parse(source.document_url));
        let listed = document.get("servers").and_then(Value::as_array);
        let listed = match listed.filter(|listed| !listed.is_empty()) {
            Some(listed) => listed.iter().filter_map(url_of).collect(),
            // The default of the specification.
            None => vec!["/".to_owned()],
        };
        let of_document = match &given {
            Some(given) => Some(given_base_url(given, &listed)),
            None => listed
                .iter()
                .find_map(|url| resolve(url, document_url.as_ref())),
        };
        let context = document_url.or_else(|| parse(of_document.as_deref()));
        let has_own = |located: &LocatedOperation<'_>| own_servers(located).is_some();
        let is_document_used = given.is_some() || wanted.clone().any(|located| !has_own(located));
        let mut of_operation = || {
            wanted.find_map(|located| {
                let own = own_servers(located)?;
                own.iter().find_map(|url| resolve(url, context.as_ref()))
            })
        };
        let base_url = match (is_document_used, of_document) {
            (true, of_document) => of_document,
            (false, of_document) => of_operation().or(of_document),
        };
        // A base URL that does not parse is reported with the tool.
        let base_url = base_url.or_else(|| source.base_url.map(str::to_owned));
        let is_absolute = |url: &String| Url::parse(url).is_ok();
        let replaced = given
            .filter(|_| !listed.iter().any(is_absolute))
            .and_then(|_| only_server(wanted_again, context.as_ref()));
        Self {
            base_url,
            context,
            replaced,
        }
    }

    /// Requires that the operation's server is that of the tool, because the tool's headers,
    /// which may have secrets, are sent to it.
    pub(super) fn check(&self, located: &LocatedOperation<'_>) -> Result<(), OperationError> {
        let Some(own) = own_servers(located) else {
            return Ok(());
        };
        let own: Vec<Option<String>> = own
            .iter()
            .map(|url| resolve(url, self.context.as_ref()))
            .collect();
        let is_known = |server: &Option<String>| server.is_some() && own.contains(server);
        if is_known(&self.base_url) || is_known(&self.replaced) {
            return Ok(());
        }
        match own.into_iter().flatten().next() {
            Some(url) => Err(OperationError::Server(crate::cut(&url, 200))),
            None => Err(OperationError::ServerUrl(located.path.to_owned())),
        }
    }
}

/// The server that all these operations have, such as a placeholder in documents of Kubernetes.
fn only_server<'d: 'o, 'o>(
    mut operations: impl Iterator<Item = &'o LocatedOperation<'d>>,
    context: Option<&Url>,
) -> Option<String> {
    let server = |located: &LocatedOperation<'_>| match own_servers(located)?.as_slice() {
        [url] => resolve(url, context),
        _ => None,
    };
    let first = server(operations.next()?)?;
    operations
        .all(|located| server(located).as_ref() == Some(&first))
        .then_some(first)
}

/// The URLs of the operation's or its path's own servers. `None` if the document's apply.
fn own_servers(located: &LocatedOperation<'_>) -> Option<Vec<String>> {
    let own = |owner: &Map<String, Value>| {
        let servers = owner.get("servers").and_then(Value::as_array)?;
        (!servers.is_empty()).then(|| servers.iter().filter_map(url_of).collect())
    };
    own(located.operation).or_else(|| own(located.item))
}

/// A server's URL, with the defaults of its variables. `None` if a variable has no value.
fn url_of(server: &Value) -> Option<String> {
    let mut url = server.get("url")?.as_str()?.to_owned();
    let variables = server.get("variables").and_then(Value::as_object);
    for (name, variable) in variables.into_iter().flatten() {
        let first = || variable.get("enum").and_then(|values| values.get(0));
        let default = variable.get("default").or_else(first);
        let default = match default {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => continue,
        };
        url = url.replace(&format!("{{{name}}}"), &default);
    }
    (!url.contains(['{', '}'])).then_some(url)
}

/// The absolute URL of a server, without a slash at its end.
fn resolve(url: &str, context: Option<&Url>) -> Option<String> {
    let absolute = match Url::parse(url) {
        Ok(absolute) => absolute,
        Err(_) => context?.join(url).ok()?,
    };
    let is_http = matches!(absolute.scheme(), "http" | "https");
    is_http.then(|| absolute.as_str().trim_end_matches('/').to_owned())
}

/// The base URL that the owner has set. The document's first server completes it if it is
/// relative and the base URL has no path.
fn given_base_url(given: &Url, listed: &[String]) -> String {
    let first = listed.first().map(String::as_str).unwrap_or_default();
    let is_relative = Url::parse(first).is_err();
    // A reference such as `//host/path` is relative too, but has a host.
    let is_same_host =
        |url: &String| Url::parse(url).is_ok_and(|url| url.origin() == given.origin());
    let completed = (is_relative && given.path() == "/" && given.query().is_none())
        .then(|| resolve(first, Some(given)))
        .flatten()
        .filter(is_same_host);
    completed.unwrap_or_else(|| given.as_str().trim_end_matches('/').to_owned())
}
