use std::sync::Arc;

use store::{Clock, Secrets, StoredAgent};

use super::oauth::AccessTokens;
use crate::Sources;
use crate::egress::Egress;
use crate::scrub::RunSecrets;

/// What the tools of a run may use.
#[derive(Clone, Copy)]
pub(crate) struct ToolContext<'a> {
    pub(crate) egress: &'a Egress,
    /// Has the secrets that tools refer to.
    pub(crate) secret_store: &'a Arc<Secrets>,
    pub(crate) access_tokens: &'a AccessTokens,
    pub(crate) clock: &'a Clock,
    /// The secrets that the run sends. A secret is added before it is sent.
    pub(crate) run_secrets: &'a RunSecrets,
    /// `None` for a call outside of a run.
    pub(crate) searched: Option<Searched<'a>>,
}

/// The documents of one agent.
#[derive(Clone, Copy)]
pub(crate) struct Searched<'a> {
    pub(crate) sources: &'a Sources,
    pub(crate) record: &'a StoredAgent,
}
