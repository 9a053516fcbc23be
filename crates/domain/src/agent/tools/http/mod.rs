//! An HTTP API as a set of tools. Each operation is a tool.

mod arguments;
mod body;
mod check;
mod error;
mod openapi;
mod request;
mod style;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::limits::{max_response_bytes, timeout_seconds};
use super::{HeaderSource, OAuth, ToolError};
pub use arguments::ArgumentError;
pub use body::RequestBody;
pub use error::HttpToolError;
pub use openapi::{
    DocumentError, ImportSource, ImportedApi, LeftOut, ListedApi, ListedOperation, OpenApiError,
    OperationError, import_openapi, list_openapi, parse_api_document,
};
pub use request::{CheckedOperation, ToolRequest};
pub use style::{ArgumentStyle, StyleName};

/// The operations of an HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpTool {
    /// The name of the set of tools, for its owner.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// The base URL, to which each operation's path is appended. The default is the first
    /// server of the OpenAPI document.
    #[serde(default)]
    #[schema(max_length = 2048, pattern = "^(https?://.*)?$")]
    pub base_url: String,
    /// Headers sent with every call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderSource>,
    /// How to get the access tokens that are sent with every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// The time limit of one call, in seconds. 1 to 300.
    #[serde(default = "timeout_seconds")]
    #[schema(minimum = 1, maximum = 300, default = timeout_seconds)]
    pub timeout_seconds: u64,
    /// The number of bytes of a response that the model sees. The rest is cut off. 1 to 1,048,576.
    #[serde(default = "max_response_bytes")]
    #[schema(minimum = 1, maximum = 1_048_576, default = max_response_bytes)]
    pub max_response_bytes: usize,
    /// The operations that the model can call.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// An OpenAPI document to import operations from. The operations are stored, the document
    /// is not.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    pub openapi: Option<Value>,
    /// The `operationId`s of the operations to import. The default is all.
    #[serde(default, skip_serializing)]
    #[schema(write_only)]
    pub allow: Vec<String>,
}

/// An operation of an HTTP API. It is one tool for the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The name of the tool, as the model sees it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    /// What the operation does, for the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The HTTP method.
    #[serde(default)]
    pub method: HttpMethod,
    /// The path to append to the base URL. `{argument}` is replaced by an argument.
    #[schema(max_length = 2048, pattern = "^/")]
    pub path: String,
    /// The JSON schema of the arguments. Its type is an object.
    #[serde(default = "no_parameters")]
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// The arguments that are sent in the query. Arguments without a place are also sent in
    /// the query or, for POST, PUT and PATCH, in the body.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// The arguments that are sent as headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The argument that is the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The names of arguments in the request, where they differ from the names that the model
    /// sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wire_names: BTreeMap<String, String>,
    /// How arguments are written in the path, the query, a header or a form. Without a style, a
    /// list in the query is one pair for each value, and an object is JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub styles: BTreeMap<String, ArgumentStyle>,
    /// The media type of the body: JSON (the default), `application/x-www-form-urlencoded`, or
    /// `text/plain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub content_type: Option<String>,
    /// Whether a call needs a person's approval. A webhook run never makes such a call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
}

/// The HTTP method of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl HttpTool {
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    /// The names of its operations.
    pub(super) fn operation_names(&self) -> Vec<String> {
        self.operations
            .iter()
            .map(|operation| operation.name.clone())
            .collect()
    }

    /// Imports the operations of its OpenAPI document.
    pub(super) fn expand(&mut self) -> Result<(), ToolError> {
        let Some(document) = self.openapi.take() else {
            return if self.allow.is_empty() {
                Ok(())
            } else {
                Err(HttpToolError::Allow(self.name.clone()).into())
            };
        };
        let source = ImportSource {
            base_url: Some(self.base_url.as_str()).filter(|url| !url.is_empty()),
            document_url: None,
        };
        let imported = import_openapi(&document, &self.allow, source);
        let imported = imported.map_err(|source| HttpToolError::OpenApi {
            tool: self.name.clone(),
            source,
        })?;
        self.allow.clear();
        self.operations.extend(imported.operations);
        if let Some(base_url) = imported.base_url {
            self.base_url = base_url;
        }
        Ok(())
    }
}

impl HttpMethod {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether arguments without a place are sent in the body.
    pub(super) const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

fn no_parameters() -> Value {
    json!({ "type": "object", "properties": {} })
}
