//! What Agent Webhooks decides: tasks and their transitions, ids, webhook
//! tokens, payloads, agents and the agent loop.
//!
//! Nothing here does I/O, reads a clock or draws a random number: those come in
//! as arguments, so every rule of the product is a plain synchronous test.
//!
//! Reading order: a request carries a [`WebhookToken`], perhaps an
//! [`IdempotencyKey`], and a [`Payload`]; it becomes a [`Task`] with a
//! [`TaskId`]; a runner claims the task and drives a [`Run`] of its [`Agent`]
//! to an [`Outcome`].

pub mod agent;
mod audit;
mod catalogue;
mod event;
mod id;
mod idempotency;
mod json;
mod listing;
mod moment;
mod outcome;
mod payload;
mod prompt;
mod run;
mod schema;
mod session;
mod stats;
mod task;
mod token;

pub use agent::{Agent, AgentDraft, AgentError, Limits, ModelConfig, Price, Provider, Source};
pub use audit::{AuditActor, AuditEntry, AuditEvent, FieldChange};
pub use catalogue::{Catalogue, CatalogueError, Content, Listed};
pub use event::{Event, EventKind, MAX_EVENT_MESSAGE_BYTES, MAX_EVENTS, history};
pub use id::{AgentId, TaskId, TaskKey};
pub use idempotency::{IdempotencyKey, KeyError};
pub use json::{ForeignJsonError, MAX_JSON_VALUES, count_json_values, parse_foreign_json};
pub use listing::{Brief, Entry, Span, Stretch, newest};
pub use moment::Moment;
pub use outcome::{Answer, Ended, ErrorType, Failure, Outcome, Passage, Usage};
pub use payload::{Payload, PayloadError};
pub use prompt::{Prompt, PromptError, check_template};
pub use run::{
    CallOutcome, Called, Message, ModelReply, Rules, Run, Step, StopReason, ToolCall, ToolCallRecord,
    ToolResult, ToolSpec, Turn, cut, fits_an_answer,
};
pub use schema::{AnswerSchema, Misfit, SchemaError};
pub use session::Session;
pub use stats::{ByStatus, Examined, ModelShare, Percentiles, Stats, Window, sample, stats};
pub use task::{
    AttemptEnd, ClaimRefusal, Fault, IDEMPOTENCY_WINDOW, Isolation, RetryPolicy, Status, Task, after_fault,
    gives_up_waiting, wait_pause,
};
pub use token::{Salt, TokenHash, WeakAdminToken, WebhookToken, check_admin_token, is_secret};
