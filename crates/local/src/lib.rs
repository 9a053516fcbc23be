//! The `agent-webhooks` command: the local server and the client commands.
//!
//! [`serve::Server`] runs the four functions, an embedded DynamoDB, a queue and its
//! pollers in one process. [`client`] calls any deployment over HTTP.

pub mod cli;
pub mod client;
mod data_dir;
mod output;
pub mod serve;

pub use data_dir::{DataDir, DataDirError, TrustError};
pub use output::{eprint_line, print_line};
