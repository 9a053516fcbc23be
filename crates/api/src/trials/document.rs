//! Parses an OpenAPI document, and lists or imports its operations.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use domain::agent::tools::{
    DocumentError, ImportSource, ImportedApi, LeftOut, ListedApi, OpenApiError, Operation,
    import_openapi, list_openapi, parse_api_document,
};
use domain::{LeftOutTool, cut};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::TrialProblem;

/// A document of 4 MiB can take 200 MB of memory while it is parsed.
static PARSING: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(1)));

/// Why a document cannot be used. The texts are for the agent's owner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentProblem {
    #[error("The document is neither valid JSON nor valid YAML: {0}")]
    Syntax(#[from] DocumentError),
    #[error("The document cannot be used: {0}")]
    OpenApi(#[from] OpenApiError),
}

/// A document and the choices of the caller.
pub(super) struct ApiImport {
    pub(super) text: String,
    pub(super) document_url: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) allow: Vec<String>,
}

/// What a document offers, and the chosen operations.
pub(super) struct InspectedApi {
    pub(super) listed: ListedApi,
    /// `None` if no operation was chosen.
    pub(super) chosen: Option<ChosenApi>,
}

pub(super) struct ChosenApi {
    pub(super) base_url: Option<String>,
    pub(super) operations: Vec<Operation>,
    pub(super) samples: BTreeMap<String, Map<String, Value>>,
}

impl ApiImport {
    /// Works on a thread for blocking work, for one caller at a time.
    pub(super) async fn inspect(self) -> Result<InspectedApi, TrialProblem> {
        // The semaphore is never closed, so this is always `Ok`.
        let permit = Arc::clone(&PARSING).acquire_owned().await;
        let inspected = tokio::task::spawn_blocking(move || {
            // The work continues if the caller leaves, so it has the permit.
            let _permit = permit;
            self.inspect_now()
        })
        .await?;
        Ok(inspected?)
    }

    fn inspect_now(&self) -> Result<InspectedApi, DocumentProblem> {
        let document: Value = parse_api_document(&self.text)?;
        let source = ImportSource {
            base_url: self.base_url.as_deref(),
            document_url: self.document_url.as_deref(),
        };
        let listed = list_openapi(&document, source)?;
        if self.allow.is_empty() {
            let chosen = None;
            return Ok(InspectedApi { listed, chosen });
        }
        let ImportedApi {
            base_url,
            operations,
            samples,
            ..
        } = import_openapi(&document, &self.allow, source)?;
        let chosen = Some(ChosenApi {
            base_url,
            operations,
            samples,
        });
        Ok(InspectedApi { listed, chosen })
    }
}

pub(super) fn left_out(left_out: LeftOut) -> LeftOutTool {
    LeftOutTool {
        name: match left_out.operation == left_out.path {
            true => left_out.path,
            false => format!("{} ({})", left_out.operation, left_out.path),
        },
        reason: cut(&left_out.why.to_string(), 500),
    }
}
