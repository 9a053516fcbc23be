//! Converts one operation of a document.

use serde_json::{Map, Value, json};

use super::schema::Schemas;
use super::{LocatedOperation, OperationError, resolve};
use crate::agent::tools::http::Operation;
use crate::agent::tools::http::check::check_operation;

/// Bytes of an operation's description that the model sees.
const MAX_DESCRIPTION_BYTES: usize = 1000;
/// Headers that are not arguments: the client sets them (section 4.8.12.2), or they hold
/// credentials, which come from the secret store.
const NO_ARGUMENTS: [&str; 4] = ["accept", "content-type", "authorization", "idempotency-key"];

/// The name that the model sees: the `operationId`, or the method and path, in the characters
/// and the length that models accept.
pub(super) fn operation_name(located: &LocatedOperation<'_>) -> String {
    match located.operation.get("operationId").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => plain(id),
        _ => plain(&format!(
            "{}{}",
            located.method.as_str().to_lowercase(),
            located.path
        )),
    }
}

/// Converts the operation to one with this name.
pub(super) fn convert_operation(
    document: &Value,
    located: &LocatedOperation<'_>,
    name: String,
) -> Result<Operation, OperationError> {
    let mut builder = OperationBuilder {
        schemas: Schemas::new(document),
        properties: Map::new(),
        required: Vec::new(),
        operation: Operation {
            name,
            description: description(located),
            method: located.method,
            path: located.path.to_owned(),
            parameters: Value::Null,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            wire_names: Default::default(),
            approval: false,
        },
    };
    for parameter in parameters(document, located)? {
        builder.parameter(parameter)?;
    }
    if let Some(body) = located.operation.get("requestBody") {
        builder.body(resolve(document, body)?)?;
    }
    let mut operation = builder.operation;
    operation.parameters = json!({ "type": "object", "properties": builder.properties });
    if let (false, Some(parameters)) = (
        builder.required.is_empty(),
        operation.parameters.as_object_mut(),
    ) {
        parameters.insert("required".to_owned(), builder.required.into());
    }
    match check_operation(&operation) {
        Ok(()) => Ok(operation),
        Err(error) => Err(OperationError::Refused(error.to_string())),
    }
}

struct OperationBuilder<'d> {
    schemas: Schemas<'d>,
    properties: Map<String, Value>,
    required: Vec<String>,
    operation: Operation,
}

