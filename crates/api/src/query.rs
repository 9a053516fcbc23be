//! Parses query strings. Unknown and repeated parameters are errors.

use std::borrow::Cow;

use crate::Problem;

/// How many characters of an unknown name an error shows.
const MAX_SHOWN: usize = 40;

/// The parameters of a request.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("Unknown parameter `{name}`; expected one of `{}`", allowed.join("`, `"))]
    Unknown {
        name: String,
        allowed: &'static [&'static str],
    },
    #[error("`{0}` is given more than once")]
    Repeated(String),
    #[error("`{name}` must be {wanted}")]
    Malformed {
        name: &'static str,
        wanted: &'static str,
    },
}

impl<'a> Query<'a> {
    /// Parses a query that may have the `allowed` parameters. A parameter with an empty value
    /// counts as absent.
    pub(crate) fn parse(
        text: Option<&'a str>,
        allowed: &'static [&'static str],
    ) -> Result<Self, QueryError> {
        let mut given: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !allowed.contains(&name.as_ref()) {
                return Err(QueryError::Unknown {
                    name: name.chars().take(MAX_SHOWN).collect(),
                    allowed,
                });
            }
            if given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(QueryError::Repeated(name.into_owned()));
            }
            given.push((name, value));
        }
        given.retain(|(_, value)| !value.is_empty());
        Ok(Self(given))
    }

    /// The parsed parameter, or `None` if it is absent.
    pub(crate) fn get<T>(
        &self,
        name: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| given == name) else {
            return Ok(None);
        };
        parse(value)
            .map(Some)
            .ok_or(QueryError::Malformed { name, wanted })
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::bad_request("invalid_request", error.to_string())
    }
}
