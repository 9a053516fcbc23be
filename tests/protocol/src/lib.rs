//! A model of the protocol: how a task is triggered, queued, claimed, run and ended, with all
//! possible failures. `cargo run -p protocol` visits all states within the bounds and prints
//! the result. Then it leaves out one rule of the protocol at a time, and prints a
//! counterexample for each.
//!
//! Reading order: [`record`] has the conditional writes, [`state`] the state, `model` the
//! possible actions, `steps`, `requests` and `runners` their effects, `properties` the
//! invariants.

mod check;
mod config;
mod model;
mod past;
mod properties;
pub mod record;
mod requests;
mod runners;
pub mod state;
mod steps;
mod trace;

pub use check::{Verdict, check};
pub use config::{Bounds, Config, Rule, Scenario};
pub use model::Action;
