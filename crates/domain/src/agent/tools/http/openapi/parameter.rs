//! Converts the parameters of an operation.

use serde_json::{Value, json};

use super::OperationError;
use super::media::json_media;
use super::operation::{OperationBuilder, describe};
use crate::agent::tools::headers::is_header_name;
use crate::agent::tools::http::style::Place;
use crate::agent::tools::http::{ArgumentStyle, StyleName};

/// Headers that are not arguments, because the client sets them (section 4.8.12.2).
const NO_ARGUMENTS: [&str; 3] = ["accept", "content-type", "idempotency-key"];

impl<'d> OperationBuilder<'d> {
    pub(super) fn parameter(&mut self, parameter: &'d Value) -> Result<(), OperationError> {
        let text = |field: &str| {
            parameter
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (wire_name, place) = (text("name"), text("in"));
        let is_required = parameter.get("required") == Some(&Value::Bool(true));
        if !self.is_argument(wire_name, place, is_required)? {
            return Ok(());
        }
        let mut schema = match parameter.get("schema").or_else(|| json_media(parameter)) {
            Some(schema) => self.schemas.copy(schema)?,
            None => json!({}),
        };
        let style = style_of(parameter, wire_name, place, &schema)?;
        describe(&mut schema, text("description"));
        let argument = self.name(wire_name, place);
        match place {
            // The path template uses the name that the model sees.
            "path" => self.rename_in_path(wire_name, &argument),
            "header" => self.operation.headers.push(argument.clone()),
            _ => self.operation.query.push(argument.clone()),
        }
        let is_name_sent = place != "path" || style.is_some();
        if is_name_sent && argument != wire_name {
            self.operation
                .wire_names
                .insert(argument.clone(), wire_name.to_owned());
        }
        if let Some(style) = style {
            self.operation.styles.insert(argument.clone(), style);
        }
        self.add(argument, schema, is_required || place == "path");
        Ok(())
    }

    /// Whether the model is asked for a parameter. It is not asked for credentials.
    fn is_argument(
        &mut self,
        name: &str,
        place: &str,
        is_required: bool,
    ) -> Result<bool, OperationError> {
        match place {
            _ if name.is_empty() => Err(OperationError::Malformed("parameter")),
            "path" => Ok(true),
            "query" if self.security.is_query_credential(name) => match is_required {
                true => Err(OperationError::QueryCredential(crate::cut(name, 64))),
                false => Ok(false),
            },
            "query" => Ok(true),
            "header" if NO_ARGUMENTS.contains(&name.to_ascii_lowercase().as_str()) => Ok(false),
            "header" if self.security.is_header_credential(name) => {
                self.credentials.push((name.to_owned(), String::new()));
                Ok(false)
            }
            "header" => Ok(is_required || is_header_name(name)),
            "cookie" if is_required => Err(OperationError::Cookie),
            "cookie" => Ok(false),
            _ => Err(OperationError::Malformed("parameter")),
        }
    }
}

/// The style of a parameter, if it differs from that of an argument without a style.
fn style_of(
    parameter: &Value,
    name: &str,
    place: &str,
    schema: &Value,
) -> Result<Option<ArgumentStyle>, OperationError> {
    let in_query = place == "query";
    let can_be_list = can_be(schema, "array") || can_be(schema, "object");
    if parameter.get("schema").is_none() && json_media(parameter).is_some() {
        let style = ArgumentStyle {
            style: StyleName::Json,
            ..ArgumentStyle::default()
        };
        return Ok(Some(style));
    }
    let given = parameter.get("style").and_then(Value::as_str);
    let given = given.unwrap_or(if in_query { "form" } else { "simple" });
    let is_fit = |style: &StyleName| {
        *style != StyleName::Json
            && style.fits(match place {
                "path" => Place::Path,
                "header" => Place::Header,
                _ => Place::Pairs,
            })
    };
    let style = StyleName::parse(given).filter(is_fit);
    let style = style.ok_or_else(|| OperationError::Style {
        name: crate::cut(name, 64),
        style: crate::cut(given, 64),
    })?;
    let flag = |field: &str| parameter.get(field).and_then(Value::as_bool);
    let style = ArgumentStyle {
        style,
        explode: flag("explode").unwrap_or(style == StyleName::Form),
        allow_reserved: in_query && flag("allowReserved").unwrap_or_default(),
    };
    let is_default = match style.style {
        StyleName::Form if style.allow_reserved => false,
        // Without a style, a list is exploded.
        StyleName::Form if style.explode => !can_be(schema, "object"),
        StyleName::Form | StyleName::Simple => !can_be_list,
        _ => false,
    };
    Ok((!is_default).then_some(style))
}

/// Whether a schema accepts values of this type.
pub(super) fn can_be(schema: &Value, kind: &str) -> bool {
    let Some(fields) = schema.as_object() else {
        return true;
    };
    let members = |group: &str| fields.get(group).and_then(Value::as_array);
    match fields.get("type") {
        Some(Value::String(given)) => return given == kind,
        Some(Value::Array(given)) => return given.iter().any(|given| given == kind),
        _ => {}
    }
    for group in ["anyOf", "oneOf"] {
        if let Some(members) = members(group) {
            return members.iter().any(|member| can_be(member, kind));
        }
    }
    match members("allOf") {
        Some(members) => members.iter().all(|member| can_be(member, kind)),
        None => !fields.contains_key("enum") && !fields.contains_key("const"),
    }
}
