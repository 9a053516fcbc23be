//! Changes schemas so that generators of clients make good types of them.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayItems, Discriminator, Object, OneOf, Schema, SchemaType, Type,
};
use utoipa::openapi::{Components, OpenApi, Ref, RefOr};

pub(super) struct Generators;

/// A task in a status, whichever it is.
const ANY_TASK: &str = "TaskRecord";
/// Statuses that have the same types, and the name of their schema.
const TASKS: [(&str, &[&str]); 3] = [
    ("UnfinishedTask", &["PENDING", "STARTED"]),
    ("SucceededTask", &["SUCCESS"]),
    ("FailedTask", &["FAILURE"]),
];

impl Modify for Generators {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        separate_statuses(components);
        for schema in components.schemas.values_mut() {
            move_defaults(schema);
        }
    }
}

/// Makes a schema for each status, so that the `result` of a SUCCESS is never `null`.
fn separate_statuses(components: &mut Components) {
    let Some(RefOr::T(Schema::Object(task))) = components.schemas.remove("TaskStatus") else {
        return;
    };
    components.schemas.remove("TaskResult");
    let mut choice = OneOf::new();
    choice.description.clone_from(&task.description);
    let mut mapping = BTreeMap::new();
    for (name, statuses) in TASKS {
        let reference = Ref::from_schema_name(name);
        for status in statuses {
            mapping.insert((*status).to_owned(), reference.ref_location.clone());
        }
        choice.items.push(reference.into());
        components
            .schemas
            .insert(name.to_owned(), with_status(task.clone(), statuses).into());
    }
    let mut discriminator = Discriminator::new("status");
    discriminator.mapping = mapping;
    choice.discriminator = Some(discriminator);
    let mut any = task;
    any.description = Some("A task with any status.".into());
    any.properties
        .insert("result".to_owned(), nullable_results().into());
    components.schemas.insert(ANY_TASK.to_owned(), any.into());
    components
        .schemas
        .insert("TaskStatus".to_owned(), Schema::OneOf(choice).into());
    refer_to_any_task(components);
}

/// Not every generator can extend a choice.
fn refer_to_any_task(components: &mut Components) {
    if let Some(RefOr::T(Schema::AllOf(parts))) = components.schemas.get_mut("TaskDetail") {
        for part in &mut parts.items {
            if let RefOr::Ref(reference) = part {
                *reference = Ref::from_schema_name(ANY_TASK);
            }
        }
    }
}

/// The schema of a task that has one of these statuses. No field can only be `null`:
/// openapi-fetch leaves such fields out.
fn with_status(mut task: Object, statuses: &[&str]) -> Object {
    let mut status = Object::with_type(Type::String);
    status.enum_values = Some(statuses.iter().copied().map(Value::from).collect());
    task.properties.insert("status".to_owned(), status.into());
    let mut ended: Vec<(&str, RefOr<Schema>)> = Vec::new();
    let about = match statuses {
        ["SUCCESS"] => {
            ended.push(("result", Ref::from_schema_name("Answered").into()));
            "A task that succeeded."
        }
        ["FAILURE"] => {
            ended.push(("result", Object::with_type(Type::String).into()));
            ended.push(("error", Ref::from_schema_name("Failure").into()));
            "A task that failed."
        }
        _ => {
            let result = task.properties.get_mut("result");
            if let Some(result) = result {
                *result = nullable_results().into();
            }
            "A task that has not ended."
        }
    };
    task.description = Some(about.into());
    for (name, schema) in ended {
        task.properties.insert(name.to_owned(), schema);
    }
    task
}

/// The result of a task with any status.
fn nullable_results() -> Schema {
    let mut result = OneOf::new();
    result.items = vec![
        Ref::from_schema_name("Answered").into(),
        Object::with_type(Type::String).into(),
        Object::with_type(Type::Null).into(),
    ];
    Schema::OneOf(result)
}

/// Generators take an object without properties for an empty one.
fn allow_any_fields(object: &mut Object) {
    let is_object = match &object.schema_type {
        SchemaType::Type(kind) => *kind == Type::Object,
        SchemaType::Array(kinds) => kinds.contains(&Type::Object),
        SchemaType::AnyValue => false,
    };
    if is_object && object.properties.is_empty() {
        object
            .additional_properties
            .get_or_insert_with(|| Box::new(AdditionalProperties::FreeForm(true)));
    }
}

/// Generators make a field with a `default` required, also in requests. This moves it into the
/// description.
fn move_defaults(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else {
        return;
    };
    match schema {
        Schema::Object(object) => {
            let default = object.default.take().filter(|default| !default.is_null());
            if let Some(default) = default {
                let about = object.description.take().unwrap_or_default();
                object.description = Some(format!("{about} Default: `{default}`.").trim().into());
            }
            allow_any_fields(object);
            object.properties.values_mut().for_each(move_defaults);
            if let Some(AdditionalProperties::RefOr(values)) =
                object.additional_properties.as_deref_mut()
            {
                move_defaults(values);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                move_defaults(items);
            }
        }
        Schema::OneOf(choice) => choice.items.iter_mut().for_each(move_defaults),
        Schema::AllOf(parts) => parts.items.iter_mut().for_each(move_defaults),
        Schema::AnyOf(choice) => choice.items.iter_mut().for_each(move_defaults),
        _ => {}
    }
}
