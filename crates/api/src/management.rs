//! What the management API needs.

use std::fmt;
use std::sync::Arc;

use domain::AuditEntry;
use store::{Agents, Clock, Secrets, Tasks};
use subprocess::Subprocesses;

use crate::admin::Admins;
use crate::audit::{self, Actor, Destination};
use crate::{DocumentImporter, TrialRunner};

/// Dependencies of the management API.
#[derive(Clone)]
pub struct Management {
    pub agents: Arc<Agents>,
    pub tasks: Tasks,
    pub secrets: Arc<Secrets>,
    pub document_importer: DocumentImporter,
    /// Read documents and render prompts.
    pub subprocesses: Subprocesses,
    /// Calls models and tools for tests.
    pub trials: Arc<dyn TrialRunner>,
    pub clock: Clock,
    pub admins: Admins,
    /// Webhook tokens are derived from this.
    pub signing_secret: Arc<str>,
    /// The base of webhook URLs, without a trailing slash.
    pub public_url: Arc<str>,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management")
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

impl Management {
    /// Records a change. Call it as soon as the change is stored, because later steps may
    /// fail.
    pub(crate) async fn record(&self, actor: &Actor, entry: AuditEntry) {
        audit::record(
            Some(&self.agents),
            self.clock.now(),
            actor,
            entry,
            Destination::BOTH,
        )
        .await;
    }
}
