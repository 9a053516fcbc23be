//! The address of a request to a model.

use domain::{ErrorType, Fault};
use url::Url;

/// `path` below the agent's base URL, which may already end with it: some providers show only
/// the whole address. A query of the base URL, such as the `api-version` of Azure, stays behind
/// the path.
pub(super) fn endpoint(base: &str, path: &str) -> Result<Url, Fault> {
    let not_a_url = || {
        Fault::permanent(
            ErrorType::InvalidAgent,
            "The agent's model.base_url is not a URL",
        )
    };
    let (base, query) = split_query(base);
    // Azure shows the whole address.
    let base = base.trim_end_matches('/');
    let without_path = base.strip_suffix(path);
    let without_path = without_path.and_then(|base| base.strip_suffix('/'));
    let url = format!("{}/{path}", without_path.unwrap_or(base));
    let mut url = Url::parse(&url).map_err(|_| not_a_url())?;
    url.set_query(query);
    Ok(url)
}

/// A URL without its query, and the query unless it is empty.
pub(super) fn split_query(url: &str) -> (&str, Option<&str>) {
    match url.split_once('?') {
        Some((url, query)) => (url, Some(query).filter(|query| !query.is_empty())),
        None => (url, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_added_to_a_base_url_once_and_before_its_query() {
        for (base, url) in [
            ("http://h/v1", "http://h/v1/chat/completions"),
            ("http://h/v1/", "http://h/v1/chat/completions"),
            (
                "http://h/v1/chat/completions",
                "http://h/v1/chat/completions",
            ),
            ("http://h/d?v=1", "http://h/d/chat/completions?v=1"),
            (
                "http://h/d/chat/completions?v=1",
                "http://h/d/chat/completions?v=1",
            ),
        ] {
            assert_eq!(endpoint(base, "chat/completions").unwrap().as_str(), url);
        }
    }
}
