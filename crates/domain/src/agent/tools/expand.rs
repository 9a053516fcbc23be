//! Imports operations into tools when an agent is saved.

use super::{HttpTool, Tool, ToolError, import_openapi};

/// Imports the operations of the tools' OpenAPI documents.
pub(in crate::agent) fn expand(tools: &mut [Tool]) -> Result<(), ToolError> {
    for tool in tools {
        if let Tool::Http(tool) = tool {
            tool.expand()?;
        }
    }
    Ok(())
}

impl HttpTool {
    fn expand(&mut self) -> Result<(), ToolError> {
        let Some(document) = self.openapi.take() else {
            return if self.allow.is_empty() { Ok(()) } else { Err(ToolError::Allow(self.name.clone())) };
        };
        let imported = import_openapi(&document, &self.allow);
        let imported = imported.map_err(|source| ToolError::OpenApi { tool: self.name.clone(), source })?;
        self.allow.clear();
        self.operations.extend(imported.operations);
        if let (true, Some(base_url)) = (self.base_url.is_empty(), imported.base_url) {
            self.base_url = base_url;
        }
        Ok(())
    }
}
