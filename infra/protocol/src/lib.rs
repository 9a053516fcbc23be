//! A model of the protocol: how a task is triggered, queued, claimed, run and
//! ended, and everything that can go wrong on the way. `cargo run -p protocol`
//! visits every state within the bounds and says what it found; then it leaves
//! out one rule of the protocol at a time, and shows how each is missed.
//!
//! Reading order: [`record`] has the conditional writes, [`state`] what there is,
//! `model` what can happen, `steps` what that does, `properties` what must hold.

mod check;
mod config;
mod model;
mod past;
mod properties;
pub mod record;
mod requests;
pub mod state;
mod steps;
mod trace;

pub use check::{Verdict, check};
pub use config::{Bounds, Config, Rule, Scenario};
pub use model::Action;
