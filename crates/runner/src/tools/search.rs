//! `search_sources`: the passages of the agent's sources that speak to a query.

use domain::agent::SEARCH_SOURCES;
use domain::{AgentDraft, ToolSpec};
use serde_json::{Map, Value, json};

use super::{CallError, Found};
use crate::passages;

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
            },
            "required": ["query"],
            "additionalProperties": false,
        }),
    }
}

pub(super) fn call(draft: &AgentDraft, arguments: &Map<String, Value>) -> Result<Found, CallError> {
    let Some(query) = arguments.get("query").and_then(Value::as_str).filter(|query| !query.trim().is_empty())
    else {
        return Err(CallError("`query` must be a text with the words to look for.".to_owned()));
    };
    let passages = passages::best(&draft.sources, query);
    let content = match passages.is_empty() {
        true => "No passage speaks of that.".to_owned(),
        false => passages.iter().map(|found| format!("## {}\n{}\n\n", found.title, found.text)).collect(),
    };
    Ok(Found { content, passages })
}
