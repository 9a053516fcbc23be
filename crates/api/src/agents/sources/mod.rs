//! `/api/agents/{id}/sources`: the documents of an agent.
//!
//! An upload is read, cut and indexed here, once; whoever runs the agent only
//! searches. The record of the agent changes before and after the content is
//! written (`domain/src/catalogue.rs`), each time on the condition that nobody
//! else changed it, and again from the start if somebody did.

pub(crate) mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::{AuditEntry, AuditEvent, Catalogue, CatalogueError, Content, Listed, Moment};
use serde::Serialize;
use sources::{IndexError, MAX_FILE_BYTES, ReadError};
use store::{AgentRecord, Documents, error_chain};
use subprocess::DocumentError;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::{AgentPath, ManageError, Management, audit_entry};
use crate::Problem;
use crate::audit::Actor;
use crate::openapi::parameters::{OfAgent, OfDocument};

/// Documents read and indexed at a time.
const UPLOADS_AT_ONCE: usize = 2;
/// How often a change is tried anew because somebody else's came first.
const MOST_CONFLICTS: u32 = 20;

/// What taking in documents needs.
#[derive(Clone, Debug)]
pub struct Intake {
    documents: Documents,
    places: Arc<Semaphore>,
}

/// Why a document is not taken, or not found.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such document.
    #[error("Source not found")]
    NotFound,
    /// More bytes than are taken.
    #[error(
        "The document is larger than {MAX_FILE_BYTES} bytes; split it, or send its text alone, as `agent-webhooks agent source add` does"
    )]
    TooLarge,
    /// A format that nobody here reads.
    #[error(
        "The Content-Type {0:?} is not supported; send text/plain, text/markdown, text/html or application/pdf"
    )]
    MediaType(String),
    /// A compressed body.
    #[error("The Content-Encoding is not supported; send the document uncompressed")]
    Encoded,
    /// A misspelt field.
    #[error("The query has an unknown field {0:?}; there are `title` and `source`")]
    Query(String),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// The agent does not get it.
    #[error(transparent)]
    NoRoom(#[from] CatalogueError),
    /// The engine failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Documents cannot be read here.
    #[error("failed to run the subprocess that reads documents")]
    NoReader(#[source] std::io::Error),
    /// Indexing panicked, or the process ends.
    #[error("indexing a document broke off")]
    BrokenOff(#[from] tokio::task::JoinError),
}

/// A document that an agent answers from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub(crate) struct DocumentView {
    /// What it is deleted by.
    id: String,
    /// Shown beside answers.
    title: String,
    /// Where it comes from: a URL or a file name. An agent has one document of a name.
    source: String,
    /// Bytes of the file.
    bytes: u64,
    /// Pieces that it was cut into.
    passages: u32,
    /// When it was uploaded.
    #[schema(format = "date-time")]
    created_at: String,
}

/// The documents of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentList {
    /// By id.
    sources: Vec<DocumentView>,
}

impl Intake {
    /// Documents go to this table.
    pub fn new(documents: Documents) -> Self {
        Self { documents, places: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)) }
    }
}

/// Lists an agent's documents.
#[utoipa::path(get, path = "/api/agents/{id}/sources", tag = "Documents", operation_id = "list_documents",
    params(OfAgent),
    responses((status = 200, description = "The documents.", body = DocumentList)))]
pub(crate) async fn list(
    State(management): State<Management>,
    id: AgentPath,
) -> Result<Json<DocumentList>, Problem> {
    let record = management.find(id).await?;
    Ok(Json(DocumentList { sources: record.catalogue.documents().iter().map(DocumentView::from).collect() }))
}

