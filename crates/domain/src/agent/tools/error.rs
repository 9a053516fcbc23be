//! What can be wrong with tools.

use super::OpenApiError;

/// What is wrong with an agent's tools, in words for its owner.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// A name is none.
    #[error("`tools`: the name `{0}` must have 1 to 64 letters, digits, `_` or `-`")]
    Name(String),
    /// Two tools have one name.
    #[error("`tools`: the name `{0}` is given twice")]
    Twice(String),
    /// Too many.
    #[error("`tools` hold more than 128 tools; allow fewer operations")]
    TooMany,
    /// Too large.
    #[error("`tools` hold more than 65536 bytes of JSON; allow fewer operations, or shorten them")]
    TooLarge,
    /// `allow` without a document to allow operations of.
    #[error("`allow` of the tool `{0}` names operations of an OpenAPI document: give it as `openapi`")]
    Allow(String),
    /// The document is of no use.
    #[error("the tool `{tool}`: {source}")]
    OpenApi {
        /// Whose.
        tool: String,
        /// Why.
        source: OpenApiError,
    },
    /// A set without a tool.
    #[error("the tool `{0}` has no operations, or allows none")]
    Empty(String),
    /// The base URL is none.
    #[error(
        "`base_url` of the tool `{0}` must be an absolute http or https URL without credentials, query or fragment, of at most 2048 characters"
    )]
    BaseUrl(String),
    /// The endpoint is none.
    #[error(
        "`url` of the tool `{0}` must be an absolute http or https URL without credentials (also in its query) or fragment, of at most 2048 characters"
    )]
    McpUrl(String),
    /// A credential in the query of the endpoint.
    #[error(
        "`url` of the tool `{tool}` must be a URL without credentials, but `{parameter}` in it is one: send it as a header with {{\"secret\": \"NAME\"}}"
    )]
    McpUrlCredential {
        /// The tool's name.
        tool: String,
        /// The parameter of the query.
        parameter: String,
    },
    /// Approval of what is not allowed.
    #[error("`approval` of the tool `{tool}` names `{name}`, which is not in its `allow`")]
    Approval {
        /// Whose.
        tool: String,
        /// Which.
        name: String,
    },
    /// A number is out of range.
    #[error("`{field}` of the tool `{tool}` must be from 1 to {max}")]
    Limit {
        /// Whose.
        tool: String,
        /// Which.
        field: &'static str,
        /// Its largest value.
        max: u64,
    },
    /// Too many headers.
    #[error("the tool `{0}` has more than 32 headers")]
    TooManyHeaders(String),
    /// A header's name or value cannot be sent, or is not the owner's to set.
    #[error(
        "the header `{header}` of the tool `{tool}` must be one that a client may set, of printable ASCII characters"
    )]
    Header {
        /// Whose.
        tool: String,
        /// Which.
        header: String,
    },
    /// A credential in clear.
    #[error(
        "the header `{header}` of the tool `{tool}` carries a credential, which is not kept in clear: store it with `agent-webhooks secret set NAME` and write {{\"secret\": \"NAME\"}}, if need be with \"prefix\": \"Bearer \""
    )]
    Credential {
        /// Whose.
        tool: String,
        /// Which.
        header: String,
    },
    /// A credential in the query of a path.
    #[error(
        "`path` of the operation `{operation}` carries a credential in its query, `{parameter}`, which is not kept in clear: send it as a header with {{\"secret\": \"NAME\"}}"
    )]
    QueryCredential {
        /// The operation's name.
        operation: String,
        /// The parameter of the query.
        parameter: String,
    },
    /// A secret name that is malformed or reserved.
    #[error(
        "the secret `{secret}` of the tool `{tool}` must be a name of letters, digits and - _ . /, and none under `agents/`, which is kept for agents' own keys"
    )]
    Secret {
        /// Whose.
        tool: String,
        /// Which.
        secret: String,
    },
    /// The path is no template.
    #[error(
        "`path` of the operation `{0}` must begin with `/` and have no `#`, no `\\`, no `.` or `..` as a part in any encoding, and each `{{argument}}` before any `?`"
    )]
    Path(String),
    /// The path names an argument that there may not be.
    #[error(
        "`{{{argument}}}` in `path` of the operation `{operation}` must be among its `parameters`, and `required`"
    )]
    PathArgument {
        /// Whose.
        operation: String,
        /// Which.
        argument: String,
    },
    /// A place is given for an argument that there is not.
    #[error(
        "`{argument}` of the operation `{operation}` is given a place or a name, but is not among its `parameters`, or has two places"
    )]
    Place {
        /// Whose.
        operation: String,
        /// Which.
        argument: String,
    },
    /// The parameters are no schema.
    #[error(
        "`parameters` of the operation `{operation}` must be the JSON schema of an object that refers to nothing outside of itself: {why}"
    )]
    Parameters {
        /// Whose.
        operation: String,
        /// What is wrong.
        why: String,
    },
}
