//! The rules of Agent Webhooks: tasks and their transitions, ids, webhook tokens, payloads,
//! agents and the agent loop.
//!
//! This crate does no I/O, reads no clock and generates no random numbers. Those are arguments,
//! so every rule can be tested synchronously.
//!
//! Reading order: a request has a [`WebhookToken`], a [`Payload`] and optionally an
//! [`IdempotencyKey`]. It becomes a [`Task`] with a [`TaskId`]. A runner claims the task and
//! drives a [`Run`] of its [`Agent`] to an [`Outcome`].

pub mod agent;
mod audit;
mod catalogue;
mod error_detail;
mod event;
mod exact;
mod hex;
mod id;
mod idempotency;
mod json;
mod listing;
mod moment;
mod outcome;
mod passage;
mod payload;
mod prompt;
mod prose;
mod run;
mod salt;
mod schema;
mod session;
mod stats;
mod task;
mod text;
mod token;
mod trial;

pub use agent::{
    Agent, AgentError, Definition, Limits, ModelConfig, NewAgent, Price, Provider, Source,
};
pub use audit::{AuditActor, AuditEntry, AuditEvent, FieldChange};
pub use catalogue::{Catalogue, CatalogueError, DocumentContent, ListedDocument};
pub use error_detail::ErrorDetail;
pub use event::{
    HistoryEvent, HistoryEventKind, MAX_EVENT_MESSAGE_BYTES, MAX_EVENTS, task_history,
};
pub use exact::ExactValue;
pub use id::{AgentId, TaskId, TaskKey};
pub use idempotency::{IdempotencyKey, KeyError};
pub use json::{
    ForeignJsonError, JsonFields, MAX_JSON_VALUES, count_json_values, json_fields,
    parse_foreign_json, replace_lone_surrogates,
};
pub use listing::{ListPage, ListRange, TaskBrief, TaskEntry, merge_newest};
pub use moment::Moment;
pub use outcome::{Answer, Ended, ErrorType, Failure, Outcome, Usage};
pub use passage::Passage;
pub use payload::{Payload, PayloadError};
pub use prompt::{Prompt, PromptError, check_template};
pub use run::{
    CallOutcome, CallReport, ChatMessage, ChatTurn, ModelReply, Rules, Run, Step, StopReason,
    ToolCall, ToolCallRecord, ToolResult, ToolSpec, fits_lambda_response, normalize_tool_schema,
};
pub use salt::Salt;
pub use schema::{AnswerSchema, SchemaError, SchemaMismatch};
pub use session::Session;
pub use stats::{
    ByStatus, ExaminedTask, ModelShare, Percentiles, Stats, Window, calculate_stats, sample_tasks,
};
pub use task::{
    AttemptEnd, ClaimRefusal, Fault, IDEMPOTENCY_WINDOW, Isolation, RetryPolicy, Status, Task,
    after_fault, gives_up_waiting, wait_pause,
};
pub use text::cut;
pub use token::{TokenHash, WeakAdminToken, WebhookToken, check_admin_token, is_secret};
pub use trial::{
    CallTrial, DownloadedDocument, LeftOutTool, McpListing, McpToolInfo, ModelTrial, TrialError,
    TrialRequest, TrialResponse,
};
