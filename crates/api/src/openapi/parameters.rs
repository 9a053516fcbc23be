//! The parameters of paths and queries, as the document has them. Handlers read
//! them by hand, so that what is malformed is answered as a [`crate::Problem`].
#![expect(dead_code, reason = "read by their derive alone")]

use domain::Status;
use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfAgent {
    /// The agent's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfDocument {
    /// The document's id.
    source_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfSecret {
    /// The secret's name, which may have slashes: letters, digits and `- _ . /`.
    #[param(min_length = 1, max_length = 256, pattern = "^[A-Za-z0-9_./-]+$")]
    name: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfWebhook {
    /// The secret end of the webhook URL, upper or lower case.
    #[param(min_length = 16, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    token: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct OfTask {
    /// The task's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TasksInQuery {
    /// Of this agent only.
    #[param(format = "uuid", required = false)]
    agent_id: String,
    /// Of this status only.
    #[param(required = false)]
    status: Status,
    /// Tasks on a page.
    #[param(minimum = 1, maximum = 100, default = 25, required = false)]
    limit: u16,
    /// The `next_cursor` of the page before.
    #[param(required = false)]
    cursor: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditInQuery {
    /// Entries on a page.
    #[param(minimum = 1, maximum = 100, default = 50, required = false)]
    limit: u16,
    /// The `next_cursor` of the page before.
    #[param(required = false)]
    cursor: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsInQuery {
    /// Of this agent only.
    #[param(format = "uuid", required = false)]
    agent_id: String,
    /// Of how many hours.
    #[param(minimum = 1, maximum = 336, default = 24, required = false)]
    hours: u16,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentInQuery {
    /// The agent's id.
    #[param(format = "uuid")]
    id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskInQuery {
    /// What the trigger answered.
    #[param(format = "uuid")]
    task_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DocumentNames {
    /// Shown beside answers; by default what the document calls itself.
    #[param(max_length = 200, required = false)]
    title: String,
    /// Where it comes from: a URL or a file name; by default its title.
    #[param(max_length = 500, required = false)]
    source: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Keyed {
    /// The caller's name for this trigger, up to 256 characters, such as `order-42`. For 24 hours the same
    /// key of the same agent is answered with the first `task_id`, and nothing runs a
    /// second time; so trying again after an error or a lost answer is safe.
    #[param(rename = "Idempotency-Key", max_length = 256, required = false)]
    idempotency_key: String,
}
