//! Corrects schemas that the derives cannot express.

use std::borrow::Cow;

use domain::{Definition, Limits, ModelConfig, Price, WebhookToken};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, Object, Schema, SchemaType};
use utoipa::openapi::{
    Components, Content, ObjectBuilder, OneOfBuilder, OpenApi, Ref, RefOr, Type,
};
use utoipa::{Modify, PartialSchema, ToSchema};

pub(super) struct Shapes;

/// The body of the request that creates an agent, as [`domain::NewAgent`] parses it.
pub(crate) struct NewAgentBody;

/// A JSON merge patch (RFC 7396) of an agent's definition: all fields are optional, and
/// `null` removes fields that are optional in the definition.
pub(crate) struct AgentPatch;

impl Modify for Shapes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        complete_agent(components);
        for choice in ["Tool", "InspectedTool"] {
            separate_types(components, choice);
        }
        for get in document
            .paths
            .paths
            .values_mut()
            .filter_map(|item| item.get.as_mut())
        {
            allow_empty_values(get);
        }
        for post in document
            .paths
            .paths
            .values_mut()
            .filter_map(|item| item.post.as_mut())
        {
            remove_null_body(post);
        }
    }
}

/// [`crate::query::Query`] treats an empty value as absent. `utoipa` has no attribute for
/// `allowEmptyValue`.
fn allow_empty_values(operation: &mut Operation) {
    if !matches!(
        operation.operation_id.as_deref(),
        Some("list_tasks" | "get_stats")
    ) {
        return;
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.extensions = Some(Extensions::from_iter([("allowEmptyValue", true)]));
        }
    }
}

/// An optional body is absent, not `null`.
fn remove_null_body(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else {
        return;
    };
    if body.required.is_some() {
        return;
    }
    for content in body.content.values_mut() {
        let RefOr::T(Content {
            schema: Some(schema),
            ..
        }) = content
        else {
            continue;
        };
        if let RefOr::T(Schema::OneOf(choice)) = &schema
            && let Some(given) = choice
                .items
                .iter()
                .find(|item| matches!(item, RefOr::Ref(_)))
                .cloned()
        {
            *schema = given;
        }
    }
}

/// The fields of the definition are also fields of an agent in a response.
fn complete_agent(components: &mut Components) {
    let definition = object(Definition::schema());
    let Some(RefOr::T(Schema::Object(agent))) = components.schemas.get_mut("Agent") else {
        return;
    };
    agent.properties.extend(definition.properties);
    agent
        .required
        .extend(["name", "tools", "sources", "limits", "enabled"].map(ToOwned::to_owned));
}

/// The derive makes `allOf` of a tool and an object with its `type`. Both allow no additional
/// properties, so no value matches both, and generators of clients fail. This moves `type` into
/// the tool's schema.
fn separate_types(components: &mut Components, choice: &str) {
    let Some(RefOr::T(Schema::OneOf(tools))) = components.schemas.get_mut(choice) else {
        return;
    };
    let mut typed = Vec::new();
    for tool in &mut tools.items {
        match tool {
            RefOr::T(Schema::AllOf(parts)) => typed.extend(joined(parts).inspect(|(name, _)| {
                *tool = Ref::from_schema_name(name).into();
            })),
            RefOr::T(Schema::Object(alone)) => close(alone),
            _ => {}
        }
    }
    for (name, kind) in typed {
        let Some(RefOr::T(Schema::Object(whole))) = components.schemas.get_mut(&name) else {
            continue;
        };
        whole.required.extend(kind.required);
        whole.properties.extend(kind.properties);
    }
}

/// The name of the referenced schema, and the object beside it.
fn joined(parts: &AllOf) -> Option<(String, Object)> {
    match parts.items.as_slice() {
        [RefOr::Ref(whole), RefOr::T(Schema::Object(kind))] => Some((
            whole.ref_location.rsplit('/').next()?.to_owned(),
            kind.clone(),
        )),
        _ => None,
    }
}

fn close(object: &mut Object) {
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
}

impl PartialSchema for NewAgentBody {
    fn schema() -> RefOr<Schema> {
        let mut body = object(Definition::schema());
        let token = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some(
                "The token of an existing webhook URL, to import an agent from another system.",
            ))
            .min_length(Some(WebhookToken::MIN_BYTES))
            .max_length(Some(WebhookToken::MAX_BYTES))
            .pattern(Some("^[A-Za-z0-9_-]+$"));
        body.properties
            .insert("webhook_token".to_owned(), token.build().into());
        body.description = Some("The definition of an agent. Only `name` is required.".into());
        body.into()
    }
}

impl ToSchema for NewAgentBody {
    fn name() -> Cow<'static, str> {
        "NewAgent".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Definition::schemas(schemas);
    }
}

impl PartialSchema for AgentPatch {
    fn schema() -> RefOr<Schema> {
        let mut patch = patch_of(object(Definition::schema()));
        patch.description = Some(
            "The fields of the definition to change. `null` removes a field that is optional there.".into(),
        );
        let mut model = patch_of(object(ModelConfig::schema()));
        model.properties.insert(
            "price".to_owned(),
            nullable(patch_of(object(Price::schema())).into()),
        );
        let limits = patch_of(object(Limits::schema()));
        for (name, part) in [("model", model), ("limits", limits)] {
            patch
                .properties
                .insert(name.to_owned(), nullable(part.into()));
        }
        patch.into()
    }
}

impl ToSchema for AgentPatch {
    fn name() -> Cow<'static, str> {
        "AgentPatch".into()
    }
}

fn patch_of(mut definition: Object) -> Object {
    definition.required.clear();
    for (_, schema) in &mut definition.properties {
        *schema = nullable(std::mem::replace(schema, Object::new().into()));
    }
    definition
}

fn nullable(schema: RefOr<Schema>) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            if let SchemaType::Type(kind) = object.schema_type {
                object.schema_type = SchemaType::from_iter([kind, Type::Null]);
            }
            object.into()
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.schema_type = SchemaType::from_iter([Type::Array, Type::Null]);
            Schema::Array(array).into()
        }
        RefOr::Ref(_) => {
            let null = Object::with_type(Type::Null);
            Schema::OneOf(OneOfBuilder::new().item(schema).item(null).build()).into()
        }
        // A `oneOf` that already has `null`.
        other => other,
    }
}

fn object(schema: RefOr<Schema>) -> Object {
    match schema {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::new(),
    }
}
