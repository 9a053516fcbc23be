//! The limits of the local server: its disk, and its database engine alone.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use domain::{AgentId, Moment, TaskId, TaskKey};
use dynoxide::Database;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::Failure;

/// What a small transaction writes to SQLite's log: the pages of the table, its
/// key and its index, with their headers.
const TRANSACTION: usize = 3 * (4096 + 24);
/// As long as SQLite lets its log become before it starts again from its beginning.
const LOG: u64 = 1000 * (4096 + 24);

/// How often a second the disk takes a transaction in the place of an earlier one
/// and has it for good.
pub(crate) fn syncs_per_second(folder: &Path, time: Duration) -> Result<f64, Failure> {
    let mut file = File::create(folder.join("log"))?;
    file.write_all(&vec![1; usize::try_from(LOG)?])?;
    file.sync_all()?;
    let transaction = vec![2; TRANSACTION];
    rate(time, |_| {
        if file.stream_position()? + u64::try_from(TRANSACTION)? > LOG {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&transaction)?;
        Ok(file.sync_data()?)
    })
}

/// How often a second the engine takes a new task: by a caller that waits for each,
/// synced as the engine does it, or not at all.
pub(crate) fn puts_per_second(folder: &Path, synced: bool, time: Duration) -> Result<f64, Failure> {
    let database = Database::new(
        &folder
            .join(format!("alone-{synced}.sqlite"))
            .to_string_lossy(),
    )?;
    database.create_table(request(table())?)?;
    if !synced {
        // Leaves SQLite at `synchronous = NORMAL`, under which a commit is not synced.
        database.disable_bulk_loading()?;
    }
    let agent = AgentId::random([7; 16]);
    rate(time, |number| {
        let id = TaskId::new(
            Moment::from_millis(1_700_000_000_000 + number),
            key_of(number),
        );
        let put = put(&id, agent).to_string();
        let answer = database.put_item(serde_json::from_str(&put)?)?;
        // As the connector of the server does.
        serde_json::to_string(&answer)?;
        Ok(())
    })
}

fn rate(time: Duration, mut once: impl FnMut(u64) -> Result<(), Failure>) -> Result<f64, Failure> {
    let (began, mut number) = (Instant::now(), 0);
    while began.elapsed() < time {
        once(number)?;
        number += 1;
    }
    Ok(number as f64 / began.elapsed().as_secs_f64())
}

/// A key as scattered as a random one; different numbers have different ones.
pub(crate) fn key_of(number: u64) -> TaskKey {
    // Multiplied by the golden ratio, as Fibonacci hashing does.
    let [a, b, c, d, e, f, g, h] = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    // Of the first and the third byte of a key only the lower bits are free.
    TaskKey::random([a >> 4, a & 15, b & 63, b >> 6, c, d, e, f, g, h])
}

fn request<T: DeserializeOwned>(of: Value) -> Result<T, Failure> {
    Ok(serde_json::from_value(of)?)
}

/// The table of tasks with its index, as the product makes it.
fn table() -> Value {
    json!({
        "TableName": "tasks",
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "id", "AttributeType": "S" },
            { "AttributeName": "listed", "AttributeType": "S" },
            { "AttributeName": "task_id", "AttributeType": "S" },
        ],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "GlobalSecondaryIndexes": [{
            "IndexName": "listed",
            "KeySchema": [
                { "AttributeName": "listed", "KeyType": "HASH" },
                { "AttributeName": "task_id", "KeyType": "RANGE" },
            ],
            "Projection": { "ProjectionType": "INCLUDE", "NonKeyAttributes": ["failed"] },
        }],
    })
}

/// The call that stores a new task.
fn put(id: &TaskId, agent: AgentId) -> Value {
    let created_at = id.created_at().millis();
    json!({
        "TableName": "tasks",
        "Item": {
            "id": { "S": id.key().as_hex() },
            "v": { "N": "1" },
            "agent_id": { "S": agent.to_string() },
            "listed": { "S": format!("{agent}#{}", id.key().shard()) },
            "task_id": { "S": id.to_string() },
            "status": { "S": "PENDING" },
            "attempt": { "N": "0" },
            "spent_ms": { "N": "0" },
            "created_at": { "N": created_at.to_string() },
            "expires_at": { "N": (created_at / 1000 + 15 * 86_400).to_string() },
            "payload": { "B": "AHsib3JkZXIiOnsiaWQiOjcsInRvdGFsIjoiMTIuNTAiLCJpdGVtcyI6WyJvbmUiLCJ0d28iXX19" },
        },
        "ConditionExpression":
            "attribute_not_exists(id) OR (created_at <= :window AND #status IN (:success, :failure))",
        "ExpressionAttributeNames": { "#status": "status" },
        "ExpressionAttributeValues": {
            ":window": { "N": (created_at - 86_400_000).to_string() },
            ":success": { "S": "SUCCESS" },
            ":failure": { "S": "FAILURE" },
        },
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    })
}
