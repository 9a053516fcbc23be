//! Errors of an agent's tools.

use super::OpenApiError;

/// Why an agent's tools are not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("`tools`: the name `{0}` must have 1 to 64 letters, digits, `_` or `-`")]
    Name(String),
    #[error("`tools`: the name `{0}` is given twice; names must be unique")]
    Twice(String),
    #[error("`tools` contain more than 128 tools; allow fewer operations")]
    TooMany,
    #[error("`tools` contain more than 65536 bytes of JSON; allow fewer operations, or shorten them")]
    TooLarge,
    /// `allow` without an OpenAPI document.
    #[error(
        "`allow` of the tool `{0}` selects operations of an OpenAPI document; send the document as `openapi`"
    )]
    Allow(String),
    #[error("The tool `{tool}`: {source}")]
    OpenApi { tool: String, source: OpenApiError },
    #[error("The tool `{0}` has no operations, or its `allow` is empty")]
    Empty(String),
    #[error(
        "`base_url` of the tool `{0}` must be an absolute http or https URL without credentials, query or fragment, of at most 2048 characters"
    )]
    BaseUrl(String),
    #[error(
        "`url` of the tool `{0}` must be an absolute http or https URL without credentials (also in its query) or fragment, of at most 2048 characters"
    )]
    McpUrl(String),
    #[error(
        "`url` of the tool `{tool}` must not contain credentials such as `{parameter}`; send the credential as a header with {{\"secret\": \"NAME\"}}"
    )]
    McpUrlCredential { tool: String, parameter: String },
    #[error("`approval` of the tool `{tool}` contains `{name}`, which is not in its `allow`")]
    Approval { tool: String, name: String },
    #[error("`{field}` of the tool `{tool}` must be from 1 to {max}")]
    Limit { tool: String, field: &'static str, max: u64 },
    #[error("The tool `{0}` has more than 32 headers")]
    TooManyHeaders(String),
    /// The header's name or value cannot be sent, or the HTTP client sets this header.
    #[error(
        "The header `{header}` of the tool `{tool}` must be a header that a client may set, with printable ASCII characters"
    )]
    Header { tool: String, header: String },
    #[error(
        "The header `{header}` of the tool `{tool}` contains a credential, which is not stored in clear text; store it with `agent-webhooks secret set NAME` and write {{\"secret\": \"NAME\"}}, if needed with \"prefix\": \"Bearer \""
    )]
    Credential { tool: String, header: String },
    #[error(
        "`path` of the operation `{operation}` contains a credential in its query, `{parameter}`, which is not stored in clear text; send it as a header with {{\"secret\": \"NAME\"}}"
    )]
    QueryCredential { operation: String, parameter: String },
    /// The name of a secret is malformed or reserved.
    #[error(
        "The secret `{secret}` of the tool `{tool}` must be a name of letters, digits and - _ . /, and must not start with `agents/`, which is reserved"
    )]
    Secret { tool: String, secret: String },
    #[error(
        "`path` of the operation `{0}` must start with `/` and have no `#`, no `\\`, no `.` or `..` as a segment in any encoding, and each `{{argument}}` before any `?`"
    )]
    Path(String),
    #[error(
        "`{{{argument}}}` in `path` of the operation `{operation}` must be among its `parameters`, and `required`"
    )]
    PathArgument { operation: String, argument: String },
    /// A place or a wire name for an unknown argument, or two places for one argument.
    #[error(
        "`{argument}` of the operation `{operation}` has a place or a wire name but is not among its `parameters`, or has two places"
    )]
    Place { operation: String, argument: String },
    #[error(
        "`parameters` of the operation `{operation}` must be the JSON schema of an object, without references to anything outside the schema: {why}"
    )]
    Parameters { operation: String, why: String },
}
