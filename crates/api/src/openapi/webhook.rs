//! The webhook handler as two OpenAPI operations, one for each method. Its route takes any
//! method, so an attribute of the handler cannot describe it.
#![expect(dead_code, reason = "used only by their attribute")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{TriggerHeaders, WebhookTokenParam};
use crate::webhook::Accepted;

/// The payload of a trigger.
pub(crate) struct AnyPayload;

/// Every value is a string. A name that is given several times has a list of strings.
#[derive(Serialize, ToSchema)]
pub(crate) struct FormPayload(BTreeMap<String, FormValue>);

/// A value of a form.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FormValue {
    /// The value of a name that is given once.
    One(String),
    /// The values of a name that is given several times.
    Several(Vec<String>),
}

impl PartialSchema for AnyPayload {
    fn schema() -> RefOr<Schema> {
        let scalars =
            [Type::Object, Type::String, Type::Number, Type::Boolean].map(Object::with_type);
        let list = ArrayBuilder::new().items(Object::with_type(SchemaType::AnyValue));
        let about = "Any JSON value except `null`. The agent gets it unchanged.";
        let choice = OneOfBuilder::new().description(Some(about)).item(list);
        Schema::OneOf(scalars.into_iter().fold(choice, OneOfBuilder::item).build()).into()
    }
}

impl ToSchema for AnyPayload {
    fn name() -> std::borrow::Cow<'static, str> {
        "Payload".into()
    }
}

/// Triggers an agent with the body as the payload.
///
/// Responds once the task is stored and queued. From then on the task cannot be lost. After a `503`, retry
/// with the same `Idempotency-Key`, so that no second task is created.
#[utoipa::path(post, path = "/api/webhooks/agents/{token}", tag = "Webhooks", operation_id = "trigger_agent",
    params(WebhookTokenParam, TriggerHeaders),
    request_body(description = "The payload. The default limit is 1 MiB. A form (`application/x-www-form-urlencoded`) is accepted too: \
        every value is a string, and a name that is given several times has a list.",
        content((AnyPayload = "application/json", example = json!({ "order": { "id": 42, "note": "Where is it?" } })))),
    responses((status = 200, description = "The task's id.", body = Accepted,
        headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before. The response has the first task's id.")),
        links(("status" = (operation_id = "get_task_status", parameters(("task_id" = "$response.body#/task_id"))))))),
    security(()))]
fn trigger_agent() {}

/// Triggers an agent with the query as the payload.
///
/// For callers that can only open a URL. Every value is a string. A name that is given several
/// times becomes a list. Without a query the payload is `{}`.
#[utoipa::path(get, path = "/api/webhooks/agents/{token}", tag = "Webhooks", operation_id = "trigger_agent_by_url",
    params(WebhookTokenParam, TriggerHeaders,
        ("payload" = Option<FormPayload>, Query, style = Form, explode, description = "Any names and values. They become the payload.")),
    responses((status = 200, description = "The task's id.", body = Accepted,
        headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before. The response has the first task's id.")),
        links(("status" = (operation_id = "get_task_status", parameters(("task_id" = "$response.body#/task_id"))))))),
    security(()))]
fn trigger_agent_by_url() {}
