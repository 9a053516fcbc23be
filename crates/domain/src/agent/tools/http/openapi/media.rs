//! The media types of `content`.

use serde_json::Value;

use crate::agent::tools::http::body::BodyFormat;

/// The schema of a media type without one.
pub(super) const ANYTHING: &Value = &Value::Bool(true);

/// The schema under a JSON media type of `content`.
pub(super) fn json_media(value: &Value) -> Option<&Value> {
    let content = value.get("content")?.as_object()?;
    let is_json = |name: &str| {
        BodyFormat::of(Some(name)) == Some(BodyFormat::Json) || media_type(name) == "*/*"
    };
    content
        .iter()
        .find(|(name, _)| is_json(name))
        .map(|(_, media)| media.get("schema").unwrap_or(ANYTHING))
}

pub(super) fn media_type(name: &str) -> String {
    let kind = name.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}
