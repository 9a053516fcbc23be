//! Taking in a document.

use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use bytes::Bytes;
use domain::{AuditEntry, AuditEvent, Listed};
use sources::{Document, Format};
use store::{AgentRecord, Packed};
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::super::{AgentPath, Body, ManageError, Management, audit_entry};
use super::{DocumentView, SourceError, tell_leftover};
use crate::Problem;
use crate::audit::Actor;
use crate::openapi::parameters::{DocumentNames, OfAgent};

/// Of what a document calls itself, the beginning.
const NAME_BYTES: usize = 200;

/// What a document is called, as far as its sender says.
#[derive(Debug, Default)]
struct Names {
    title: Option<String>,
    source: Option<String>,
}

/// A PDF, byte for byte.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "read by its derive alone")]
pub(crate) struct Pdf(Bytes);

/// A document as it came.
struct File {
    bytes: Bytes,
    format: Format,
    charset: Option<String>,
}

/// A document that only has to be written.
struct Indexed {
    title: String,
    text_bytes: u64,
    passages: u32,
    packed: Packed,
}

/// Uploads a document for an agent to answer from.
///
/// One of the same `source` is replaced.
#[utoipa::path(post, path = "/api/agents/{id}/sources", tag = "Documents", operation_id = "upload_document",
    params(OfAgent, DocumentNames),
    request_body(description = "The document, as it is.", content(
        (String = "text/plain", example = "Returns are free for 30 days."), (String = "text/markdown"), (String = "text/html"), (Pdf = "application/pdf"))),
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
    let names = Names::read(query.as_deref().unwrap_or_default())?;
    let file = File::read(&headers, body)?;
    let entry = audit_entry(AuditEvent::DocumentAdded, &record);
    let (status, document) = management.take(record, names, file).await?;
    management.record(&actor, with_document(entry, &document)).await;
    Ok((status, Json(DocumentView::from(&document))))
}

fn with_document(entry: AuditEntry, document: &Listed) -> AuditEntry {
    AuditEntry {
        source_id: Some(document.id()),
        title: Some(document.title.clone()),
        bytes: Some(document.bytes),
        passages: Some(document.passages),
        ..entry
    }
}

impl Names {
    fn read(query: &str) -> Result<Self, SourceError> {
        let mut names = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.as_ref() {
                "title" => names.title = value,
                "source" => names.source = value,
                _ => return Err(SourceError::Query(name.into_owned())),
            }
        }
        Ok(names)
    }

    /// The source; of a document without one, what it is called; failing that, a
    /// name that the same bytes get again.
    fn source(&self, title: Option<&str>, bytes: &[u8]) -> String {
        let called = self.title.as_deref().or(title);
        let unnamed = || format!("document-{:08x}", sources::checksum(bytes));
        self.source.clone().unwrap_or_else(|| called.map_or_else(unnamed, own_name))
    }
}

impl File {
    fn read(headers: &HeaderMap, body: Body) -> Result<Self, ManageError> {
        let is_encoded =
            |value: &axum::http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
        if headers.get_all(CONTENT_ENCODING).iter().any(is_encoded) {
            return Err(SourceError::Encoded.into());
        }
        let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let content_type = content_type.unwrap_or_default();
        let Some((format, charset)) = Format::of(&content_type) else {
            return Err(SourceError::MediaType(content_type.into_owned()).into());
        };
        let bytes = body.map_err(refused_body)?;
        Ok(Self { bytes, format, charset: charset.map(ToOwned::to_owned) })
    }
}

fn refused_body(error: BytesRejection) -> ManageError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => SourceError::TooLarge.into(),
        _ => error.into(),
    }
}

impl Management {
    async fn take(
        &self,
        record: AgentRecord,
        names: Names,
        file: File,
    ) -> Result<(StatusCode, Listed), ManageError> {
        // Nobody closes the semaphore.
        let place = self.intake.places.acquire().await.ok();
        let size = file.bytes.len() as u64;
        let bytes = file.bytes.clone();
        let File { bytes: file, format, charset } = file;
        let reading = self.subprocesses.read_document(file, format, charset).await;
        let reading = reading.map_err(SourceError::from)?;
        let source = names.source(reading.title.as_deref(), &bytes);
        let own_title = || own_name(reading.title.as_deref().unwrap_or(&source));
        let title = names.title.unwrap_or_else(own_title);
        let text = reading.text;
        let indexed =
            spawn_blocking(move || indexed(title, &text)).await.map_err(SourceError::BrokenOff)??;
        let document = Listed {
            title: indexed.title,
            source,
            bytes: size,
            text_bytes: indexed.text_bytes,
            passages: indexed.passages,
            created_at: self.clock.now().millis(),
            content: indexed.packed.content().clone(),
        };
        let is_new = self.store(record, &document, &indexed.packed).await?;
        drop(place);
        Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, document))
    }

    /// Announces, writes and lists a document; says whether its source is new.
    async fn store(
        &self,
        record: AgentRecord,
        document: &Listed,
        packed: &Packed,
    ) -> Result<bool, ManageError> {
        record.catalogue.check_room(document).map_err(SourceError::NoRoom)?;
        let (agent, is_new) = (record.agent.id(), record.catalogue.find(&document.id()).is_none());
        let record = self.sweep(record).await?;
        let now = self.clock.now();
        let announce = |catalogue: domain::Catalogue| Ok(catalogue.announced(document.content.clone(), now));
        let record = self.change_catalogue(record, announce).await?;
        self.intake.documents.write(agent, packed).await?;
        let list = |catalogue: domain::Catalogue| catalogue.with(document.clone());
        let listed = match self.change_catalogue(record, list).await {
            Err(error @ ManageError::NotFound) => {
                // The agent was deleted meanwhile, and nothing names this content now.
                self.intake.documents.delete(agent, packed.content()).await?;
                return Err(error);
            }
            listed => listed?,
        };
        if let Err(error) = self.sweep(listed).await {
            tell_leftover(&error);
        }
        Ok(is_new)
    }
}

fn indexed(title: String, text: &str) -> Result<Indexed, ManageError> {
    let document = Document::new(&title, text).map_err(SourceError::Index)?;
    let passages = u32::try_from(document.passages()).unwrap_or(u32::MAX);
    let packed = Packed::new(&document.to_bytes(&title))?;
    Ok(Indexed { title, text_bytes: text.len() as u64, passages, packed })
}

/// What a document calls itself, as far as it can be taken.
fn own_name(name: &str) -> String {
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    let beginning = name.get(..end.unwrap_or_default()).unwrap_or_default();
    beginning.chars().filter(|c| !c.is_control()).collect()
}
