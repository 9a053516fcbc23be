//! What the derives of types cannot tell of them.

use std::borrow::Cow;

use domain::{AgentDraft, Limits, ModelConfig, Price};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, Object, Schema, SchemaType};
use utoipa::openapi::{Components, Content, OneOfBuilder, OpenApi, Ref, RefOr, Type};
use utoipa::{Modify, PartialSchema, ToSchema};

pub(super) struct Shapes;

/// A JSON merge patch (RFC 7396) of an agent: of its definition, everything is
/// optional, and `null` takes out what is optional there.
pub(crate) struct AgentPatch;

impl Modify for Shapes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        complete_agent(components);
        tell_tools_apart(components);
        for get in document.paths.paths.values_mut().filter_map(|item| item.get.as_mut()) {
            allow_forms_left_empty(get);
        }
        for post in document.paths.paths.values_mut().filter_map(|item| item.post.as_mut()) {
            leave_out_null(post);
        }
    }
}

/// What [`crate::query::Query`] takes for not given. The library has no word for it.
fn allow_forms_left_empty(operation: &mut Operation) {
    if !matches!(operation.operation_id.as_deref(), Some("list_tasks" | "get_stats")) {
        return;
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameter.extensions = Some(Extensions::from_iter([("allowEmptyValue", true)]));
        }
    }
}

/// A body that need not be there is absent, not `null`.
fn leave_out_null(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    if body.required.is_some() {
        return;
    }
    for content in body.content.values_mut() {
        let RefOr::T(Content { schema: Some(schema), .. }) = content else { continue };
        if let RefOr::T(Schema::OneOf(choice)) = &schema
            && let Some(given) = choice.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned()
        {
            *schema = given;
        }
    }
}

/// An agent as answered has the fields of its definition among its own.
fn complete_agent(components: &mut Components) {
    let definition = object(AgentDraft::schema());
    let Some(RefOr::T(Schema::Object(agent))) = components.schemas.get_mut("Agent") else { return };
    for (name, schema) in definition.properties.into_iter().filter(|(name, _)| name != "webhook_token") {
        agent.properties.insert(name, schema);
    }
    agent.required.extend(["name", "tools", "sources", "limits", "enabled"].map(ToOwned::to_owned));
}

/// The derive says "an HTTP tool, and its `type`"; but as neither of two closed
/// objects knows the fields of the other, nothing is both.
fn tell_tools_apart(components: &mut Components) {
    let Some(RefOr::T(Schema::OneOf(tools))) = components.schemas.get_mut("Tool") else { return };
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
        let Some(RefOr::T(Schema::Object(whole))) = components.schemas.get_mut(&name) else { continue };
        whole.required.extend(kind.required);
        whole.properties.extend(kind.properties);
    }
}

/// The name of the schema that is referred to, and what is asked for beside it.
fn joined(parts: &AllOf) -> Option<(String, Object)> {
    match parts.items.as_slice() {
        [RefOr::Ref(whole), RefOr::T(Schema::Object(kind))] => {
            Some((whole.ref_location.rsplit('/').next()?.to_owned(), kind.clone()))
        }
        _ => None,
    }
}

fn close(object: &mut Object) {
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
}

impl PartialSchema for AgentPatch {
    fn schema() -> RefOr<Schema> {
        let mut patch = patch_of(object(AgentDraft::schema()));
        patch.properties.shift_remove("webhook_token");
        patch.description =
            Some("What to change of an agent's definition; `null` takes out what is optional there.".into());
        let mut model = patch_of(object(ModelConfig::schema()));
        model.properties.insert("price".to_owned(), nullable(patch_of(object(Price::schema())).into()));
        let limits = patch_of(object(Limits::schema()));
        for (name, part) in [("model", model), ("limits", limits)] {
            patch.properties.insert(name.to_owned(), nullable(part.into()));
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
        // A choice that has `null` already.
        other => other,
    }
}

fn object(schema: RefOr<Schema>) -> Object {
    match schema {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::new(),
    }
}
