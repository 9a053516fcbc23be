//! Errors of a tool of the kind `http`.

use super::OpenApiError;

/// Why an HTTP API is not valid. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub enum HttpToolError {
    /// `allow` without an OpenAPI document.
    #[error(
        "`allow` of the tool `{0}` selects operations of an OpenAPI document; send the document as `openapi`"
    )]
    Allow(String),
    #[error("The tool `{tool}`: {source}")]
    OpenApi { tool: String, source: OpenApiError },
    #[error(
        "`base_url` of the tool `{0}` must be an absolute http or https URL without credentials, query or fragment, of at most 2048 characters"
    )]
    BaseUrl(String),
    #[error(
        "`path` of the operation `{operation}` contains a credential in its query, `{parameter}`, which is not stored in clear text; send it as a header with {{\"secret\": \"NAME\"}}"
    )]
    QueryCredential {
        operation: String,
        parameter: String,
    },
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
        "`styles` of the operation `{operation}`: `{argument}` is not among its `parameters`, or its style is not for its place"
    )]
    Style { operation: String, argument: String },
    #[error(
        "`content_type` of the operation `{0}` must be a JSON type, `application/x-www-form-urlencoded`, or, with `body`, `text/plain`"
    )]
    ContentType(String),
    #[error(
        "`parameters` of the operation `{operation}` must be the JSON schema of an object, without references to anything outside the schema: {why}"
    )]
    Parameters { operation: String, why: String },
}
