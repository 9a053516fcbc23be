//! The parameters of paths, queries and headers in the OpenAPI document. Handlers parse them
//! without these types, so that a malformed value results in a [`crate::Problem`].
#![expect(dead_code, reason = "used only by their derive")]

use domain::Status;
use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AgentIdParam {
    /// The agent's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct DocumentIdParam {
    /// The document's id.
    source_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct SecretNameParam {
    /// The secret's name: letters, digits and `- _ . /`. It may contain slashes.
    #[param(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    name: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct WebhookTokenParam {
    /// The secret last segment of the webhook URL. Case does not matter.
    #[param(min_length = 16, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    token: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TaskIdParam {
    /// The task's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskListParams {
    /// Only tasks of this agent.
    #[param(format = "uuid", required = false)]
    agent_id: String,
    /// Only tasks with this status.
    #[param(required = false)]
    status: Status,
    /// Number of tasks on a page.
    #[param(minimum = 1, maximum = 100, default = 25, required = false)]
    limit: u16,
    /// The `next_cursor` of the previous page.
    #[param(required = false)]
    cursor: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditListParams {
    /// Number of entries on a page.
    #[param(minimum = 1, maximum = 100, default = 50, required = false)]
    limit: u16,
    /// The `next_cursor` of the previous page.
    #[param(required = false)]
    cursor: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParams {
    /// Only tasks of this agent.
    #[param(format = "uuid", required = false)]
    agent_id: String,
    /// Number of hours.
    #[param(minimum = 1, maximum = 336, default = 24, required = false)]
    hours: u16,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentUrlParams {
    /// The agent's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskStatusParams {
    /// The `task_id` that the trigger returned.
    #[param(format = "uuid")]
    task_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadParams {
    /// Shown with answers. By default the document's own title.
    #[param(max_length = 200, required = false)]
    title: String,
    /// Where the document comes from: a URL or a file name. By default its title.
    #[param(max_length = 500, required = false)]
    source: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct TriggerHeaders {
    /// The caller's name for this trigger, up to 256 characters, such as `order-42`. For 24 hours, triggers
    /// of the same agent with the same key return the first `task_id`, and the agent does not run again. So a
    /// retry after an error or a lost response is safe.
    #[param(rename = "Idempotency-Key", max_length = 256, required = false)]
    idempotency_key: String,
}
