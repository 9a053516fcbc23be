//! `/api/agents/{id}/sources`: the documents of an agent.
//!
//! A document is read, split and indexed once, at its upload. Runs only search it. The
//! agent's record is updated before and after the content is written
//! (`domain/src/catalogue.rs`). Each update is conditional: if another request changed the
//! record, the change is applied again to the new record.

pub(crate) mod upload;

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::{
    AuditEntry, AuditEvent, Catalogue, CatalogueError, DocumentContent, ListedDocument, Moment,
};
use serde::Serialize;
use sources::{DocumentFormat, IndexError, MAX_FILE_BYTES, ReadError};
use store::{StoredAgent, error_chain};
use subprocess::DocumentError;
use utoipa::ToSchema;

use super::{AgentPath, ManageError, audit_entry};
use crate::audit::Actor;
use crate::openapi::parameters::{AgentIdParam, DocumentIdParam};
use crate::{Management, Problem};

/// How often a change is tried again after a conflict with another request.
const MOST_CONFLICTS: u32 = 20;

/// Errors of document calls.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("Source not found")]
    NotFound,
    #[error(
        "The document is larger than {MAX_FILE_BYTES} bytes; split it, or upload only its text, as `agent-webhooks agent source add` does"
    )]
    TooLarge,
    #[error(
        "The Content-Type {0:?} is not supported; send text/plain, text/markdown, text/html, application/pdf, text/csv, application/json or another type of the documentation"
    )]
    MediaType(String),
    #[error(
        "The format is not known: send the Content-Type of the document, or `source` with one of the extensions {}",
        DocumentFormat::supported_extensions()
    )]
    UnknownFormat,
    #[error("The Content-Encoding is not supported; send the document uncompressed")]
    Encoded,
    #[error("Unknown parameter {0:?}; expected one of `title`, `source`")]
    UnknownParameter(String),
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// The document does not fit into the agent's catalogue.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The subprocess could not be started.
    #[error("failed to run the subprocess that reads documents")]
    ReaderUnavailable(#[source] std::io::Error),
    /// Indexing panicked, or the process is shutting down.
    #[error("indexing a document was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A document that an agent answers from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Document)]
pub(crate) struct DocumentView {
    /// The id of the document.
    id: String,
    /// Shown with answers.
    title: String,
    /// Where the document comes from: a URL or a file name. Unique among the documents of an agent.
    source: String,
    /// Size of the file in bytes.
    bytes: u64,
    /// Number of passages that the document was split into.
    passages: u32,
    /// When the document was uploaded.
    #[schema(format = "date-time")]
    created_at: String,
}

/// The documents of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentList {
    /// Ordered by id.
    sources: Vec<DocumentView>,
}

/// Lists an agent's documents.
#[utoipa::path(get, path = "/api/agents/{id}/sources", tag = "Documents", operation_id = "list_documents",
    params(AgentIdParam),
    responses((status = 200, description = "The documents.", body = DocumentList)))]
pub(crate) async fn list(
    State(management): State<Management>,
    id: AgentPath,
) -> Result<Json<DocumentList>, Problem> {
    let record = management.find(id).await?;
    Ok(Json(DocumentList {
        sources: record
            .catalogue
            .documents()
            .iter()
            .map(DocumentView::from)
            .collect(),
    }))
}

/// Deletes a document.
#[utoipa::path(delete, path = "/api/agents/{id}/sources/{source_id}", tag = "Documents", operation_id = "delete_document",
    params(AgentIdParam, DocumentIdParam),
    responses((status = 204, description = "Deleted.")))]
