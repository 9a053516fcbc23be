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
