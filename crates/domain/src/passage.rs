//! A passage of a source.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A passage of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// The title of the source.
    pub title: String,
    /// The text of the passage.
    pub text: String,
    /// The origin: a URL or a file name. For a text in the agent's definition, its title.
    pub source: String,
}
