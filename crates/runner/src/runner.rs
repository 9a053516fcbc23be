//! What a run needs.

use std::sync::Arc;

use store::{Agents, Clock, Secrets, Tasks};
use subprocess::Subprocesses;

use crate::{AccessTokens, Models, RunGate, RunSettings, Sources};

/// Everything a run needs.
#[derive(Debug)]
pub struct Runner {
    pub tasks: Tasks,
    pub agents: Arc<Agents>,
    /// Contains the API keys of providers and the secrets of tools.
    pub secrets: Arc<Secrets>,
    /// Of the servers of tools.
    pub access_tokens: AccessTokens,
    /// The documents that agents search.
    pub sources: Arc<Sources>,
    pub models: Models,
    pub subprocesses: Subprocesses,
    /// Lets a task that lost its worker run alone.
    pub gate: RunGate,
    pub settings: RunSettings,
    pub clock: Clock,
}
