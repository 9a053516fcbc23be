//! Query strings whose every parameter is known.

use std::borrow::Cow;

use crate::Problem;

/// Longest piece of an unknown name that is shown.
const SHOWN: usize = 40;

/// The parameters of a request, each given once.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// What is wrong with a query.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("`{name}` is no parameter of this call; it takes {}", allowed.join(", "))]
    Unknown { name: String, allowed: &'static [&'static str] },
    #[error("`{0}` was given more than once")]
    Repeated(String),
    #[error("`{name}` must be {wanted}")]
    Malformed { name: &'static str, wanted: &'static str },
}

impl<'a> Query<'a> {
    /// Reads a query that may have these parameters. One without a value is not given.
    pub(crate) fn read(text: Option<&'a str>, allowed: &'static [&'static str]) -> Result<Self, QueryError> {
        let mut given: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !allowed.contains(&name.as_ref()) {
                return Err(QueryError::Unknown { name: name.chars().take(SHOWN).collect(), allowed });
            }
            if given.iter().any(|(earlier, _)| *earlier == name) {
                return Err(QueryError::Repeated(name.into_owned()));
            }
            given.push((name, value));
        }
        given.retain(|(_, value)| !value.is_empty());
        Ok(Self(given))
    }

    /// The parameter as `parse` reads it, if it was given.
    pub(crate) fn get<T>(
        &self,
        name: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, QueryError> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| given == name) else { return Ok(None) };
        parse(value).map(Some).ok_or(QueryError::Malformed { name, wanted })
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::bad_request("invalid_request", error.to_string())
    }
}
