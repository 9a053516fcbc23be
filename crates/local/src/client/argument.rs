//! The values of arguments: texts, files and standard input.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::ClientError;

/// Reads a file with a JSON object.
pub(crate) fn read_object(file: &Path) -> Result<Map<String, Value>, ClientError> {
    let what = file.display().to_string();
    let json = read_argument(&format!("@{what}"))?;
    serde_json::from_str(&json).map_err(|_| ClientError::NotJson { what })
}

/// Reads the value of an argument: `@FILE`, `-` for standard input, or the text itself.
pub(crate) fn read_argument(argument: &str) -> Result<String, ClientError> {
    let named = |what: &str, result: std::io::Result<String>| {
        result.map_err(|source| ClientError::Read {
            what: what.to_owned(),
            source,
        })
    };
    if argument == "-" {
        let mut text = String::new();
        return named(
            "standard input",
            std::io::stdin().read_to_string(&mut text).map(|_| text),
        );
    }
    match argument.strip_prefix('@') {
        Some(path) => named(path, std::fs::read_to_string(path)),
        None => Ok(argument.to_owned()),
    }
}
