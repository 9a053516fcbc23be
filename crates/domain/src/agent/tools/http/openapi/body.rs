//! Converts the body of an operation.

use serde_json::{Map, Value, json};

use super::OperationError;
use super::media::{ANYTHING, media_type};
use super::names::plain_argument;
use super::operation::{OperationBuilder, describe};
use super::parameter::can_be;
use crate::agent::tools::http::body::BodyFormat;
use crate::agent::tools::http::style::Place;
use crate::agent::tools::http::{ArgumentStyle, HttpMethod, StyleName};

/// The media type of a body that is sent.
struct BodyMedia<'d> {
    content_type: Option<String>,
    format: BodyFormat,
    schema: &'d Value,
    /// The `encoding` of fields of a form.
    encoding: Option<&'d Map<String, Value>>,
}

impl<'d> OperationBuilder<'d> {
    pub(super) fn body(&mut self, body: &'d Value) -> Result<(), OperationError> {
        let is_required = body.get("required") == Some(&Value::Bool(true));
        let has_media = |body: &Value| {
            body.get("content")
                .is_none_or(|content| content != &json!({}))
        };
        let is_bodiless = matches!(self.operation.method, HttpMethod::Get | HttpMethod::Head);
        // Servers refuse a body of a GET (RFC 9110 section 9.3.1).
        if !is_required && (is_bodiless || !has_media(body)) {
            return Ok(());
        }
        // Converted even if it is optional: the body is the purpose of the operation.
        let media = supported_media(body)?;
        let is_form = media.format == BodyFormat::Form;
        // Generated documents give every DELETE a form without required fields.
        if is_form && !is_required && !self.operation.method.has_body() {
            return Ok(());
        }
        let mut schema = self.schemas.copy(media.schema)?;
        self.operation.content_type = media.content_type;
        if media.format != BodyFormat::Text
            && self.takes_fields_of(&schema, is_required || is_form)
            && let Some(Value::Object(fields)) = schema.get_mut("properties").map(Value::take)
        {
            let required = schema.get("required").and_then(Value::as_array);
            let required = required
                .filter(|_| is_required)
                .cloned()
                .unwrap_or_default();
            for (name, schema) in fields {
                if is_form && let Some(style) = field_style(media.encoding, &name)? {
                    self.operation.styles.insert(name.clone(), style);
                }
                let is_required = required.iter().any(|required| required == name.as_str());
                self.add(name, schema, is_required);
            }
            return Ok(());
        }
        if is_form && !can_be(&schema, "object") {
            return Err(OperationError::Malformed("form"));
        }
        if is_form && media.encoding.is_some_and(|encoding| !encoding.is_empty()) {
            return Err(OperationError::Encoding);
        }
        if media.format == BodyFormat::Text && !schema.is_object() {
            schema = json!({ "type": "string" });
        }
        let argument = self.name("body", "json");
        let text = body
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        describe(&mut schema, text);
        self.operation.body = Some(argument.clone());
        self.add(argument, schema, is_required);
        Ok(())
    }

    /// Whether the fields of a body can be arguments beside the others: the schema has no
    /// constraints besides its fields.
    fn takes_fields_of(&self, schema: &Value, is_required: bool) -> bool {
        const ALL: [&str; 6] = [
            "type",
            "title",
            "description",
            "properties",
            "required",
            "additionalProperties",
        ];
        let Some(fields) = schema.as_object() else {
            return false;
        };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return false;
        };
        // An optional body with required fields is one argument.
        let may_be_empty = schema
            .get("required")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
        self.operation.method.has_body()
            && (is_required || may_be_empty)
            && fields.keys().all(|name| ALL.contains(&name.as_str()))
            && schema
                .get("additionalProperties")
                .is_none_or(Value::is_boolean)
            && !properties.is_empty()
            && properties
                .keys()
                .all(|name| plain_argument(name) == *name && !self.properties.contains_key(name))
    }
}

/// The first supported media type of a body: JSON, a form, or text.
fn supported_media(body: &Value) -> Result<BodyMedia<'_>, OperationError> {
    let content = body.get("content").and_then(Value::as_object);
    let content = content.ok_or(OperationError::Malformed("body"))?;
    let supported = |wanted: fn(&str) -> Option<BodyFormat>| {
        content
            .iter()
            .find_map(|(name, media)| Some((name, media, wanted(&media_type(name))?)))
    };
    let by_format = |format: BodyFormat| {
        content.iter().find_map(|(name, media)| {
            let found = BodyFormat::of(Some(name))?;
            (found == format).then_some((name, media, found))
        })
    };
    let plain_json: fn(&str) -> Option<BodyFormat> =
        |name| (name == "application/json").then_some(BodyFormat::Json);
    let any: fn(&str) -> Option<BodyFormat> = |name| {
        ["*/*", "application/*"]
            .contains(&name)
            .then_some(BodyFormat::Json)
    };
    // Kubernetes lists the patch formats too. Only this one is an object with the new fields.
    let merge_patch: fn(&str) -> Option<BodyFormat> =
        |name| (name == "application/merge-patch+json").then_some(BodyFormat::Json);
    let found = supported(plain_json)
        .or_else(|| supported(merge_patch))
        .or_else(|| by_format(BodyFormat::Json))
        .or_else(|| supported(any))
        .or_else(|| by_format(BodyFormat::Form))
        .or_else(|| by_format(BodyFormat::Text));
    let Some((name, media, format)) = found else {
        let names: Vec<&str> = content.keys().map(String::as_str).take(5).collect();
        return Err(OperationError::Body(crate::cut(&names.join(", "), 200)));
    };
    let kind = media_type(name);
    let is_default = ["application/json", "*/*", "application/*"].contains(&kind.as_str());
    Ok(BodyMedia {
        content_type: (!is_default).then(|| name.clone()),
        format,
        schema: media.get("schema").unwrap_or(ANYTHING),
        encoding: media.get("encoding").and_then(Value::as_object),
    })
}

/// The style of a field of a form. `None` is the default.
fn field_style(
    encoding: Option<&Map<String, Value>>,
    name: &str,
) -> Result<Option<ArgumentStyle>, OperationError> {
    let Some(encoding) = encoding.and_then(|encoding| encoding.get(name)) else {
        return Ok(None);
    };
    let Some(given) = encoding.get("style").and_then(Value::as_str) else {
        return match encoding.get("explode") {
            Some(Value::Bool(false)) => Ok(Some(ArgumentStyle::default())),
            _ => Ok(None),
        };
    };
    let style = StyleName::parse(given).filter(|style| style.fits(Place::Pairs));
    let style = style.ok_or_else(|| OperationError::Style {
        name: crate::cut(name, 64),
        style: crate::cut(given, 64),
    })?;
    let flag = |field: &str| encoding.get(field).and_then(Value::as_bool);
    Ok(Some(ArgumentStyle {
        style,
        explode: flag("explode").unwrap_or(style == StyleName::Form),
        allow_reserved: flag("allowReserved").unwrap_or_default(),
    }))
}
