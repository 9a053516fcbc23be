//! DynamoDB, SQS and the secret store. This crate carries out the decisions of `domain`
//! as conditional writes. It makes no decisions, and no SDK type leaves it.
//!
//! - [`Tasks`]: one item is both the task and its idempotency record.
//! - [`Agents`]: definitions, webhook tokens by their hash, and the audit log.
//! - [`Documents`]: the content of agents' documents, and its search index.
//! - [`Queue`]: task ids for the workers.
//! - [`Secrets`]: providers' API keys and imported tokens.
//! - [`LambdaFunction`]: invokes another function.
//! - [`Bedrock`]: signs the requests that the runner sends to Amazon Bedrock.

mod agents;
mod audit;
pub mod aws;
mod bedrock;
mod blob;
mod cache;
mod clock;
mod conditions;
mod documents;
pub mod env;
mod error;
mod item;
mod lambda;
mod private_file;
mod queue;
mod secrets;
mod signature;
mod tables;
mod tasks;

pub use agents::{Agents, CreateError, Refused, StoredAgent, TokenRecord, UpdateError, Webhook};
pub use audit::{AuditPosition, AuditStream};
pub use bedrock::Bedrock;
pub use clock::Clock;
pub use documents::{Documents, PackedDocument};
pub use error::{StoreError, error_chain};
pub use lambda::{InvokeError, LambdaFunction};
pub use private_file::write_private_file;
pub use queue::{MemoryQueue, Queue, QueueMessage, SqsQueue};
pub use secrets::{Secrets, read_secret};
pub use signature::SignError;
pub use tables::{create_tables, index_tasks};
pub use tasks::{
    Admission, Claim, Claimed, EndAbandoned, FailureFilter, Finish, Rate, Release, Slot,
    SlotAnswer, TaskDetails, Tasks, Unfinished, UnfinishedTask, Wait,
};
