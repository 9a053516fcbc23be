//! Trials: one call of a model or of a tool's server, before an agent uses it.
//!
//! The console's function can neither read the secrets of agents nor reach their servers, so a
//! [`TrialRunner`](crate::TrialRunner) makes the call. Each call is recorded in the audit log before it is made,
//! because it can send a stored secret to any server.

pub(crate) mod call;
mod document;
pub(crate) mod inspect;
pub(crate) mod model;

use axum::http::StatusCode;
use domain::{
    Agent, AgentError, AgentId, AuditEntry, AuditEvent, Definition, TrialError, TrialRequest,
    TrialResponse,
};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use crate::agents::ManageError;
use crate::audit::Actor;
use crate::{Management, Problem, TrialRunnerError};

/// Errors of trials, apart from the results of calls.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialProblem {
    #[error("The request body must be a JSON object")]
    NotAnObject,
    #[error("The request is not valid: {0}")]
    Request(#[from] serde_json::Error),
    #[error("The request is not valid: {0}")]
    Usage(&'static str),
    #[error(transparent)]
    Definition(#[from] AgentError),
    #[error(transparent)]
    Document(#[from] document::DocumentProblem),
    /// The server did not answer as it should.
    #[error("{}", .0.message)]
    Server(TrialError),
    #[error(transparent)]
    Runner(#[from] TrialRunnerError),
    #[error("the function that runs agents answered another request")]
    Mismatch,
    #[error("the document was not parsed")]
    Parser(#[from] tokio::task::JoinError),
}

impl From<TrialProblem> for Problem {
    fn from(error: TrialProblem) -> Self {
        let message = error.to_string();
        match error {
            TrialProblem::NotAnObject | TrialProblem::Request(_) | TrialProblem::Usage(_) => {
                Self::bad_request("invalid_request", message)
            }
            TrialProblem::Definition(error) => ManageError::Invalid(error).into(),
            TrialProblem::Document(_) => Self::bad_request("invalid_document", message),
            TrialProblem::Server(_) => {
                Self::client_error(StatusCode::UNPROCESSABLE_ENTITY, "server_failed", message)
            }
            TrialProblem::Runner(error @ TrialRunnerError::Unavailable(_)) => {
                Self::unavailable(error)
            }
            error => Self::internal(error),
        }
    }
}

/// Parses the body of a trial. Only an object: serde would also accept an array.
fn parse_body<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, TrialProblem> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(TrialProblem::NotAnObject);
    }
    Ok(serde_json::from_slice(body)?)
}

/// Checks a part of a definition as if an agent with it was saved.
fn check_part(id: Option<AgentId>, field: &str, part: Value) -> Result<Definition, AgentError> {
    let definition = json!({ "name": "trial", field: part }).to_string();
    let definition = Definition::from_json(definition.as_bytes())?;
    let agent = Agent::new(id.unwrap_or(AgentId::random([0; 16])), definition)?;
    Ok(agent.definition().clone())
}

/// The server of a URL, without the path and the query, which may contain credentials.
fn origin(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.has_host().then(|| url.origin().ascii_serialization())
}

fn audit_entry(event: AuditEvent, server: Option<String>) -> AuditEntry {
    AuditEntry {
        server,
        ..AuditEntry::new(event)
    }
}

impl Management {
    /// Records the call, then makes it.
    async fn run_trial(
        &self,
        actor: &Actor,
        entry: AuditEntry,
        request: TrialRequest,
    ) -> Result<TrialResponse, TrialProblem> {
        self.record(actor, entry).await;
        Ok(self.trials.run_trial(request).await?)
    }
}
