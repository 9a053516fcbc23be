//! DynamoDB in this process: the SDK's HTTP connector hands each request to an
//! embedded engine on a SQLite file, with no socket between.

mod calls;
mod group_sync;

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
use dynoxide::actions::scan::ScanRequest;
use dynoxide::{Database, DynoxideError};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use calls::{CallQueue, CallWorker};
use group_sync::{GroupSync, SyncFailed};

/// Maximum number of items of one scan. DynamoDB stops at 1 MiB. So does the engine, but it
/// first reads the rest of the table into memory.
const MAX_SCANNED_ITEMS: usize = 100;

/// An embedded DynamoDB. Every write is synced to disk before it is answered.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    sync: Arc<GroupSync>,
    calls: Arc<CallQueue<EngineCall>>,
}

struct EngineCall {
    request: HttpRequest,
    /// Takes the status and the body of the response.
    responder: oneshot::Sender<Result<(u16, String), SyncFailed>>,
}

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("failed to open the database: {0}")]
    Database(String),
    /// SQLite's `-wal` file.
    #[error("failed to open the database's write-ahead log")]
    Log(#[source] std::io::Error),
}

impl Engine {
    /// Opens the database file, and creates it if it does not exist.
    ///
    /// SQLite commits without a sync, and [`GroupSync`] syncs its write-ahead log for all
    /// waiting calls. docs/decisions/0045-one-sync-for-all-waiting-requests.md explains why
    /// that is as durable as a sync per commit.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = Path::new(&log);
        if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            checkpoint_log(path)?;
        }
        let database = open_result(Database::new(&path.to_string_lossy()))?;
        // Its only lasting effect is `PRAGMA synchronous = NORMAL`.
        open_result(database.disable_bulk_loading())?;
        // Our own descriptor for as long as the engine lives. Closing a descriptor of the
        // database file would release SQLite's locks on it. The log has no locks.
        let log = File::open(log).map_err(EngineError::Log)?;
        // Opening the database wrote to the log.
        log.sync_data().map_err(EngineError::Log)?;
        Ok(Self::new(database, GroupSync::new(move || log.sync_data())))
    }

    /// Opens a database in memory, for tests.
    pub fn in_memory() -> Result<Self, EngineError> {
        Ok(Self::new(
            open_result(Database::memory())?,
            GroupSync::new(|| Ok(())),
        ))
    }

    fn new(database: Database, sync: GroupSync) -> Self {
        Self {
            database,
            sync: Arc::new(sync),
            calls: Arc::default(),
        }
    }

    /// Deletes expired items, as DynamoDB does in the background. No response waits for the
    /// sync of these deletions, because expired items are never shown.
    pub async fn sweep(&self) {
        let database = self.database.clone();
        match spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "failed to delete expired items"),
            Err(error) => tracing::warn!(%error, "failed to delete expired items"),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl HttpClient for Engine {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let engine = self.clone();
        HttpConnectorFuture::new(async move {
            let (responder, response) = oneshot::channel();
            match engine.calls.push_call(EngineCall { request, responder }) {
                Some(worker) => drop(spawn_blocking(move || engine.run_calls(worker))),
                None => drop(engine),
            }
            let response = response
                .await
                .map_err(|panicked| connector_error(panicked.into()))?;
            let (status, body) = response.map_err(|unsynced| connector_error(unsynced.into()))?;
            let status = status
                .try_into()
                .map_err(|_| connector_error("not an HTTP status".into()))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl Engine {
    /// Runs waiting calls until there are none.
    fn run_calls(self, mut worker: CallWorker<EngineCall>) {
        let Self { database, sync, .. } = self;
        let mut next = worker.next_call();
        while let Some(EngineCall { request, responder }) = next {
            if sync.has_failed() {
                // The caller may have stopped waiting.
                let _ = responder.send(Err(SyncFailed));
                next = worker.next_call();
                continue;
            }
            // A call whose caller stopped waiting is not run. From here on the call takes
            // effect, even if its caller stops waiting.
            let response = (!responder.is_closed()).then(|| {
                catch_unwind(AssertUnwindSafe(|| {
                    perform_call(&database, &sync, &request)
                }))
            });
            next = worker.next_call();
            // If the call panics, `responder` is dropped, which its caller sees.
            let Some(Ok(response)) = response else {
                continue;
            };
            let send = Box::new(move |synced: Result<(), SyncFailed>| {
                // The caller may have stopped waiting.
                let _ = responder.send(synced.map(|()| response));
            });
            if next.is_none() {
                // Drop our handle first: the receiver of the last response may rely on the
                // file being closed.
                drop(database);
                return sync.respond(send);
            }
            if sync.enqueue_response(send) {
                let sync = Arc::clone(&sync);
                spawn_blocking(move || sync.sync_until_idle());
            }
        }
    }
}

fn perform_call(database: &Database, sync: &GroupSync, request: &HttpRequest) -> (u16, String) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body = request.body().bytes().unwrap_or_default();
    let mut change = may_write(operation).then(|| sync.begin_change());
    let (status, response) = execute_operation(database, operation, body);
    if let Some(change) = &mut change {
        // 400: the condition failed or the request is not valid, so nothing was written.
        change.may_have_written = status != 400;
    }
    (status, response)
}

fn may_write(operation: &str) -> bool {
    !matches!(
        operation,
        "GetItem" | "Query" | "BatchGetItem" | "Scan" | "ListTables" | "DescribeTable"
    )
}

/// Moves the commits that an earlier process left in the log into the database. Its last
/// commits may not be on disk. If a sync failed, there may be a gap before them on disk. A
/// new sync does not close the gap, and everything written after a gap would be lost.
fn checkpoint_log(path: &Path) -> Result<(), EngineError> {
    let failed = |error: rusqlite::Error| EngineError::Database(error.to_string());
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    // A checkpoint syncs the log, copies it, syncs the database and empties the log
    // (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
    let is_busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(failed)?;
    match is_busy {
        true => Err(EngineError::Database(
            "another process has it open".to_owned(),
        )),
        false => connection.close().map_err(|(_, error)| failed(error)),
    }
}

fn open_result<T>(outcome: dynoxide::Result<T>) -> Result<T, EngineError> {
    outcome.map_err(|error| EngineError::Database(error.to_string()))
}

fn connector_error(cause: BoxError) -> ConnectorError {
    ConnectorError::other(cause, None)
}

/// Returns the status and the body of the response.
fn execute_operation(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    match operation {
        "PutItem" => execute(body, |request| database.put_item(request)),
        "GetItem" => execute(body, |request| database.get_item(request)),
        "DeleteItem" => execute(body, |request| database.delete_item(request)),
        "UpdateItem" => execute(body, |request| database.update_item(request)),
        "TransactWriteItems" => execute(body, |request| database.transact_write_items(request)),
        "Query" => execute(body, |request| database.query(request)),
        "BatchGetItem" => execute(body, |request| database.batch_get_item(request)),
        "Scan" => execute(body, |mut request: ScanRequest| {
            request.limit.get_or_insert(MAX_SCANNED_ITEMS);
            database.scan(request)
        }),
        "ListTables" => execute(body, |request| database.list_tables(request)),
        "CreateTable" => execute(body, |request| database.create_table(request)),
        "DescribeTable" => execute(body, |request| database.describe_table(request)),
        "UpdateTable" => execute(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => execute(body, |request| database.update_time_to_live(request)),
        other => error_response(&DynoxideError::ValidationException(format!(
            "the embedded engine does not support {other}"
        ))),
    }
}

fn execute<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> (u16, String) {
    let request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            return error_response(&DynoxideError::SerializationException(error.to_string()));
        }
    };
    match operation(request).map(|response| serde_json::to_string(&response)) {
        Ok(Ok(json)) => (200, json),
        Ok(Err(error)) => error_response(&DynoxideError::InternalServerError(error.to_string())),
        Err(error) => error_response(&error),
    }
}

fn error_response(error: &DynoxideError) -> (u16, String) {
    (error.status_code(), error.to_json())
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    async fn send_request(
        engine: &Engine,
        operation: &str,
        request: Value,
    ) -> Result<Value, ConnectorError> {
        let mut call = HttpRequest::new(SdkBody::from(request.to_string()));
        call.headers_mut()
            .insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let response = engine.call(call).await?;
        Ok(serde_json::from_slice(response.body().bytes().unwrap()).unwrap())
    }

    async fn create_table(engine: &Engine) {
        let table = json!({
            "TableName": "tasks", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        });
        send_request(engine, "CreateTable", table).await.unwrap();
    }

    async fn put(engine: &Engine, id: &str) -> Result<Value, ConnectorError> {
        send_request(
            engine,
            "PutItem",
            json!({ "TableName": "tasks", "Item": { "id": { "S": id } } }),
        )
        .await
    }

    async fn has(engine: &Engine, id: &str) -> bool {
        let key = json!({ "TableName": "tasks", "Key": { "id": { "S": id } } });
        send_request(engine, "GetItem", key)
            .await
            .unwrap()
            .get("Item")
            .is_some()
    }

    #[tokio::test]
    async fn commits_of_a_killed_process_are_moved_from_the_log_to_the_database_before_the_first_response()
     {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let first = Engine::open(&at("first")).unwrap();
        create_table(&first).await;
        put(&first, "a").await.unwrap();
        // As after a kill: a database, and a log that was not moved into it.
        fs::copy(at("first"), at("left")).unwrap();
        fs::copy(at("first-wal"), at("left-wal")).unwrap();
        assert!(fs::metadata(at("left-wal")).unwrap().len() > 0);
        let second = Engine::open(&at("left")).unwrap();
        // The database file holds it even without the log.
        fs::copy(at("left"), at("alone")).unwrap();
        assert!(has(&Engine::open(&at("alone")).unwrap(), "a").await);
        put(&second, "b").await.unwrap();
        assert!(has(&second, "a").await && has(&second, "b").await);
    }

    #[tokio::test]
    async fn no_call_takes_effect_after_the_disk_failed_to_sync() {
        let database = Database::memory().unwrap();
        let healthy = Engine::new(database.clone(), GroupSync::new(|| Ok(())));
        create_table(&healthy).await;
        let failing = Engine::new(
            database,
            GroupSync::new(|| Err(io::ErrorKind::Other.into())),
        );
        put(&failing, "during").await.unwrap_err();
        put(&failing, "after").await.unwrap_err();
        assert!(!has(&healthy, "after").await);
    }
}
