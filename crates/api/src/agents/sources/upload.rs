//! `POST /api/agents/{id}/sources`: uploads a document.

use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use bytes::Bytes;
use domain::{AuditEntry, AuditEvent, ListedDocument};
use sources::{Document, DocumentFormat};
use store::{PackedDocument, StoredAgent};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::super::{AgentPath, Body, ManageError, audit_entry};
use super::{DocumentView, SourceError, log_leftover};
use crate::audit::Actor;
use crate::openapi::parameters::{AgentIdParam, UploadParams};
use crate::{Management, Problem};

/// A document's own title is cut at this length.
const NAME_BYTES: usize = 200;

/// The title and source that the caller gives.
#[derive(Debug, Default)]
struct UploadNames {
    title: Option<String>,
    source: Option<String>,
}

/// A file of any supported format.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "read by its derive alone")]
pub(crate) struct DocumentFile(Bytes);

struct UploadedFile {
    bytes: Bytes,
    format: DocumentFormat,
    charset: Option<String>,
}

/// A document that is ready to be stored.
struct IndexedUpload {
    title: String,
    text_bytes: u64,
    passages: u32,
    packed: PackedDocument,
}

/// Uploads a document for an agent to answer from.
///
/// Replaces the document with the same `source`, if there is one.
#[utoipa::path(post, path = "/api/agents/{id}/sources", tag = "Documents", operation_id = "upload_document",
    params(AgentIdParam, UploadParams),
    request_body(description = "The content of the document. Its format is that of the extension of `source`. A content type of \
        its own says it too: `text/plain`, `text/markdown`, `text/html`, `application/xhtml+xml`, `application/pdf`, \
        `application/vnd.openxmlformats-officedocument.wordprocessingml.document`, `text/csv`, `text/tab-separated-values`, \
        `application/json`, `application/x-ndjson`, `text/x-rst`, `text/mdx` or `text/org`.",
        content((DocumentFile = "application/octet-stream"))),
    responses((status = 201, description = "A new document.", body = DocumentView),
        (status = 200, description = "The document that replaced an earlier one.", body = DocumentView)))]
pub(crate) async fn upload(
    State(management): State<Management>,
    Extension(actor): Extension<Actor>,
    id: AgentPath,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<DocumentView>), Problem> {
    let record = management.find(id).await?;
    let names = UploadNames::parse(query.as_deref().unwrap_or_default())?;
    let file = UploadedFile::from_request(&headers, names.source.as_deref(), body)?;
    let entry = audit_entry(AuditEvent::DocumentAdded, &record);
    let (status, document) = management.import_document(record, names, file).await?;
    management
        .record(&actor, document_entry(entry, &document))
        .await;
    Ok((status, Json(DocumentView::from(&document))))
}

fn document_entry(entry: AuditEntry, document: &ListedDocument) -> AuditEntry {
    AuditEntry {
        source_id: Some(document.id()),
        title: Some(document.title.clone()),
        bytes: Some(document.bytes),
        passages: Some(document.passages),
        ..entry
    }
}

impl UploadNames {
    fn parse(query: &str) -> Result<Self, SourceError> {
        let mut names = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.as_ref() {
                "title" => names.title = value,
                "source" => names.source = value,
                _ => return Err(SourceError::UnknownParameter(name.into_owned())),
            }
        }
        Ok(names)
    }

    /// The source. By default the title, and for a document without a title a name that is
    /// calculated from its bytes, so the same file gets the same name.
    fn source(&self, title: Option<&str>, bytes: &[u8]) -> String {
        let name = self.title.as_deref().or(title);
        let unnamed = || format!("document-{:08x}", sources::checksum(bytes));
        self.source
            .clone()
            .unwrap_or_else(|| name.map_or_else(unnamed, truncated_name))
    }
}

