//! Lists of tasks, read from the index of the tasks table.
//!
//! A task is in one of its agent's lists, `<agent id>#<shard>`, until its item expires. The
//! index has only the task's id and whether it failed. DynamoDB updates an index only when
//! one of its attributes changes, so a task costs one more write unit, and a failed task two.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use domain::{AgentId, ListPage, ListRange, TaskBrief, TaskEntry, TaskId, TaskKey};

use super::Tasks;
use super::attributes::{
    AGENT_ID, ATTEMPT, CREATED_AT, EXPIRES_AT, FAILED, FINISHED_AT, ID, LEASE_UNTIL, LISTED,
    OUTCOME, SPENT_MS, STARTED_AT, STATUS, TASK_ID, VERSION,
};
use crate::StoreError;
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};

pub(crate) const TASKS_INDEX: &str = "listed";

/// The maximum number of keys in one `BatchGetItem`.
const BATCH: usize = 100;
/// Pauses before the keys that DynamoDB left unprocessed are requested again.
const BATCH_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1000),
];
/// Sorts after every hexadecimal digit.
const AFTER_ALL_IDS: &str = "g";
/// The attributes of a [`TaskBrief`].
const BRIEF_ATTRIBUTES: [&str; 12] = [
    ID,
    VERSION,
    AGENT_ID,
    "#status",
    ATTEMPT,
    SPENT_MS,
    CREATED_AT,
    STARTED_AT,
    FINISHED_AT,
    LEASE_UNTIL,
    EXPIRES_AT,
    OUTCOME,
];

/// Which tasks of a list are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureFilter {
    All,
    Failed,
    /// Includes tasks that have not ended.
    NotFailed,
}

/// The list of the agent's tasks in this shard.
pub(super) fn list_key(agent: AgentId, shard: u8) -> String {
    format!("{agent}#{shard}")
}

impl Tasks {
    /// Reads up to `limit` tasks of one list, newest first, and returns those that match the
    /// filter. The most recent tasks may be missing, because the index is eventually
    /// consistent.
    pub async fn list(
        &self,
        agent: AgentId,
        shard: u8,
        range: ListRange,
        filter: FailureFilter,
        limit: u16,
    ) -> Result<ListPage, StoreError> {
        let before = range
            .before
            .map_or_else(|| AFTER_ALL_IDS.to_owned(), TaskId::preceding);
        if before < TaskId::floor(range.from) {
            return Ok(ListPage::default());
        }
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name(TASKS_INDEX)
            .key_condition_expression(format!(
                "{LISTED} = :part AND {TASK_ID} BETWEEN :from AND :before"
            ))
            .set_filter_expression(filter.expression())
            .projection_expression(format!("{TASK_ID}, {FAILED}"))
            .expression_attribute_values(":part", item::text(list_key(agent, shard)))
            .expression_attribute_values(":from", item::text(TaskId::floor(range.from)))
            .expression_attribute_values(":before", item::text(before))
            .scan_index_forward(false)
            .limit(limit.into());
        let found = query.send().await.attempt("list the tasks")?;
        let entries = found
            .items()
            .iter()
            .map(parse_entry)
            .collect::<Result<_, _>>()?;
        let reached = found
            .last_evaluated_key()
            .map(|key| task_id(ItemReader(key)))
            .transpose()?;
        Ok(ListPage { entries, reached })
    }

    /// Reads the summaries of these tasks, in no order. Expired tasks are left out. A record
    /// that cannot be read is returned as an error and does not affect the others.
    pub async fn briefs(
        &self,
        ids: &[TaskId],
    ) -> Result<Vec<Result<TaskBrief, StoreError>>, StoreError> {
        let mut briefs = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            for found in self.read_batch(ids).await? {
                match self.brief(&found).await {
                    Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                    brief => briefs.push(brief),
                }
            }
        }
        Ok(briefs)
    }

    async fn read_batch(&self, ids: &[TaskId]) -> Result<Vec<Item>, StoreError> {
        // For a moment, the index may have both a task and the one that replaced it under the
        // same key. A request must not name a key twice.
        let keys: BTreeSet<TaskKey> = ids.iter().map(|id| id.key()).collect();
        let keys = keys.into_iter().map(|key| item::key(key.as_hex()));
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .projection_expression(BRIEF_ATTRIBUTES.join(", "))
            .expression_attribute_names("#status", STATUS);
        let mut unprocessed = Some(HashMap::from([(
            self.table.clone(),
            wanted
                .build()
                .attempt("prepare the request for the tasks")?,
        )]));
        let (mut found, mut pauses) = (Vec::with_capacity(ids.len()), BATCH_PAUSES.into_iter());
        while let Some(wanted) = unprocessed.take().filter(|keys| !keys.is_empty()) {
            let get = self.db.batch_get_item().set_request_items(Some(wanted));
            let response = get.send().await.attempt("read the tasks")?;
            found.extend(
                response
                    .responses
                    .unwrap_or_default()
                    .remove(&self.table)
                    .unwrap_or_default(),
            );
            unprocessed = response.unprocessed_keys;
            if unprocessed.as_ref().is_some_and(|keys| !keys.is_empty()) {
                let Some(pause) = pauses.next() else {
                    return Err(StoreError::unavailable("read the tasks")(
                        "DynamoDB left keys unprocessed".into(),
                    ));
                };
                tokio::time::sleep(pause).await;
            }
        }
        Ok(found)
    }
}

impl FailureFilter {
    fn expression(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Failed => Some(format!("attribute_exists({FAILED})")),
            Self::NotFailed => Some(format!("attribute_not_exists({FAILED})")),
        }
    }
}

fn parse_entry(found: &Item) -> Result<TaskEntry, StoreError> {
    let failed = matches!(found.get(FAILED), Some(AttributeValue::Bool(true)));
    Ok(TaskEntry {
        id: task_id(ItemReader(found))?,
        failed,
    })
}

fn task_id(reader: ItemReader<'_>) -> Result<TaskId, StoreError> {
    TaskId::parse(reader.text(TASK_ID)?).ok_or_else(|| reader.damaged(TASK_ID))
}
