//! `search_sources`: the passages of the agent's sources that speak to a query.

use domain::ToolSpec;
use domain::agent::SEARCH_SOURCES;
use serde_json::{Map, Value, json};
use store::{AgentRecord, error_chain};

use super::{CallError, Found};
use crate::Sources;

/// Passages told if the model names no number.
const USUAL: u64 = 5;
/// Most passages of one search.
const MOST: u64 = 20;

/// Search of one agent's sources.
pub(super) struct SearchSources<'a> {
    pub(super) sources: &'a Sources,
    pub(super) record: &'a AgentRecord,
}

pub(super) fn spec() -> ToolSpec {
    ToolSpec {
        name: SEARCH_SOURCES.to_owned(),
        description: "Search this agent's documents. Returns the passages that match the query best, \
                      each with the title of its document."
            .to_owned(),
        parameters: json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Words to look for" },
                "limit": {
                    "type": "integer", "minimum": 1, "maximum": MOST,
                    "description": "How many passages at most",
                },
            },
            "required": ["query"],
            "additionalProperties": false,
        }),
    }
}

impl SearchSources<'_> {
    pub(super) async fn call(&self, arguments: &Map<String, Value>) -> Result<Found, CallError> {
        let (query, limit) = wanted(arguments)?;
        let passages = self.sources.search(self.record, query, limit).await.map_err(|error| {
            tracing::error!(error = error_chain(&error), "sources not searched");
            CallError("The documents could not be searched.".to_owned())
        })?;
        let content = match passages.is_empty() {
            true => "No passage speaks of that.".to_owned(),
            false => passages.iter().map(|found| format!("## {}\n{}\n\n", found.title, found.text)).collect(),
        };
        Ok(Found { content, passages })
    }
}

fn wanted(arguments: &Map<String, Value>) -> Result<(String, usize), CallError> {
    let query = arguments.get("query").and_then(Value::as_str).filter(|query| !query.trim().is_empty());
    let query =
        query.ok_or_else(|| CallError("`query` must be a text with the words to look for.".to_owned()))?;
    let limit = arguments.get("limit").map_or(Some(USUAL), Value::as_u64);
    let limit = limit.filter(|limit| (1..=MOST).contains(limit));
    let limit = limit.ok_or_else(|| CallError(format!("`limit` must be a number from 1 to {MOST}.")))?;
    Ok((query.to_owned(), usize::try_from(limit).unwrap_or(usize::MAX)))
}