impl UploadedFile {
    fn from_request(
        headers: &HeaderMap,
        source: Option<&str>,
        body: Body,
    ) -> Result<Self, ManageError> {
        let is_encoded =
            |value: &axum::http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get_all(CONTENT_ENCODING).iter().any(is_encoded) {
            return Err(SourceError::Encoded.into());
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let content_type = content_type.unwrap_or_default();
        let content_type = match content_type.trim().to_ascii_lowercase().as_str() {
            "" | "application/octet-stream" => type_of_source(source)?.into(),
            _ => content_type,
        };
        let Some((format, charset)) = DocumentFormat::from_content_type(&content_type) else {
            return Err(SourceError::MediaType(content_type.into_owned()).into());
        };
        let bytes = body.map_err(body_error)?;
        Ok(Self {
            bytes,
            format,
            charset: charset.map(ToOwned::to_owned),
        })
    }
}

/// The content type of a file that is named by its source.
fn type_of_source(source: Option<&str>) -> Result<&'static str, SourceError> {
    // A source may be a URL.
    let path = source.and_then(|source| source.split(['?', '#']).next());
    let extension = path.and_then(|path| path.rsplit_once('.'));
    extension
        .and_then(|(_, extension)| DocumentFormat::content_type_of_extension(extension))
        .ok_or(SourceError::UnknownFormat)
}

fn body_error(error: BytesRejection) -> ManageError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => SourceError::TooLarge.into(),
        _ => error.into(),
    }
}

impl Management {
    async fn import_document(
        &self,
        record: StoredAgent,
        names: UploadNames,
        file: UploadedFile,
    ) -> Result<(StatusCode, ListedDocument), ManageError> {
        // The semaphore is never closed, so this is always `Some`.
        let permit = self.document_importer.permits.acquire().await.ok();
        let size = file.bytes.len() as u64;
        let bytes = file.bytes.clone();
        let UploadedFile {
            bytes: file,
            format,
            charset,
        } = file;
        let extracted = self.subprocesses.read_document(file, format, charset).await;
        let extracted = extracted.map_err(SourceError::from)?;
        let source = names.source(extracted.title.as_deref(), &bytes);
        let own_title = || truncated_name(extracted.title.as_deref().unwrap_or(&source));
        let title = names.title.unwrap_or_else(own_title);
        let text = extracted.text;
        let indexed = spawn_blocking(move || index_document(title, &text))
            .await
            .map_err(SourceError::Interrupted)??;
        let document = ListedDocument {
            title: indexed.title,
            source,
            bytes: size,
            text_bytes: indexed.text_bytes,
            passages: indexed.passages,
            created_at: self.clock.now().millis(),
            content: indexed.packed.content().clone(),
        };
        let is_new = self
            .store_document(record, &document, &indexed.packed)
            .await?;
        drop(permit);
        Ok((
            if is_new {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            },
            document,
        ))
    }

    /// Announces a document in the agent's record, writes its content and lists it. Returns
    /// whether its source is new.
    async fn store_document(
        &self,
        record: StoredAgent,
        document: &ListedDocument,
        packed: &PackedDocument,
    ) -> Result<bool, ManageError> {
        record
            .catalogue
            .check_room(document)
            .map_err(SourceError::Catalogue)?;
        let (agent, is_new) = (
            record.agent.id(),
            record.catalogue.find(&document.id()).is_none(),
        );
        let record = self.delete_leftovers(record).await?;
        let now = self.clock.now();
        let announce =
            |catalogue: domain::Catalogue| Ok(catalogue.announced(document.content.clone(), now));
        let record = self.change_catalogue(record, announce).await?;
        self.document_importer
            .documents
            .write(agent, packed)
            .await?;
        let list = |catalogue: domain::Catalogue| catalogue.with(document.clone());
        let listed = match self.change_catalogue(record, list).await {
            Err(error @ ManageError::NotFound) => {
                // The agent was deleted in the meantime, so no record lists this content.
                self.document_importer
                    .documents
                    .delete(agent, packed.content())
                    .await?;
                return Err(error);
            }
            listed => listed?,
        };
        if let Err(error) = self.delete_leftovers(listed).await {
            log_leftover(&error);
        }
        Ok(is_new)
    }
}

fn index_document(title: String, text: &str) -> Result<IndexedUpload, ManageError> {
    let document = Document::new(&title, text).map_err(SourceError::Index)?;
    let passages = u32::try_from(document.passages()).unwrap_or(u32::MAX);
    let packed = PackedDocument::new(&document.to_bytes(&title))?;
    Ok(IndexedUpload {
        title,
        text_bytes: text.len() as u64,
        passages,
        packed,
    })
}

/// A document's own title without control characters, cut at [`NAME_BYTES`].
fn truncated_name(name: &str) -> String {
    let end = (0..=NAME_BYTES.min(name.len()))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    let beginning = name.get(..end.unwrap_or_default()).unwrap_or_default();
    beginning.chars().filter(|c| !c.is_control()).collect()
}
