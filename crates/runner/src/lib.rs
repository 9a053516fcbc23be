//! Runs agents: turns a batch of queue messages into runs, drives the agent
//! loop, and records how each task ended.
//!
//! Reading order: [`run_batch`] takes messages, [`Runner`] claims and finishes
//! one task, `drive` performs what the loop in `domain` asks for, `model`
//! implements the providers' protocols.

mod answer;
mod attempt;
mod batch;
mod delivery;
mod disposition;
mod drive;
mod egress;
mod gate;
mod log;
mod memory;
mod model;
mod runner;
mod scrub;
mod secrets;
mod settings;
mod settle;
mod slots;
mod sources;
mod task;
mod tools;
mod traced;
mod trial;

pub use batch::{MAX_RECEIVES, RECEIVES_BEFORE_RESEND, run_batch};
pub use delivery::{Delivery, parse_message_body};
pub use egress::PrivateHosts;
pub use gate::RunGate;
pub use memory::MemoryBudget;
pub use model::{Models, ModelsError, parse_reply};
pub use runner::Runner;
pub use scrub::SecretScrubber;
pub use settings::RunSettings;
pub use sources::{Sources, SourcesError};
pub use tools::AccessTokens;
