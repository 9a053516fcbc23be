//! Tests of the product over HTTP, on the embedded engine. A fake HTTP server stands
//! in for the models. There is one test binary, because linking takes most of the time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod agents;
mod audit;
mod calls;
mod client;
mod clock;
mod contract;
mod examples;
mod faults;
mod hostile;
mod idempotency;
mod kill;
mod limits;
mod logs;
mod openapi;
mod pages;
mod preview;
mod protocol;
mod providers;
mod redaction;
mod runs;
mod secrets;
mod security;
mod session;
mod sources;
mod stats;
mod status;
mod support;
mod tasks;
mod tools;
mod traces;
mod trials;
mod triggers;
mod turns;
mod upgrade;