impl<'d> OperationBuilder<'d> {
    fn parameter(&mut self, parameter: &'d Value) -> Result<(), OperationError> {
        let text = |field: &str| {
            parameter
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (wire_name, place) = (text("name"), text("in"));
        let is_required = parameter.get("required") == Some(&Value::Bool(true));
        match place {
            "path" | "query" => {}
            "header" if !NO_ARGUMENTS.contains(&wire_name.to_ascii_lowercase().as_str()) => {}
            "header" => return Ok(()),
            "cookie" if is_required => return Err(OperationError::Cookie),
            "cookie" => return Ok(()),
            _ => return Err(OperationError::Malformed("parameter")),
        }
        let mut schema = match parameter.get("schema").or_else(|| json_schema(parameter)) {
            Some(schema) => self.schemas.copy(schema)?,
            None => json!({}),
        };
        if parameter.get("explode") == Some(&Value::Bool(false))
            && schema.get("type").is_some_and(|kind| kind == "array")
        {
            schema = json!({ "type": "string", "description": "Comma-separated values" });
        }
        describe(&mut schema, text("description"));
        let argument = self.name(wire_name, place);
        match place {
            // The path template uses the name that the model sees.
            "path" => self.rename_in_path(wire_name, &argument),
            "header" => self.operation.headers.push(argument.clone()),
            _ => self.operation.query.push(argument.clone()),
        }
        if place != "path" && argument != wire_name {
            self.operation
                .wire_names
                .insert(argument.clone(), wire_name.to_owned());
        }
        self.add(argument, schema, is_required || place == "path");
        Ok(())
    }

    fn body(&mut self, body: &'d Value) -> Result<(), OperationError> {
        let is_required = body.get("required") == Some(&Value::Bool(true));
        // Converted even if it is optional: the body is the purpose of the operation.
        let schema = json_schema(body).ok_or(OperationError::Body)?;
        let mut schema = self.schemas.copy(schema)?;
        if self.takes_fields_of(&schema, is_required)
            && let Some(Value::Object(fields)) = schema.get_mut("properties").map(Value::take)
        {
            let required = schema
                .get("required")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            for (name, schema) in fields {
                let is_required = required.iter().any(|required| required == name.as_str());
                self.add(name, schema, is_required);
            }
            return Ok(());
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

    /// A unique name that models accept.
    fn name(&self, wire_name: &str, place: &str) -> String {
        let name = plain_argument(wire_name);
        if !name.is_empty() && !self.properties.contains_key(&name) {
            return name;
        }
        let numbered = (1..).map(|number| match number {
            1 => plain_argument(&format!("{place}_{wire_name}")),
            _ => plain_argument(&format!("{place}{number}_{wire_name}")),
        });
        let mut free = numbered.filter(|name| !self.properties.contains_key(name));
        free.next().unwrap_or_default()
    }

    fn rename_in_path(&mut self, wire_name: &str, argument: &str) {
        if wire_name != argument {
            let (from, to) = (format!("{{{wire_name}}}"), format!("{{{argument}}}"));
            self.operation.path = self.operation.path.replace(&from, &to);
        }
    }

    fn add(&mut self, name: String, schema: Value, is_required: bool) {
        if is_required {
            self.required.push(name.clone());
        }
        self.properties.insert(name, schema);
    }
}

/// The parameters of the operation and of its path item. The operation's override those with
/// the same name and place.
fn parameters<'d>(
    document: &'d Value,
    located: &LocatedOperation<'d>,
) -> Result<Vec<&'d Value>, OperationError> {
    let list = |owner: &'d Map<String, Value>| {
        owner
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let mut parameters: Vec<&Value> = Vec::new();
    let key = |parameter: &'d Value| (parameter.get("name"), parameter.get("in"));
    for parameter in list(located.operation).chain(list(located.item)) {
        let parameter = resolve(document, parameter)?;
        if !parameters.iter().any(|other| key(other) == key(parameter)) {
            parameters.push(parameter);
        }
    }
    Ok(parameters)
}

/// The schema under a JSON media type of `content`.
fn json_schema(value: &Value) -> Option<&Value> {
    let content = value.get("content")?.as_object()?;
    let is_json = |kind: &str| {
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json") || kind == "*/*"
    };
    const ANYTHING: &Value = &Value::Bool(true);
    content
        .iter()
        .find(|(kind, _)| is_json(kind))
        .map(|(_, media)| media.get("schema").unwrap_or(ANYTHING))
}

fn description(located: &LocatedOperation<'_>) -> String {
    let text = |field: &str| {
        located
            .operation
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
    };
    let text = match (text("summary"), text("description")) {
        ("", description) => description.to_owned(),
        (summary, "") => summary.to_owned(),
        (summary, description) if description.starts_with(summary) => description.to_owned(),
        (summary, description) => format!("{summary}\n{description}"),
    };
    crate::cut(&text, MAX_DESCRIPTION_BYTES)
}

fn describe(schema: &mut Value, text: &str) {
    match schema {
        Value::Object(fields) if !text.is_empty() && !fields.contains_key("description") => {
            fields.insert("description".to_owned(), crate::cut(text, 500).into());
        }
        _ => {}
    }
}

fn plain(name: &str) -> String {
    in_characters(name, |character| {
        character.is_ascii_alphanumeric() || character == '-'
    })
}

/// In the characters that all providers accept in names of arguments.
fn plain_argument(name: &str) -> String {
    in_characters(name, |character| {
        character.is_ascii_alphanumeric() || ['-', '.'].contains(&character)
    })
}

fn in_characters(name: &str, may_stay: impl Fn(char) -> bool) -> String {
    name.chars()
        .take(64)
        .map(|character| if may_stay(character) { character } else { '_' })
        .collect()
}
