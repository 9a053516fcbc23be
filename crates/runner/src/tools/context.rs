use store::{Secrets, StoredAgent};

use crate::Sources;
use crate::egress::Egress;
use crate::scrub::RunSecrets;

/// What the tools of a run may use.
#[derive(Clone, Copy)]
pub(crate) struct ToolContext<'a> {
    pub(crate) egress: &'a Egress,
    /// Has the secrets that headers refer to.
    pub(crate) secret_store: &'a Secrets,
    /// The secrets that the run sends. A secret is added before it is sent.
    pub(crate) run_secrets: &'a RunSecrets,
    pub(crate) sources: &'a Sources,
    pub(crate) record: &'a StoredAgent,
}
