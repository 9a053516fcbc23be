//! Converts one operation of a document.

use serde_json::{Map, Value, json};

use super::names::plain_argument;
use super::schema::Schemas;
use super::security::Security;
use super::{LocatedOperation, OperationError, resolve};
use crate::agent::tools::http::Operation;
use crate::agent::tools::http::check::check_operation;

/// Bytes of an operation's description that the model sees.
const MAX_DESCRIPTION_BYTES: usize = 1000;

pub(super) struct OperationBuilder<'d> {
    pub(super) schemas: Schemas<'d>,
    pub(super) security: &'d Security,
    pub(super) properties: Map<String, Value>,
    pub(super) required: Vec<String>,
    pub(super) operation: Operation,
    /// The headers of parameters that hold credentials.
    pub(super) credentials: Vec<(String, String)>,
}

/// Converts the operation to one with this name. Also returns the headers of its parameters
/// that hold credentials.
pub(super) fn convert_operation(
    document: &Value,
    located: &LocatedOperation<'_>,
    name: String,
    security: &Security,
) -> Result<(Operation, Vec<(String, String)>), OperationError> {
    let mut builder = OperationBuilder {
        schemas: Schemas::new(document),
        security,
        properties: Map::new(),
        required: Vec::new(),
        operation: Operation {
            name,
            description: description(located),
            method: located.method.unwrap_or_default(),
            path: located.path.to_owned(),
            parameters: Value::Null,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            wire_names: Default::default(),
            styles: Default::default(),
            content_type: None,
            approval: false,
        },
        credentials: Vec::new(),
    };
    for parameter in all_parameters(document, located)? {
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
        Ok(()) => Ok((operation, builder.credentials)),
        Err(error) => Err(OperationError::Refused(error.to_string())),
    }
}

impl OperationBuilder<'_> {
    /// A unique name that models accept.
    pub(super) fn name(&self, wire_name: &str, place: &str) -> String {
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

    pub(super) fn rename_in_path(&mut self, wire_name: &str, argument: &str) {
        if wire_name != argument {
            let (from, to) = (format!("{{{wire_name}}}"), format!("{{{argument}}}"));
            self.operation.path = self.operation.path.replace(&from, &to);
        }
    }

    pub(super) fn add(&mut self, name: String, schema: Value, is_required: bool) {
        if is_required {
            self.required.push(name.clone());
        }
        self.properties.insert(name, schema);
    }
}

/// The parameters of the operation and of its path item. The operation's override those with
/// the same name and place.
pub(super) fn all_parameters<'d>(
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

pub(super) fn describe(schema: &mut Value, text: &str) {
    match schema {
        Value::Object(fields) if !text.is_empty() && !fields.contains_key("description") => {
            fields.insert("description".to_owned(), crate::cut(text, 500).into());
        }
        _ => {}
    }
}
