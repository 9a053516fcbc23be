//! The names of tools, as the model sees them.

use std::collections::{HashMap, HashSet};

use super::{Tool, ToolError};

/// The names of an agent's tools, each of which must be unique.
#[derive(Default)]
pub(super) struct ToolNames {
    /// As the model sees them.
    tools: HashSet<String>,
    /// The names of APIs and servers.
    sets: HashSet<String>,
}

impl ToolNames {
    /// The number of tools that the model sees.
    pub(super) fn count(&self) -> usize {
        self.tools.len()
    }

    /// Adds the name of a tool, as the model sees it.
    pub(super) fn add(&mut self, name: &str) -> Result<(), ToolError> {
        check_name(name, &mut self.tools)
    }

    /// Adds the name of an API or a server.
    pub(super) fn add_set(&mut self, name: &str) -> Result<(), ToolError> {
        check_name(name, &mut self.sets)
    }
}

fn check_name(name: &str, seen: &mut HashSet<String>) -> Result<(), ToolError> {
    let well_formed = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if !well_formed {
        return Err(ToolError::Name(crate::cut(name, 64)));
    }
    if seen.insert(name.to_owned()) {
        Ok(())
    } else {
        Err(ToolError::Twice(name.to_owned()))
    }
}

/// The names of MCP tools as the model sees them: the server's names, in the characters that
/// models accept. Where two tools would have the same name, the server's name is prepended.
#[derive(Debug)]
pub struct ExposedNames(HashMap<String, usize>);

impl ExposedNames {
    pub fn new(tools: &[Tool]) -> Self {
        let mut counts = HashMap::new();
        for tool in tools {
            for name in tool.preferred_names() {
                *counts.entry(name).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// The name of this server's tool as the model sees it.
    pub fn exposed_name(&self, server: &str, tool: &str) -> String {
        let name = plain(tool);
        match self.0.get(&name) {
            Some(2..) => plain(&format!("{server}_{tool}")),
            _ => name,
        }
    }
}

/// Replaces characters that models do not accept, and cuts the name to 64 characters.
pub(super) fn plain(name: &str) -> String {
    let character = |character: char| {
        if character.is_ascii_alphanumeric() || character == '-' {
            character
        } else {
            '_'
        }
    };
    name.chars().take(64).map(character).collect()
}
