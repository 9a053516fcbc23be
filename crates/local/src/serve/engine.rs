//! DynamoDB in this process: the SDK's HTTP connector hands each request to an
//! embedded engine on a SQLite file, with no socket between.

use std::path::Path;
use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

/// Calls at once. The database does one thing at a time; a few threads more read
/// requests and write answers meanwhile. Without a bound a burst would make
/// tokio start 512 threads that wait for each other.
const THREADS: usize = 8;

/// An embedded DynamoDB. Every write is synced to disk before it is answered.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    threads: Arc<Semaphore>,
}

/// The database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to open the database: {0}")]
pub struct EngineError(String);

impl Engine {
    /// On a file, made if it is not there.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        Self::opened(Database::new(&path.to_string_lossy()))
    }

    /// In memory only, for tests.
    pub fn in_memory() -> Result<Self, EngineError> {
        Self::opened(Database::memory())
    }

    fn opened(database: dynoxide::Result<Database>) -> Result<Self, EngineError> {
        let database = database.map_err(|error| EngineError(error.to_string()))?;
        Ok(Self { database, threads: Arc::new(Semaphore::new(THREADS)) })
    }

    /// Deletes expired items, as DynamoDB does in the background.
    pub async fn sweep(&self) {
        let database = self.database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(swept)) => tracing::debug!(swept, "expired items deleted"),
            Ok(Err(error)) => tracing::warn!(%error, "sweeping expired items failed"),
            Err(error) => tracing::warn!(%error, "sweeping expired items failed"),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl HttpClient for Engine {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { database, threads } = self.clone();
        HttpConnectorFuture::new(async move {
            // A caller who gives up here leaves nothing behind; once the call has a
            // thread it takes effect, whether or not its answer is awaited.
            let thread = threads.acquire_owned().await.map_err(|closed| failure(closed.into()))?;
            let call = move || {
                let answered = answer(&database, &request);
                drop(thread);
                answered
            };
            let answered = tokio::task::spawn_blocking(call).await;
            let (status, body) = answered.map_err(|error| failure(error.into()))?;
            let status = status.try_into().map_err(|_| failure("not an HTTP status".into()))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

fn failure(cause: BoxError) -> ConnectorError {
    ConnectorError::other(cause, None)
}

/// One DynamoDB call, named by its `X-Amz-Target`.
fn answer(database: &Database, request: &HttpRequest) -> (u16, String) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let body = request.body().bytes().unwrap_or_default();
    match target.rsplit('.').next().unwrap_or_default() {
        "PutItem" => call(body, |request| database.put_item(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "Query" => call(body, |request| database.query(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "Scan" => call(body, |request| database.scan(request)),
        "ListTables" => call(body, |request| database.list_tables(request)),
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "UpdateTable" => call(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        other => failed(&DynoxideError::ValidationException(format!("{other} is not used here"))),
    }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> (u16, String) {
    let request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return failed(&DynoxideError::SerializationException(error.to_string())),
    };
    match operation(request).map(|answer| serde_json::to_string(&answer)) {
        Ok(Ok(json)) => (200, json),
        Ok(Err(error)) => failed(&DynoxideError::InternalServerError(error.to_string())),
        Err(error) => failed(&error),
    }
}

fn failed(error: &DynoxideError) -> (u16, String) {
    (error.status_code(), error.to_json())
}
