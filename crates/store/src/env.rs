//! Reading the environment: once, in `main`, into one struct per concern.

use std::fmt::Display;
use std::str::FromStr;

/// The variables of this process. An empty one counts as unset.
pub struct Env(Lookup);

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

/// A variable that is missing or malformed, by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// It must be set.
    #[error("the environment variable {0} must be set")]
    Missing(&'static str),
    /// It does not read as what it should be.
    #[error("the environment variable {name} must be {expected}, not {found:?}")]
    Malformed {
        /// Which.
        name: &'static str,
        /// In words.
        expected: String,
        /// Its value.
        found: String,
    },
}

impl Env {
    /// This process's environment.
    pub fn process() -> Self {
        Self(Box::new(|name| std::env::var(name).ok()))
    }

    /// Variables from elsewhere.
    pub fn from_fn(variable: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self(Box::new(variable))
    }

    /// The variable's value, if set.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// The variable's value.
    pub fn required(&self, name: &'static str) -> Result<String, EnvError> {
        self.optional(name).ok_or(EnvError::Missing(name))
    }

    /// A number within bounds, or the default.
    pub fn number<N>(&self, name: &'static str, default: N, min: N, max: N) -> Result<N, EnvError>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(found) = self.optional(name) else { return Ok(default) };
        match found.trim().parse() {
            Ok(number) if min <= number && number <= max => Ok(number),
            _ => Err(EnvError::Malformed { name, expected: format!("a number from {min} to {max}"), found }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_number_is_reported_by_the_name_of_its_variable() {
        let env = Env::from_fn(|name| (name == "AGENTS").then(|| "many".to_owned()));
        assert_eq!(
            env.number("AGENTS", 1, 0, 9).unwrap_err().to_string(),
            "the environment variable AGENTS must be a number from 0 to 9, not \"many\""
        );
        assert_eq!(env.number("OTHER", 1, 0, 9), Ok(1));
    }
}
