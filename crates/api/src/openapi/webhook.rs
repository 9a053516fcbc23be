//! The one handler of a webhook, told as the two operations that it is. Its route
//! takes any method, so no attribute of its own can.
#![expect(dead_code, reason = "read by their attribute alone")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, OneOfBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{Keyed, OfWebhook};
use crate::webhook::Accepted;

/// What a webhook is called with.
pub(crate) struct AnyPayload;

/// Every value is a text, and of a name that is given several times a list of texts.
#[derive(Serialize, ToSchema)]
pub(crate) struct FormPayload(BTreeMap<String, FormValue>);

/// A value of a form.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FormValue {
    /// Of a name given once.
    One(String),
    /// Of a name given several times.
    Several(Vec<String>),
}

impl PartialSchema for AnyPayload {
    fn schema() -> RefOr<Schema> {
        let scalars = [Type::Object, Type::String, Type::Number, Type::Boolean].map(Object::with_type);
        let list = ArrayBuilder::new().items(Object::with_type(SchemaType::AnyValue));
        let about = "Any JSON value but `null`. It reaches the agent as it is sent.";
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
/// Answered once the task is stored and queued: nothing loses it then. A
/// `503` may be tried again, with the same `Idempotency-Key` for no second task.
#[utoipa::path(post, path = "/api/webhooks/agents/{token}", tag = "Webhooks", operation_id = "trigger_agent",
    params(OfWebhook, Keyed),
    request_body(description = "The payload, up to 1 MiB unless the deployment says otherwise.", content(
        (AnyPayload = "application/json", example = json!({ "order": { "id": 42, "note": "Where is it?" } })),
        (FormPayload = "application/x-www-form-urlencoded"))),
    responses((status = 200, description = "The task's id.", body = Accepted,
        headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before, and this is the first one's task.")),
        links(("status" = (operation_id = "get_task_status", parameters(("task_id" = "$response.body#/task_id"))))))),
    security(()))]
fn trigger_agent() {}

/// Triggers an agent with the query as the payload.
///
/// For callers that can only open a URL. Every value is a text; a name given several
/// times becomes a list; no query is the payload `{}`.
#[utoipa::path(get, path = "/api/webhooks/agents/{token}", tag = "Webhooks", operation_id = "trigger_agent_by_url",
    params(OfWebhook, Keyed,
        ("payload" = Option<FormPayload>, Query, style = Form, explode, description = "Any names and values: they are the payload.")),
    responses((status = 200, description = "The task's id.", body = Accepted,
        headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before, and this is the first one's task.")),
        links(("status" = (operation_id = "get_task_status", parameters(("task_id" = "$response.body#/task_id"))))))),
    security(()))]
fn trigger_agent_by_url() {}
