//! The limits of calls to a tool's server, and their defaults.

use super::ToolError;

const MAX_TIMEOUT_SECONDS: u64 = 300;
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

pub(super) fn check_limits(
    tool: &str,
    timeout_seconds: u64,
    max_response_bytes: usize,
) -> Result<(), ToolError> {
    for (field, value, max) in [
        ("timeout_seconds", timeout_seconds, MAX_TIMEOUT_SECONDS),
        (
            "max_response_bytes",
            max_response_bytes as u64,
            MAX_RESPONSE_BYTES as u64,
        ),
    ] {
        if !(1..=max).contains(&value) {
            return Err(ToolError::Limit {
                tool: tool.to_owned(),
                field,
                max,
            });
        }
    }
    Ok(())
}

pub(super) const fn timeout_seconds() -> u64 {
    30
}

pub(super) const fn max_response_bytes() -> usize {
    64 * 1024
}
