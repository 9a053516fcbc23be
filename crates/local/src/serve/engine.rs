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

use calls::{Calls, Serving};
use group_sync::{GroupSync, Unsynced};

/// Items that one call scans at most. DynamoDB stops at 1 MiB; the engine does so as
/// well, but has read the rest of the table into memory by then.
const SCANNED: usize = 100;

/// An embedded DynamoDB. Every write is synced to disk before it is answered.
#[derive(Clone)]
pub struct Engine {
    database: Database,
    sync: Arc<GroupSync>,
    calls: Arc<Calls<Call>>,
}

/// A call on its way: what is asked, and who waits for the status and the body.
struct Call {
    request: HttpRequest,
    tell: oneshot::Sender<Result<(u16, String), Unsynced>>,
}

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot open it.
    #[error("failed to open the database: {0}")]
    Database(String),
    /// What SQLite writes before it writes to the database.
    #[error("failed to open the database's log")]
    Log(#[source] std::io::Error),
}

impl Engine {
    /// On a file, made if it is not there.
    ///
    /// SQLite commits without a sync, and [`GroupSync`] syncs its log for all who
    /// wait. ARCHITECTURE.md tells why that is as durable as a sync per commit.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = Path::new(&log);
        if fs::metadata(log).is_ok_and(|log| log.len() > 0) {
            take_over(path)?;
        }
        let database = opened(Database::new(&path.to_string_lossy()))?;
        // All that it leaves changed is `PRAGMA synchronous`, which is NORMAL then.
        opened(database.disable_bulk_loading())?;
        // A descriptor of our own for the engine's whole life. Closing one of the
        // database itself would take SQLite's locks away; the log has none.
        let log = File::open(log).map_err(EngineError::Log)?;
        // What opening it wrote.
        log.sync_data().map_err(EngineError::Log)?;
        Ok(Self::new(database, GroupSync::new(move || log.sync_data())))
    }

    /// In memory only, for tests.
    pub fn in_memory() -> Result<Self, EngineError> {
        Ok(Self::new(opened(Database::memory())?, GroupSync::new(|| Ok(()))))
    }

    fn new(database: Database, sync: GroupSync) -> Self {
        Self { database, sync: Arc::new(sync), calls: Arc::default() }
    }

    /// Deletes expired items, as DynamoDB does in the background. No answer waits for
    /// the disk to have that: what is expired is never shown.
    pub async fn sweep(&self) {
        let database = self.database.clone();
        match spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
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
        let engine = self.clone();
        HttpConnectorFuture::new(async move {
            let (tell, told) = oneshot::channel();
            match engine.calls.add(Call { request, tell }) {
                Some(serving) => drop(spawn_blocking(move || engine.serve(serving))),
                None => drop(engine),
            }
            let answered = told.await.map_err(|panicked| failure(panicked.into()))?;
            let (status, body) = answered.map_err(|unsynced| failure(unsynced.into()))?;
            let status = status.try_into().map_err(|_| failure("not an HTTP status".into()))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl Engine {
    /// Makes the calls that wait, until none does.
    fn serve(self, mut serving: Serving<Call>) {
        let Self { database, sync, .. } = self;
        let mut next = serving.next();
        while let Some(Call { request, tell }) = next {
            if sync.has_failed() {
                // Nobody may be waiting any more.
                let _ = tell.send(Err(Unsynced));
                next = serving.next();
                continue;
            }
            // A caller who gave up before its turn leaves nothing behind; from here on the
            // call takes effect, whether or not its answer is awaited.
            let answered = (!tell.is_closed())
                .then(|| catch_unwind(AssertUnwindSafe(|| perform(&database, &sync, &request))));
            next = serving.next();
            // Who waits for a call that has panicked is told by losing `tell`.
            let Some(Ok(answered)) = answered else { continue };
            let tell = Box::new(move |synced: Result<(), Unsynced>| {
                // Nobody may be waiting any more.
                let _ = tell.send(synced.map(|()| answered));
            });
            if next.is_none() {
                // Who has the last answer may count on the file's being closed.
                drop(database);
                return sync.answer(tell);
            }
            if sync.keep(tell) {
                let sync = Arc::clone(&sync);
                spawn_blocking(move || sync.sync());
            }
        }
    }
}

fn perform(database: &Database, sync: &GroupSync, request: &HttpRequest) -> (u16, String) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    let body = request.body().bytes().unwrap_or_default();
    let mut change = changes(operation).then(|| sync.change());
    let answered = answer(database, operation, body);
    if let Some(change) = &mut change {
        // Refused as a whole: its condition, or the request itself.
        change.wrote = answered.0 != 400;
    }
    answered
}

/// Whether a call may commit something.
fn changes(operation: &str) -> bool {
    !matches!(operation, "GetItem" | "Query" | "BatchGetItem" | "Scan" | "ListTables" | "DescribeTable")
}

/// Moves what an earlier process left in the log into the database. Its last commits
/// may not be on disk, or, if the disk had failed it, with a hole before them: a sync
/// would not mend that, and what is written behind a hole is lost with it.
fn take_over(path: &Path) -> Result<(), EngineError> {
    let failed = |error: rusqlite::Error| EngineError::Database(error.to_string());
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    // A checkpoint syncs the log, copies it, syncs the database and empties the log
    // (<https://www.sqlite.org/pragma.html#pragma_wal_checkpoint>).
    let is_busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
    match is_busy {
        true => Err(EngineError::Database("another process has it open".to_owned())),
        false => connection.close().map_err(|(_, error)| failed(error)),
    }
}

fn opened<T>(outcome: dynoxide::Result<T>) -> Result<T, EngineError> {
    outcome.map_err(|error| EngineError::Database(error.to_string()))
}

fn failure(cause: BoxError) -> ConnectorError {
    ConnectorError::other(cause, None)
}

/// One DynamoDB call: the status and the body of its answer.
fn answer(database: &Database, operation: &str, body: &[u8]) -> (u16, String) {
    match operation {
        "PutItem" => call(body, |request| database.put_item(request)),
        "GetItem" => call(body, |request| database.get_item(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
        "UpdateItem" => call(body, |request| database.update_item(request)),
        "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
        "Query" => call(body, |request| database.query(request)),
        "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
        "Scan" => call(body, |mut request: ScanRequest| {
            request.limit.get_or_insert(SCANNED);
            database.scan(request)
        }),
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

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;

    async fn ask(engine: &Engine, operation: &str, request: Value) -> Result<Value, ConnectorError> {
        let mut call = HttpRequest::new(SdkBody::from(request.to_string()));
        call.headers_mut().insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let response = engine.call(call).await?;
        Ok(serde_json::from_slice(response.body().bytes().unwrap()).unwrap())
    }

    async fn with_a_table(engine: &Engine) {
        let table = json!({
            "TableName": "tasks", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        });
        ask(engine, "CreateTable", table).await.unwrap();
    }

    async fn put(engine: &Engine, id: &str) -> Result<Value, ConnectorError> {
        ask(engine, "PutItem", json!({ "TableName": "tasks", "Item": { "id": { "S": id } } })).await
    }

    async fn has(engine: &Engine, id: &str) -> bool {
        let key = json!({ "TableName": "tasks", "Key": { "id": { "S": id } } });
        ask(engine, "GetItem", key).await.unwrap().get("Item").is_some()
    }

    #[tokio::test]
    async fn what_a_killed_process_left_in_the_log_is_in_the_database_before_anybody_is_answered() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let first = Engine::open(&at("first")).unwrap();
        with_a_table(&first).await;
        put(&first, "a").await.unwrap();
        // As a kill leaves them: a database, and a log that nobody has put into it.
        fs::copy(at("first"), at("left")).unwrap();
        fs::copy(at("first-wal"), at("left-wal")).unwrap();
        assert!(fs::metadata(at("left-wal")).unwrap().len() > 0);
        let second = Engine::open(&at("left")).unwrap();
        // The file alone holds it, whatever becomes of the log.
        fs::copy(at("left"), at("alone")).unwrap();
        assert!(has(&Engine::open(&at("alone")).unwrap(), "a").await);
        put(&second, "b").await.unwrap();
        assert!(has(&second, "a").await && has(&second, "b").await);
    }

    #[tokio::test]
    async fn nothing_is_done_any_more_when_the_disk_has_failed() {
        let database = Database::memory().unwrap();
        let healthy = Engine::new(database.clone(), GroupSync::new(|| Ok(())));
        with_a_table(&healthy).await;
        let failing = Engine::new(database, GroupSync::new(|| Err(io::ErrorKind::Other.into())));
        put(&failing, "during").await.unwrap_err();
        put(&failing, "after").await.unwrap_err();
        assert!(!has(&healthy, "after").await);
    }
}
