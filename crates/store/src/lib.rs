//! DynamoDB, SQS and the secret store: conditional writes that carry out what
//! `domain` decided. Nothing here decides, and nothing outside names an SDK type.
//!
//! - [`Tasks`]: one item is both the task and its idempotency record.
//! - [`Agents`]: definitions, webhook tokens by their hash, and the audit log.
//! - [`Documents`]: what agents' documents say, and its index.
//! - [`Queue`]: task ids on their way to a runner.
//! - [`Secrets`]: providers' API keys and imported tokens.
//! - [`Bedrock`]: signs what the runner asks Amazon's models.

mod agents;
mod audit;
pub mod aws;
mod bedrock;
mod blob;
mod cache;
mod clock;
mod documents;
pub mod env;
mod error;
mod https;
mod item;
mod private_file;
mod queue;
mod roots;
mod secrets;
mod tables;
mod tasks;

pub use agents::{AgentRecord, Agents, CreateError, TokenRecord, UpdateError, Webhook};
pub use audit::{AuditPosition, AuditStream};
pub use bedrock::{Bedrock, SignError};
pub use clock::Clock;
pub use documents::{Documents, Packed};
pub use error::{StoreError, error_chain};
pub use private_file::write_private_file;
pub use queue::{MemoryQueue, Message, Queue, SqsQueue};
pub use roots::trusted as trusted_certificates;
pub use secrets::{Secrets, read_secret};
pub use tables::{create_tables, index_tasks};
pub use tasks::{
    Admission, Burial, Claim, Claimed, Finish, Left, Pick, Rate, Release, Shown, Slot, SlotAnswer, Tasks,
    Unended, Wait,
};
