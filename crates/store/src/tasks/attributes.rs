//! The attributes of the tasks table. Attributes of every table are in `item.rs`, and those of
//! content in separate items in `blob.rs`.
//!
//! `status` is a reserved word of DynamoDB. In expressions it is `#status`, and each request
//! maps that to [`STATUS`].

pub(super) use crate::item::{EXPIRES_AT, ID, VERSION};

// A task.
pub(super) const AGENT_ID: &str = "agent_id";
pub(super) const STATUS: &str = "status";
/// The fencing token.
pub(super) const ATTEMPT: &str = "attempt";
pub(super) const CREATED_AT: &str = "created_at";
pub(super) const STARTED_AT: &str = "started_at";
pub(super) const FINISHED_AT: &str = "finished_at";
pub(super) const SPENT_MS: &str = "spent_ms";
/// While STARTED: the end of the lease. While PENDING: the task cannot be claimed before.
pub(super) const LEASE_UNTIL: &str = "lease_until";
/// The claim that holds the lease.
pub(super) const HOLDER: &str = "holder";
pub(super) const WORKER_LOST: &str = "worker_lost";
pub(super) const WAITS_SINCE: &str = "waits_since";
pub(super) const WAITS_UNTIL: &str = "waits_until";
pub(super) const PAYLOAD: &str = "payload";
pub(super) const RUN: &str = "run";
pub(super) const OUTCOME: &str = "outcome";
/// In the map of an outcome that is stored in separate items: the outcome without its texts.
pub(super) const OUTCOME_BRIEF: &str = "brief";
pub(super) const EVENTS: &str = "events";

// An event of a task that is stored as a map.
pub(super) const EVENT_AT: &str = "at";
pub(super) const EVENT_TYPE: &str = "type";
pub(super) const EVENT_MESSAGE: &str = "message";
pub(super) const EVENT_RESUMES_AT: &str = "resumes_at";

// A task in the index.
pub(crate) const LISTED: &str = "listed";
pub(crate) const TASK_ID: &str = "task_id";
pub(crate) const FAILED: &str = "failed";

/// The count of a minute's triggers.
pub(super) const TRIGGERS: &str = "triggers";

/// A run slot of an agent.
pub(super) fn slot_name(slot: u32) -> String {
    format!("s{slot}")
}
