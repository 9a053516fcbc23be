//! Only the error codes that model providers document are logged: a server may put anything
//! into its errors, such as the payload or the key that it received.

use domain::Provider;

use super::protocol;

/// Logged instead of any other code.
const UNLISTED: &str = "unlisted";

/// Returns the code if one of the providers documents it. A proxy may pass on the codes of
/// another provider.
pub(super) fn loggable_code(code: &str) -> &'static str {
    let listed = Provider::ALL
        .into_iter()
        .filter_map(protocol)
        .flat_map(|protocol| protocol.error_codes);
    listed
        .copied()
        .find(|listed| *listed == code)
        .unwrap_or(UNLISTED)
}

/// The fields of requests that an error may be about.
const PARAMS: [&str; 16] = [
    "additionalModelRequestFields",
    "inferenceConfig",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "output_config",
    "response_format",
    "stream",
    "system",
    "temperature",
    "tool_choice",
    "toolConfig",
    "tools",
    "top_p",
    "reasoning_effort",
];

/// The field of the request that this parameter is in, such as `tools` for `tools[0].function`.
pub(super) fn loggable_param(param: &str) -> &'static str {
    let field = param.split(['.', '[']).next().unwrap_or_default();
    let listed = PARAMS.into_iter().find(|listed| *listed == field);
    listed.unwrap_or(UNLISTED)
}

/// The shortest id of a request. All known ones are longer.
const SHORTEST_ID: usize = 8;

/// Whether an identifier can be the id of a request, rather than a word.
pub(super) fn is_loggable_id(id: &str) -> bool {
    id.len() >= SHORTEST_ID
        && id.bytes().any(|byte| byte.is_ascii_digit())
        && !id.contains(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_logged_if_it_is_documented() {
        for code in [
            "invalid_api_key",
            "overloaded_error",
            "ThrottlingException",
            "RESOURCE_EXHAUSTED",
        ] {
            assert_eq!(loggable_code(code), code);
        }
        for code in ["sk_live_key", "", "Invalid_Api_Key", "the_payload"] {
            assert_eq!(loggable_code(code), UNLISTED);
        }
    }
}
