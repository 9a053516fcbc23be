//! What a server says about its error, in a form that can be shown and stored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the server that a run called said about its error: identifiers, never its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// The HTTP status. For an error in a 200 response, the status that the body names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The type of the error, such as `invalid_request_error`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The error code: the most exact one that the response contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The parameter of the request that the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// The id under which the server's operator finds the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The server's own text. Only for the log, and only if the operator wants it there.
    #[serde(skip)]
    #[schema(ignore)]
    pub text: String,
}
