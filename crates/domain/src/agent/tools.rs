//! What an agent may use.

use serde::{Deserialize, Serialize};

/// A tool, or a set of them, as its owner describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tool {
    /// Search of the agent's own documents.
    SearchSources {},
}
