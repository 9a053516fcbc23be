//! The search in the agent's sources.

/// The name of the tool that searches the agent's sources.
pub const SEARCH_SOURCES: &str = "search_sources";
