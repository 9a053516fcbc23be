//! One operation of a document.

use serde_json::{Map, Value, json};

use super::schema::Schemas;
use super::{Found, Unfit, resolve};
use crate::agent::tools::Operation;
use crate::agent::tools::check::check_operation;

/// Most bytes of what the model is told of an operation.
const MAX_DESCRIPTION_BYTES: usize = 1000;
/// Headers that are the client's to set (section 4.8.12.2), or hold credentials,
/// which come from the secret store.
const NO_ARGUMENTS: [&str; 4] = ["accept", "content-type", "authorization", "idempotency-key"];

/// What the model calls it: its `operationId`, or its method and path, in the
/// characters and the length that models take.
pub(super) fn name(found: &Found<'_>) -> String {
    match found.operation.get("operationId").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => plain(id),
        _ => plain(&format!("{}{}", found.method.as_str().to_lowercase(), found.path)),
    }
}

/// The operation, under this name.
pub(super) fn read(document: &Value, found: &Found<'_>, name: String) -> Result<Operation, Unfit> {
    let mut reader = Reader {
        schemas: Schemas::new(document),
        properties: Map::new(),
        required: Vec::new(),
        operation: Operation {
            name,
            description: description(found),
            method: found.method,
            path: found.path.to_owned(),
            parameters: Value::Null,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            wire_names: Default::default(),
            approval: false,
        },
    };
    for parameter in parameters(document, found)? {
        reader.parameter(parameter)?;
    }
    if let Some(body) = found.operation.get("requestBody") {
        reader.body(resolve(document, body)?)?;
    }
    let mut operation = reader.operation;
    operation.parameters = json!({ "type": "object", "properties": reader.properties });
    if let (false, Some(parameters)) = (reader.required.is_empty(), operation.parameters.as_object_mut()) {
        parameters.insert("required".to_owned(), reader.required.into());
    }
    match check_operation(&operation) {
        Ok(()) => Ok(operation),
        Err(error) => Err(Unfit::Refused(error.to_string())),
    }
}

struct Reader<'d> {
    schemas: Schemas<'d>,
    properties: Map<String, Value>,
    required: Vec<String>,
    operation: Operation,
}

impl<'d> Reader<'d> {
    fn parameter(&mut self, parameter: &'d Value) -> Result<(), Unfit> {
        let text = |field: &str| parameter.get(field).and_then(Value::as_str).unwrap_or_default();
        let (wire_name, place) = (text("name"), text("in"));
        let is_required = parameter.get("required") == Some(&Value::Bool(true));
        match place {
            "path" | "query" => {}
            "header" if !NO_ARGUMENTS.contains(&wire_name.to_ascii_lowercase().as_str()) => {}
            "header" => return Ok(()),
            "cookie" if is_required => return Err(Unfit::Cookie),
            "cookie" => return Ok(()),
            _ => return Err(Unfit::Malformed("parameter")),
        }
        let mut schema = match parameter.get("schema").or_else(|| json_schema(parameter)) {
            Some(schema) => self.schemas.copy(schema)?,
            None => json!({}),
        };
        if parameter.get("explode") == Some(&Value::Bool(false))
            && schema.get("type").is_some_and(|kind| kind == "array")
        {
            schema = json!({ "type": "string", "description": "Several values with commas between them" });
        }
        describe(&mut schema, text("description"));
        let argument = self.name(wire_name, place);
        match place {
            // Its name in the template is the model's, too.
            "path" => self.rename_in_path(wire_name, &argument),
            "header" => self.operation.headers.push(argument.clone()),
            _ => self.operation.query.push(argument.clone()),
        }
        if place != "path" && argument != wire_name {
            self.operation.wire_names.insert(argument.clone(), wire_name.to_owned());
        }
        self.add(argument, schema, is_required || place == "path");
        Ok(())
    }

    fn body(&mut self, body: &'d Value) -> Result<(), Unfit> {
        let is_required = body.get("required") == Some(&Value::Bool(true));
        // One that is not required is what its operation is for, all the same.
        let schema = json_schema(body).ok_or(Unfit::Body)?;
        let mut schema = self.schemas.copy(schema)?;
        if self.takes_fields_of(&schema, is_required)
            && let Some(Value::Object(fields)) = schema.get_mut("properties").map(Value::take)
        {
            let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            for (name, schema) in fields {
                let is_required = required.iter().any(|required| required == name.as_str());
                self.add(name, schema, is_required);
            }
            return Ok(());
        }
        let argument = self.name("body", "json");
        let text = body.get("description").and_then(Value::as_str).unwrap_or_default();
        describe(&mut schema, text);
        self.operation.body = Some(argument.clone());
        self.add(argument, schema, is_required);
        Ok(())
    }

    /// Whether the fields of a body can be arguments beside the others: they say all
    /// there is to say of it.
    fn takes_fields_of(&self, schema: &Value, is_required: bool) -> bool {
        const ALL: [&str; 6] =
            ["type", "title", "description", "properties", "required", "additionalProperties"];
        let Some(fields) = schema.as_object() else { return false };
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return false };
        // What may be left out as a whole, but not in part, is one argument.
        let may_be_empty = schema.get("required").and_then(Value::as_array).is_none_or(Vec::is_empty);
        self.operation.method.has_body()
            && (is_required || may_be_empty)
            && fields.keys().all(|name| ALL.contains(&name.as_str()))
            && schema.get("additionalProperties").is_none_or(Value::is_boolean)
            && !properties.is_empty()
            && properties
                .keys()
                .all(|name| plain_argument(name) == *name && !self.properties.contains_key(name))
    }

    /// A name that a model may say and that no other argument has.
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

/// The parameters of the path and of the operation, which come first by name and place.
fn parameters<'d>(document: &'d Value, found: &Found<'d>) -> Result<Vec<&'d Value>, Unfit> {
    let list =
        |of: &'d Map<String, Value>| of.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let mut parameters: Vec<&Value> = Vec::new();
    let key = |parameter: &'d Value| (parameter.get("name"), parameter.get("in"));
    for parameter in list(found.operation).chain(list(found.item)) {
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
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json") || kind == "*/*"
    };
    const ANYTHING: &Value = &Value::Bool(true);
    content.iter().find(|(kind, _)| is_json(kind)).map(|(_, media)| media.get("schema").unwrap_or(ANYTHING))
}

fn description(found: &Found<'_>) -> String {
    let text = |field: &str| found.operation.get(field).and_then(Value::as_str).unwrap_or_default().trim();
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
    in_characters(name, |character| character.is_ascii_alphanumeric() || character == '-')
}

/// As some providers want the names of arguments.
fn plain_argument(name: &str) -> String {
    in_characters(name, |character| character.is_ascii_alphanumeric() || ['-', '.'].contains(&character))
}

fn in_characters(name: &str, may_stay: impl Fn(char) -> bool) -> String {
    name.chars().take(64).map(|character| if may_stay(character) { character } else { '_' }).collect()
}
