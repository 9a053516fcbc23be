//! What the fuzz targets share: a bound on memory, and a DynamoDB that answers
//! what the input says.
//!
//! A target is one file in `fuzz_targets/`: it takes bytes from outside, hands
//! them to the code that takes them in the product, and asserts what must be
//! true of whatever that code makes of them.

#[cfg(feature = "whole")]
mod dynamo;

use std::alloc::System;

use cap::Cap;
use domain::{Agent, AgentId, Definition, Moment, TaskId, TaskKey};

#[cfg(feature = "whole")]
pub use dynamo::{Dynamo, Item, block_on};

/// A Lambda has 512 MB for ten runs. An input that makes one step need more than
/// this ends the target, as a panic does.
const MOST_BYTES: usize = 256 * 1024 * 1024;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, MOST_BYTES);

/// When every target plays.
pub const NOW: Moment = Moment::from_millis(1_767_225_600_000);
/// Whose tasks and agent they play with.
pub const AGENT: AgentId = AgentId::random([7; 16]);

/// A task of that agent.
pub fn task_id() -> TaskId {
    TaskId::new(NOW, TaskKey::random([7; 10]))
}

/// That agent with this prompt, as if it had passed every check.
pub fn agent_with(prompt: &str) -> Agent {
    let mut definition = Definition::named("fuzz", Vec::new());
    definition.prompt = Some(prompt.to_owned());
    Agent::from_stored(AGENT, definition)
}

/// An input in two parts: all before its last line, and that line.
pub fn last_line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (b"", input),
    }
}
