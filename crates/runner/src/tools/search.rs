//! `search_sources`: returns the passages of the agent's sources that match a query.

use domain::ToolSpec;
use domain::agent::tools::SEARCH_SOURCES;
use serde_json::{Map, Value, json};
use store::error_chain;

use super::call::{CallError, ToolOutput};
use super::context::Searched;

/// The number of passages if the model gives no limit.
const DEFAULT_LIMIT: u64 = 5;
const MAX_LIMIT: u64 = 20;

pub(super) struct SearchSources<'a>(Searched<'a>);

pub(super) fn search_spec() -> ToolSpec {
    ToolSpec {
        name: SEARCH_SOURCES.to_owned(),
        description:
            "Search this agent's documents. Returns the passages that match the query best, \
                      each with the title of its document."
                .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Words to look for" },
                "limit": {
                    "type": "integer", "minimum": 1, "maximum": MAX_LIMIT,
                    "description": "How many passages at most",
                },
            },
            "required": ["query"],
            "additionalProperties": false,
        }),
    }
}

impl<'a> SearchSources<'a> {
    pub(super) const fn new(searched: Searched<'a>) -> Self {
        Self(searched)
    }

    pub(super) async fn call(
        &self,
        arguments: &Map<String, Value>,
    ) -> Result<ToolOutput, CallError> {
        let (query, limit) = parse_search(arguments)?;
        let Searched { sources, record } = self.0;
        let passages = sources.search(record, query, limit).await;
        let passages = passages.map_err(|error| {
            tracing::error!(error = error_chain(&error), "sources not searched");
            CallError("The documents could not be searched.".to_owned())
        })?;
        let content = match passages.is_empty() {
            true => "No passages match.".to_owned(),
            false => passages
                .iter()
                .map(|found| format!("## {}\n{}\n\n", found.title, found.text))
                .collect(),
        };
        Ok(ToolOutput { content, passages })
    }
}

fn parse_search(arguments: &Map<String, Value>) -> Result<(String, usize), CallError> {
    let query = arguments
        .get("query")
        .and_then(Value::as_str)
        .filter(|query| !query.trim().is_empty());
    let query = query.ok_or_else(|| {
        CallError("`query` must be a text with the words to look for.".to_owned())
    })?;
    let limit = arguments
        .get("limit")
        .map_or(Some(DEFAULT_LIMIT), Value::as_u64);
    let limit = limit.filter(|limit| (1..=MAX_LIMIT).contains(limit));
    let limit = limit
        .ok_or_else(|| CallError(format!("`limit` must be a number from 1 to {MAX_LIMIT}.")))?;
    Ok((
        query.to_owned(),
        usize::try_from(limit).unwrap_or(usize::MAX),
    ))
}
