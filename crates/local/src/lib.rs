//! The `agent-webhooks` command: everything in one process, and the client
//! commands.
//!
//! [`serve::Server`] is the three functions, the management API, an embedded
//! DynamoDB, a queue and a poller in one process. [`client`] talks to any
//! deployment over HTTP.

pub mod cli;
pub mod client;
mod data_dir;
mod say;
pub mod serve;

pub use data_dir::{DataDir, DataDirError, TrustError};
pub use say::{fail, say};
