//! Checks of all tools of an agent together, and what the kinds of tools share.

use serde_json::Value;
use url::Url;

use super::names::{ExposedNames, ToolNames};
use super::{OBJECT_LISTS, OBJECTS, Tool, ToolError};
use crate::agent::credential::has_user_info;

/// Tools of one agent, as the model sees them. The largest providers accept 128 in a
/// request.
const MAX_TOOLS: usize = 128;
/// Bytes of an agent's tools as JSON. They share an item of 400 KB with its prompt and
/// sources, and are sent to the model in every turn.
const MAX_TOOLS_BYTES: usize = 64 * 1024;

/// Requires JSON objects: serde would also read a struct from an array, by position.
pub(in crate::agent) fn check_shape(tools: &Value) -> Result<(), &'static str> {
    for tool in tools.as_array().into_iter().flatten() {
        if !tool.is_object() {
            return Err("Each of `tools`");
        }
        for (path, what) in OBJECTS {
            if !matches!(
                tool.pointer(path),
                None | Some(Value::Null | Value::Object(_))
            ) {
                return Err(what);
            }
        }
        for (field, what) in OBJECT_LISTS {
            let list = tool.get(field).and_then(Value::as_array);
            if !list.into_iter().flatten().all(Value::is_object) {
                return Err(what);
            }
        }
    }
    Ok(())
}

/// Checks that tools can be offered to a model and called.
pub(in crate::agent) fn check_tools(tools: &[Tool]) -> Result<(), ToolError> {
    let (mut names, exposed) = (ToolNames::default(), ExposedNames::new(tools));
    for tool in tools {
        tool.check(&exposed, &mut names)?;
    }
    if names.count() > MAX_TOOLS {
        return Err(ToolError::TooMany);
    }
    match serde_json::to_vec(tools).map_or(usize::MAX, |json| json.len()) {
        ..=MAX_TOOLS_BYTES => Ok(()),
        _ => Err(ToolError::TooLarge),
    }
}

/// Parses an absolute http or https URL that has neither user info nor a fragment.
pub(super) fn plain_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = text.len() <= 2048
        && matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && !has_user_info(&url)
        && url.fragment().is_none();
    plain.then_some(url)
}
