//! Follows references in the document.

use serde_json::Value;

use super::OperationError;

/// Length of a chain of references.
const MAX_REFERENCES: usize = 16;

/// The value itself, or the value that its references lead to in the document.
pub(super) fn resolve<'d>(
    document: &'d Value,
    value: &'d Value,
) -> Result<&'d Value, OperationError> {
    let mut value = value;
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
            return Ok(value);
        };
        value = target(document, reference)?;
    }
    Err(OperationError::Reference("$ref".to_owned()))
}

/// The value that a reference points to: a pointer into the document (RFC 6901 section 6).
pub(super) fn target<'d>(
    document: &'d Value,
    reference: &str,
) -> Result<&'d Value, OperationError> {
    let shown = || crate::cut(reference, 200);
    let pointer = reference
        .strip_prefix('#')
        .ok_or_else(|| OperationError::ExternalReference(shown()))?;
    let pointer = percent_encoding::percent_decode_str(pointer).decode_utf8();
    pointer
        .ok()
        .and_then(|pointer| document.pointer(&pointer))
        .ok_or_else(|| OperationError::Reference(shown()))
}