/// Deletes a document.
#[utoipa::path(delete, path = "/api/agents/{id}/sources/{source_id}", tag = "Documents", operation_id = "delete_document",
    params(OfAgent, OfDocument),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, Problem> {
    let Ok(Path((id, source))) = path else { return Err(ManageError::NotFound.into()) };
    let record = management.find(Ok(Path(id))).await?;
    // What an earlier call left behind goes first: it may have deleted this one's.
    let record = management.sweep(record).await?;
    if record.catalogue.find(&source).is_none() {
        return Err(ManageError::from(SourceError::NotFound).into());
    }
    let record = management.change_catalogue(record, |catalogue| Ok(catalogue.without(&source))).await?;
    let entry = audit_entry(AuditEvent::DocumentDeleted, &record);
    management.record(&actor, AuditEntry { source_id: Some(source), ..entry }).await;
    management.sweep(record).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<&Listed> for DocumentView {
    fn from(document: &Listed) -> Self {
        Self {
            id: document.id(),
            title: document.title.clone(),
            source: document.source.clone(),
            bytes: document.bytes,
            passages: document.passages,
            created_at: Moment::from_millis(document.created_at).rfc3339(),
        }
    }
}

impl Management {
    /// Changes the documents of an agent, whoever else changes the agent meanwhile.
    async fn change_catalogue(
        &self,
        mut record: AgentRecord,
        change: impl Fn(Catalogue) -> Result<Catalogue, CatalogueError>,
    ) -> Result<AgentRecord, ManageError> {
        for conflicts in 0..MOST_CONFLICTS {
            tokio::time::sleep(pause_after(conflicts)).await;
            let catalogue = change(record.catalogue.clone()).map_err(SourceError::NoRoom)?;
            match self.replace(&record, AgentRecord { catalogue, ..record.clone() }).await {
                Err(ManageError::Conflict) => {
                    let now = self.agents.get(record.agent.id()).await?;
                    record = now.ok_or(ManageError::NotFound)?;
                }
                replaced => return replaced,
            }
        }
        Err(ManageError::Conflict)
    }

    /// Deletes what no document has, and then the mention of it.
    pub(crate) async fn sweep(&self, record: AgentRecord) -> Result<AgentRecord, ManageError> {
        let left = record.catalogue.deletable(self.clock.now());
        if left.is_empty() {
            return Ok(record);
        }
        self.delete_contents(&record, &left).await?;
        self.change_catalogue(record, |catalogue| Ok(catalogue.forgotten(&left))).await
    }

    async fn delete_contents(&self, record: &AgentRecord, contents: &[Content]) -> Result<(), ManageError> {
        for content in contents {
            self.intake.documents.delete(record.agent.id(), content).await?;
        }
        Ok(())
    }

    /// Before an agent is deleted: its documents first, while its record still
    /// names them.
    pub(crate) async fn clear_out(&self, record: AgentRecord) -> Result<AgentRecord, ManageError> {
        if record.catalogue.is_empty() {
            return Ok(record);
        }
        let record = self.change_catalogue(record, |catalogue| Ok(catalogue.emptied())).await?;
        self.delete_contents(&record, &record.catalogue.deletable(self.clock.now())).await?;
        Ok(record)
    }
}

/// The longer, the more came first; those that met go on at different times.
fn pause_after(conflicts: u32) -> Duration {
    let mut entropy = [0];
    // Without randomness they go on together.
    let _ = getrandom::fill(&mut entropy);
    Duration::from_micros(u64::from(conflicts * u32::from(entropy[0])) * 50)
}

impl From<DocumentError> for SourceError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Unreadable(error) => Self::Unreadable(error),
            DocumentError::System(error) => Self::NoReader(error),
        }
    }
}

impl From<SourceError> for ManageError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Self {
        let message = error.to_string();
        match error {
            SourceError::NotFound => Self::not_found("source_not_found", "Source not found"),
            SourceError::TooLarge => {
                Self::caller(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
            }
            SourceError::MediaType(_) => {
                Self::caller(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
            }
            SourceError::Encoded => {
                Self::caller(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message)
            }
            SourceError::Query(_) => Self::bad_request("invalid_request", message),
            SourceError::Unreadable(ReadError::TooMuchText) => {
                Self::caller(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
            }
            SourceError::Unreadable(_) => {
                Self::caller(StatusCode::UNPROCESSABLE_ENTITY, "unreadable_document", message)
            }
            SourceError::NoRoom(CatalogueError::TooLate) => {
                Self::caller(StatusCode::CONFLICT, "conflict", message)
            }
            SourceError::NoRoom(CatalogueError::Title | CatalogueError::Source) => {
                Self::bad_request("invalid_request", message)
            }
            SourceError::NoRoom(_) => Self::bad_request("sources_full", message),
            SourceError::Index(_) | SourceError::NoReader(_) | SourceError::BrokenOff(_) => {
                Self::internal(error)
            }
        }
    }
}

/// What goes wrong after the answer is decided is told, and mended at the next change.
fn tell_leftover(error: &ManageError) {
    tracing::warn!(error = error_chain(error), "a replaced document is not deleted yet");
}
