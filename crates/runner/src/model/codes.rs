//! The error codes that model providers document. Only these are logged: a server may put
//! anything into its errors, such as the payload or the key that it received.

/// Logged instead of any other code.
const UNLISTED: &str = "unlisted";

/// OpenAI (<https://platform.openai.com/docs/guides/error-codes>) and servers of its
/// protocol: Azure, Groq, LiteLLM, llama.cpp, Ollama, Gemini, vLLM and text-generation-inference.
const OPENAI: [&str; 65] = [
    "BadRequestError",
    "DeploymentNotFound",
    "Forbidden",
    "InternalServerError",
    "NotFoundError",
    "OperationNotSupported",
    "PermissionDenied",
    "RateLimitError",
    "RateLimitReached",
    "ResourceNotFound",
    "Unauthorized",
    "DEADLINE_EXCEEDED",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "account_deactivated",
    "array_above_max_length",
    "auth_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "budget_exceeded",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "context_window_exceeded",
    "engine_overloaded",
    "exceed_context_size_error",
    "insufficient_quota",
    "insufficient_system_resource",
    "integer_above_max_value",
    "integer_below_min_value",
    "internal_error",
    "internal_server_error",
    "invalid_api_key",
    "invalid_function_parameters",
    "invalid_json",
    "invalid_organization",
    "invalid_prompt",
    "invalid_type",
    "invalid_value",
    "ip_not_authorized",
    "json_validate_failed",
    "mismatched_organization",
    "missing_required_parameter",
    "model_decommissioned",
    "model_loading",
    "model_not_found",
    "not_supported_error",
    "overloaded",
    "rate_limit_exceeded",
    "requests",
    "server_error",
    "slow_down",
    "string_above_max_length",
    "tokens",
    "tool_use_failed",
    "unavailable_error",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
];

/// Anthropic (<https://docs.claude.com/en/api/errors>).
const ANTHROPIC: [&str; 11] = [
    "api_error",
    "authentication_error",
    "billing_error",
    "invalid_request_error",
    "not_found_error",
    "overloaded_error",
    "permission_error",
    "rate_limit_error",
    "request_too_large",
    "timeout_error",
    "unsupported_country_region_territory",
];

/// Bedrock
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>)
/// and the common errors of AWS
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>).
const BEDROCK: [&str; 20] = [
    "AccessDeniedException",
    "ConflictException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InternalFailure",
    "InternalServerException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelTimeoutException",
    "OptInRequired",
    "RequestExpired",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

/// Returns the code if it is documented.
pub(super) fn loggable_code(code: &str) -> &'static str {
    let listed = OPENAI.iter().chain(&ANTHROPIC).chain(&BEDROCK);
    listed.copied().find(|listed| *listed == code).unwrap_or(UNLISTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_logged_if_it_is_documented() {
        for code in ["invalid_api_key", "overloaded_error", "ThrottlingException", "RESOURCE_EXHAUSTED"] {
            assert_eq!(loggable_code(code), code);
        }
        for code in ["sk_live_key", "", "Invalid_Api_Key", "the_payload"] {
            assert_eq!(loggable_code(code), UNLISTED);
        }
    }
}