pub(crate) async fn delete(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, Problem> {
    let Ok(Path((id, source))) = path else {
        return Err(ManageError::NotFound.into());
    };
    let record = management.find(Ok(Path(id))).await?;
    // First delete what an interrupted call left: that call may have deleted this document.
    let record = management.delete_leftovers(record).await?;
    if record.catalogue.find(&source).is_none() {
        return Err(ManageError::from(SourceError::NotFound).into());
    }
    let record = management
        .change_catalogue(record, |catalogue| Ok(catalogue.without(&source)))
        .await?;
    let entry = audit_entry(AuditEvent::DocumentDeleted, &record);
    management
        .record(
            &actor,
            AuditEntry {
                source_id: Some(source),
                ..entry
            },
        )
        .await;
    management.delete_leftovers(record).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<&ListedDocument> for DocumentView {
    fn from(document: &ListedDocument) -> Self {
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
    /// Changes the documents of an agent. After a conflict with another request it tries again.
    async fn change_catalogue(
        &self,
        mut record: StoredAgent,
        change: impl Fn(Catalogue) -> Result<Catalogue, CatalogueError>,
    ) -> Result<StoredAgent, ManageError> {
        for conflicts in 0..MOST_CONFLICTS {
            tokio::time::sleep(pause_after(conflicts)).await;
            let catalogue = change(record.catalogue.clone()).map_err(SourceError::Catalogue)?;
            match self
                .replace(
                    &record,
                    StoredAgent {
                        catalogue,
                        ..record.clone()
                    },
                )
                .await
            {
                Err(ManageError::Conflict) => {
                    let now = self.agents.get(record.agent.id()).await?;
                    record = now.ok_or(ManageError::NotFound)?;
                }
                replaced => return replaced,
            }
        }
        Err(ManageError::Conflict)
    }

    /// Deletes contents that no document of the agent has, then removes them from its record.
    pub(crate) async fn delete_leftovers(
        &self,
        record: StoredAgent,
    ) -> Result<StoredAgent, ManageError> {
        let left = record.catalogue.deletable(self.clock.now());
        if left.is_empty() {
            return Ok(record);
        }
        self.delete_contents(&record, &left).await?;
        self.change_catalogue(record, |catalogue| Ok(catalogue.forgotten(&left)))
            .await
    }

    async fn delete_contents(
        &self,
        record: &StoredAgent,
        contents: &[DocumentContent],
    ) -> Result<(), ManageError> {
        for content in contents {
            self.document_importer
                .documents
                .delete(record.agent.id(), content)
                .await?;
        }
        Ok(())
    }

    /// Deletes all documents of an agent. Call it before the agent is deleted, because only the
    /// agent's record lists the contents.
    pub(crate) async fn delete_documents(
        &self,
        record: StoredAgent,
    ) -> Result<StoredAgent, ManageError> {
        if record.catalogue.is_empty() {
            return Ok(record);
        }
        let record = self
            .change_catalogue(record, |catalogue| Ok(catalogue.emptied()))
            .await?;
        self.delete_contents(&record, &record.catalogue.deletable(self.clock.now()))
            .await?;
        Ok(record)
    }
}

/// A random pause that grows with the number of conflicts, so that requests that conflicted
/// try again at different times.
fn pause_after(conflicts: u32) -> Duration {
    let mut entropy = [0];
    // Without randomness there is no pause.
    let _ = getrandom::fill(&mut entropy);
    Duration::from_micros(u64::from(conflicts * u32::from(entropy[0])) * 50)
}

impl From<DocumentError> for SourceError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Unreadable(error) => Self::Unreadable(error),
            DocumentError::System(error) => Self::ReaderUnavailable(error),
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
                Self::client_error(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
            }
            SourceError::MediaType(_) | SourceError::UnknownFormat => Self::client_error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                message,
            ),
            SourceError::Encoded => Self::client_error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                message,
            ),
            SourceError::UnknownParameter(_) => Self::bad_request("invalid_request", message),
            SourceError::Unreadable(ReadError::TooMuchText) => {
                Self::client_error(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message)
            }
            SourceError::Unreadable(_) => Self::client_error(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unreadable_document",
                message,
            ),
            SourceError::Catalogue(CatalogueError::TooLate) => {
                Self::client_error(StatusCode::CONFLICT, "conflict", message)
            }
            SourceError::Catalogue(CatalogueError::Title | CatalogueError::Source) => {
                Self::bad_request("invalid_request", message)
            }
            SourceError::Catalogue(_) => Self::bad_request("sources_full", message),
            SourceError::Index(_)
            | SourceError::ReaderUnavailable(_)
            | SourceError::Interrupted(_) => Self::internal(error),
        }
    }
}

/// Logs a failed deletion that does not fail the request. The next change to the agent's
/// documents tries it again.
fn log_leftover(error: &ManageError) {
    tracing::warn!(
        error = error_chain(error),
        "a replaced document is not deleted yet"
    );
}
