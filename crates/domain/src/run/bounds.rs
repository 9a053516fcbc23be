//! Bounds on what a run records and returns.

use std::collections::HashSet;

use super::{ToolCall, ToolCallRecord};
use crate::{Answer, ErrorType, Failure, MAX_JSON_VALUES, Outcome, cut};

/// Bytes of a result as JSON. A Lambda response can have 6 MB.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a result in a Lambda response. Leaves room for the other fields of a task status.
const MAX_RESPONSE_BYTES: usize = 5_900_000;
/// Bytes of arguments and results in all returned tool calls. As JSON in a Lambda response they
/// may take several times as many.
const MAX_SHOWN_BYTES: usize = 512 * 1024;
/// Bytes of a call's id and of its tool's name.
const MAX_CALL_NAME_BYTES: usize = 256;

/// Makes the ids of calls unique, because results refer to them. Some providers send no id, or
/// the same id twice. Long ids are replaced because every later request repeats them. Long names
/// are cut, because no tool has a long name.
pub(super) fn name_calls(calls: &mut [ToolCall], turn: u32) {
    let mut seen = HashSet::new();
    for (place, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty()
            || call.id.len() > MAX_CALL_NAME_BYTES
            || !seen.insert(call.id.clone())
        {
            call.id = format!("call_{turn}_{}", place + 1);
        }
        if call.name.len() > MAX_CALL_NAME_BYTES {
            call.name = cut(&call.name, MAX_CALL_NAME_BYTES);
        }
    }
}

/// Limits the size of the calls in a task's result. If there are many long ones, the later ones
/// are returned without arguments and result.
pub(super) fn showable(mut calls: Vec<ToolCallRecord>) -> Vec<ToolCallRecord> {
    let (mut bytes_left, mut values_left) = (MAX_SHOWN_BYTES, MAX_JSON_VALUES);
    for call in &mut calls {
        let (bytes, values) = call.size();
        match bytes_left
            .checked_sub(bytes)
            .zip(values_left.checked_sub(values))
        {
            Some(left) => (bytes_left, values_left) = left,
            None => call.leave_out(),
        }
    }
    calls
}

/// Whether this JSON fits in a Lambda response. There it is a string within JSON, in which quotes
/// and line ends are escaped again.
pub fn fits_lambda_response(json: &str) -> bool {
    let escapes = json
        .bytes()
        .filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t'))
        .count();
    json.len() + escapes <= MAX_RESPONSE_BYTES
}

/// A SUCCESS if the answer fits in a response, otherwise a FAILURE.
pub(super) fn success_if_it_fits(answer: Answer) -> Outcome {
    let json = serde_json::to_string(&answer).unwrap_or_default();
    if !json.is_empty() && json.len() <= MAX_RESULT_BYTES && fits_lambda_response(&json) {
        return Outcome::Success(answer);
    }
    let too_large = "The result is larger than 4194304 bytes of JSON; reduce the size of answers and tool responses";
    Outcome::Failure(Failure {
        tool_calls: answer.tool_calls,
        ..Failure::permanent(ErrorType::BudgetExceeded, too_large)
    })
}
