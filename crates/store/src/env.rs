//! Settings in environment variables. `main` reads them once, into one struct for each part.

use std::fmt::Display;
use std::str::FromStr;

/// Looks up environment variables. An empty variable counts as unset.
pub struct Env(Lookup);

type Lookup = Box<dyn Fn(&str) -> Option<String>>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("the environment variable {0} must be set")]
    Missing(&'static str),
    #[error("the environment variable {name} must be {expected}, not {found:?}")]
    Malformed {
        name: &'static str,
        /// Such as "a number from 1 to 10".
        expected: String,
        found: String,
    },
}

impl Env {
    pub fn process() -> Self {
        Self(Box::new(|name| std::env::var(name).ok()))
    }

    /// For tests.
    pub fn from_fn(variable: impl Fn(&str) -> Option<String> + 'static) -> Self {
        Self(Box::new(variable))
    }

    pub fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    pub fn required(&self, name: &'static str) -> Result<String, EnvError> {
        self.optional(name).ok_or(EnvError::Missing(name))
    }

    /// Returns `false` if the variable is unset.
    pub fn flag(&self, name: &'static str) -> Result<bool, EnvError> {
        let Some(found) = self.optional(name) else {
            return Ok(false);
        };
        found.trim().parse().map_err(|_| EnvError::Malformed {
            name,
            expected: "true or false".to_owned(),
            found,
        })
    }

    /// Returns `default` if the variable is unset. `min` and `max` are inclusive.
    pub fn number<N>(&self, name: &'static str, default: N, min: N, max: N) -> Result<N, EnvError>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(found) = self.optional(name) else {
            return Ok(default);
        };
        match found.trim().parse() {
            Ok(number) if min <= number && number <= max => Ok(number),
            _ => Err(EnvError::Malformed {
                name,
                expected: format!("a number from {min} to {max}"),
                found,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_for_a_malformed_number_names_the_variable() {
        let env = Env::from_fn(|name| (name == "AGENTS").then(|| "many".to_owned()));
        assert_eq!(
            env.number("AGENTS", 1, 0, 9).unwrap_err().to_string(),
            "the environment variable AGENTS must be a number from 0 to 9, not \"many\""
        );
        assert_eq!(env.number("OTHER", 1, 0, 9), Ok(1));
    }
}
