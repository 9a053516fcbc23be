//! The audit log: who changed what, and what was refused, as log lines and as stored
//! entries (`GET /api/audit`). docs/operations/audit.md has the schema of both.
//!
//! The order is: the change, its log line, its stored entry. A change is in the log even
//! if the entry cannot be stored. That error is logged but does not fail the request,
//! because the caller would think that the change failed.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use domain::{AuditActor, AuditEntry, AuditEvent, Moment};
use store::{Agents, AuditStream, error_chain};
use tokio::time::timeout;

/// The longest time that a request waits for its entry to be stored.
const STORE_WITHIN: Duration = Duration::from_secs(3);

#[derive(Clone, Debug)]
pub struct Actor {
    kind: AuditActor,
    session_id: Option<String>,
    address: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    pub(crate) is_logged: bool,
    pub(crate) is_stored: bool,
}

impl Destination {
    pub(crate) const BOTH: Self = Self {
        is_logged: true,
        is_stored: true,
    };
}

impl Actor {
    /// The server itself, not on behalf of a caller.
    pub const fn server() -> Self {
        Self {
            kind: AuditActor::Server,
            session_id: None,
            address: None,
        }
    }

    pub(crate) const fn admin_token(address: Option<IpAddr>) -> Self {
        Self {
            kind: AuditActor::AdminToken,
            session_id: None,
            address,
        }
    }

    pub(crate) const fn session(id: String, address: Option<IpAddr>) -> Self {
        Self {
            kind: AuditActor::Session,
            session_id: Some(id),
            address,
        }
    }

    pub(crate) const fn unauthenticated(address: Option<IpAddr>) -> Self {
        Self {
            kind: AuditActor::Unauthenticated,
            session_id: None,
            address,
        }
    }

    fn sign(&self, entry: AuditEntry, now: Moment) -> AuditEntry {
        let mut entropy = [0; 8];
        // Without randomness the id is not unique, but the entry is still valid.
        let _ = getrandom::fill(&mut entropy);
        AuditEntry {
            id: format!("{:016x}", u64::from_be_bytes(entropy)),
            at: now.rfc3339(),
            actor: self.kind,
            session_id: self.session_id.clone(),
            address: self
                .address
                .map(|address| address.to_canonical().to_string()),
            ..entry
        }
    }
}

/// Logs an entry, then stores it.
pub(crate) async fn record(
    agents: Option<&Agents>,
    now: Moment,
    actor: &Actor,
    entry: AuditEntry,
    destination: Destination,
) {
    let entry = actor.sign(entry, now);
    if destination.is_logged {
        log(&entry);
    }
    let Some(agents) = agents.filter(|_| destination.is_stored) else {
        return;
    };
    let stream = if entry.event.is_refusal() {
        AuditStream::Refusals
    } else {
        AuditStream::Changes
    };
    match timeout(STORE_WITHIN, agents.append_audit_entry(stream, &entry, now)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log_not_stored(&entry, error_chain(&error)),
        Err(elapsed) => log_not_stored(&entry, elapsed),
    }
}

fn log_not_stored(entry: &AuditEntry, error: impl Display) {
    tracing::error!(audit_id = entry.id, event = entry.event.as_str(), error = %error, "audit entry not stored");
}

/// Logs one line. `tracing` needs the level at compile time, so there are two calls.
fn log(entry: &AuditEntry) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = entry.event.as_str(),
                audit_id = entry.id,
                actor = entry.actor.as_str(),
                session_id = entry.session_id,
                address = entry.address,
                agent_id = entry.agent_id,
                fields = joined(&entry.fields),
                changes = changes_text(entry),
                secret_name = entry.secret_name,
                source_id = entry.source_id,
                bytes = entry.bytes,
                passages = entry.passages,
                server = entry.server,
                tool = entry.tool,
                overlap_seconds = entry.overlap_seconds,
                attempts = entry.attempts,
                addresses = entry.addresses,
                "{}",
                message(entry.event)
            )
        };
    }
    if entry.event.is_refusal() {
        line!(warn)
    } else {
        line!(info)
    }
}

fn joined(fields: &[String]) -> Option<String> {
    (!fields.is_empty()).then(|| fields.join(","))
}

/// The changes as JSON in a string, because log fields are flat.
fn changes_text(entry: &AuditEntry) -> Option<String> {
    let changes = Some(&entry.changes).filter(|changes| !changes.is_empty())?;
    serde_json::to_string(changes).ok()
}

const fn message(event: AuditEvent) -> &'static str {
    match event {
        AuditEvent::AgentCreated => "agent created",
        AuditEvent::AgentUpdated => "agent updated",
        AuditEvent::AgentEnabled => "agent enabled",
        AuditEvent::AgentDisabled => "agent disabled",
        AuditEvent::AgentDeleted => "agent deleted",
        AuditEvent::WebhookRotated => "webhook rotated",
        AuditEvent::SecretPut => "secret stored",
        AuditEvent::SecretDeleted => "secret deleted",
        AuditEvent::DocumentAdded => "document stored",
        AuditEvent::DocumentDeleted => "document deleted",
        AuditEvent::ModelTested => "model tested",
        AuditEvent::ToolInspected => "tool inspected",
        AuditEvent::ToolCalled => "tool called as a test",
        AuditEvent::SignedIn => "signed in to the console",
        AuditEvent::SignedOut => "signed out of the console",
        AuditEvent::SignInFailed => "sign-in failed",
        AuditEvent::TokenRejected => "admin token rejected",
        AuditEvent::AttemptsLimited => "attempts limited",
        AuditEvent::CrossOriginRefused => "cross-origin change refused",
        AuditEvent::AttemptsOmitted => "attempts omitted",
        AuditEvent::Unknown => "unknown event",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_message_of_an_event_matches_the_event() {
        assert_eq!(message(AuditEvent::AgentCreated), "agent created");
        assert_eq!(message(AuditEvent::AttemptsOmitted), "attempts omitted");
    }
}
