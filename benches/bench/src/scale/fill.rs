//! Very many tasks at once: copies of one real record, in the stopped server's database.

use std::path::Path;

use domain::TaskId;
use dynoxide::{AttributeValue, Database, ImportOptions, Item};
use serde_json::json;

use crate::Failure;
use crate::local::engine::key_of;

/// Copies that are written by one transaction.
const AT_ONCE: u64 = 10_000;

/// Has this many copies of a task stored beside it, under keys as scattered as random ones.
pub(crate) fn fill(
    data: &Path,
    original: TaskId,
    copies: std::ops::Range<u64>,
) -> Result<(), Failure> {
    let database = Database::new(&data.join("tables.sqlite").to_string_lossy())?;
    let key = json!({ "TableName": "tasks", "Key": { "id": { "S": original.key().as_hex() } } });
    let found = database.get_item(serde_json::from_value(key)?)?;
    let record = found.item.ok_or("the task to copy is missing")?;
    database.enable_bulk_loading()?;
    let mut from = copies.start;
    while from < copies.end {
        let to = copies.end.min(from + AT_ONCE);
        let items = (from..to).map(|number| copy(&record, copied_id(original, number)));
        database.import_items("tasks", items.collect(), ImportOptions::default())?;
        from = to;
    }
    Ok(database.disable_bulk_loading()?)
}

/// The id of the copy of this number.
pub(crate) fn copied_id(original: TaskId, number: u64) -> TaskId {
    TaskId::new(original.created_at(), key_of(number))
}

fn copy(record: &Item, id: TaskId) -> Item {
    let mut copy = record.clone();
    let mut set =
        |name: &str, value: String| copy.insert(name.to_owned(), AttributeValue::S(value));
    set("id", id.key().as_hex());
    set("task_id", id.to_string());
    if let Some(AttributeValue::S(listed)) = record.get("listed") {
        let agent = listed.split('#').next().unwrap_or_default();
        set("listed", format!("{agent}#{}", id.key().shard()));
    }
    copy
}
