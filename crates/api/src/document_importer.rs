//! The import of uploaded documents.

use std::sync::Arc;

use store::Documents;
use tokio::sync::Semaphore;

/// How many documents are read and indexed at a time.
const UPLOADS_AT_ONCE: usize = 2;
/// Reads, indexes and stores uploaded documents.
#[derive(Clone, Debug)]
pub struct DocumentImporter {
    pub(crate) documents: Documents,
    pub(crate) permits: Arc<Semaphore>,
}

impl DocumentImporter {
    pub fn new(documents: Documents) -> Self {
        Self {
            documents,
            permits: Arc::new(Semaphore::new(UPLOADS_AT_ONCE)),
        }
    }
}
