//! Lists of tasks, read from the index of the tasks table.
//!
//! A task is in one of its agent's lists, `<agent id>#<shard>`, under its id, and
//! stays there as long as its item. The index holds no more than that and whether
//! the task failed: DynamoDB writes to it when one of these changes and at no
//! other update, so a task costs one write unit more, a failed one two.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use domain::{AgentId, Brief, Entry, Span, Stretch, TaskId, TaskKey};

use super::Tasks;
use crate::StoreError;
use crate::error::Attempt;
use crate::item::{self, Item, Reader};

/// The index of the tasks table.
pub(crate) const TASKS_INDEX: &str = "listed";

/// Most keys of one `BatchGetItem`.
const BATCH: usize = 100;
/// Waits before what DynamoDB left out is asked for again.
const BATCH_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1000),
];
/// Sorts after every hexadecimal digit.
const BEHIND_ALL_IDS: &str = "g";
/// What a [`Brief`] is made of.
const BRIEFLY: &str = "id, v, agent_id, #status, attempt, spent_ms, created_at, started_at, finished_at, \
                       lease_until, expires_at, outcome";

/// Of the tasks that are looked at, those to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// All.
    All,
    /// Those that failed.
    Failed,
    /// Those that have not.
    NotFailed,
}

/// The list that a task of this agent and shard is in.
pub(super) fn part(agent: AgentId, shard: u8) -> String {
    format!("{agent}#{shard}")
}

impl Tasks {
    /// Looks at up to `limit` tasks of one of an agent's lists, newest first. What
    /// was written within the last moments may be missing.
    pub async fn listed(
        &self,
        agent: AgentId,
        shard: u8,
        span: Span,
        pick: Pick,
        limit: u16,
    ) -> Result<Stretch, StoreError> {
        let before = span.before.map_or_else(|| BEHIND_ALL_IDS.to_owned(), TaskId::preceding);
        if before < TaskId::floor(span.from) {
            return Ok(Stretch::default());
        }
        let query = self
            .db
            .query()
            .table_name(&self.table)
            .index_name(TASKS_INDEX)
            .key_condition_expression("listed = :part AND task_id BETWEEN :from AND :before")
            .set_filter_expression(pick.filter().map(str::to_owned))
            .projection_expression("task_id, failed")
            .expression_attribute_values(":part", item::text(part(agent, shard)))
            .expression_attribute_values(":from", item::text(TaskId::floor(span.from)))
            .expression_attribute_values(":before", item::text(before))
            .scan_index_forward(false)
            .limit(limit.into());
        let found = query.send().await.attempt("list the tasks")?;
        let entries = found.items().iter().map(entry).collect::<Result<_, _>>()?;
        let reached = found.last_evaluated_key().map(|key| task_id(Reader(key))).transpose()?;
        Ok(Stretch { entries, reached })
    }

    /// What there is to say of these tasks, in no order; those that are gone are
    /// left out. What cannot be read is handed back apart, and holds up no other.
    pub async fn briefs(&self, ids: &[TaskId]) -> Result<Vec<Result<Brief, StoreError>>, StoreError> {
        let mut briefs = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            for found in self.batch(ids).await? {
                match self.brief(&found).await {
                    Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                    brief => briefs.push(brief),
                }
            }
        }
        Ok(briefs)
    }

    async fn batch(&self, ids: &[TaskId]) -> Result<Vec<Item>, StoreError> {
        // For a moment the index may hold a task beside the one that took its key's
        // place, and a key may be asked for once.
        let keys: BTreeSet<TaskKey> = ids.iter().map(|id| id.key()).collect();
        let keys = keys.into_iter().map(|key| item::key(key.as_hex()));
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .projection_expression(BRIEFLY)
            .expression_attribute_names("#status", "status");
        let mut left =
            Some(HashMap::from([(self.table.clone(), wanted.build().attempt("describe the tasks to get")?)]));
        let (mut found, mut pauses) = (Vec::with_capacity(ids.len()), BATCH_PAUSES.into_iter());
        while let Some(wanted) = left.take().filter(|left| !left.is_empty()) {
            let get = self.db.batch_get_item().set_request_items(Some(wanted));
            let answer = get.send().await.attempt("get the tasks")?;
            found.extend(answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default());
            left = answer.unprocessed_keys;
            if left.as_ref().is_some_and(|left| !left.is_empty()) {
                let Some(pause) = pauses.next() else {
                    return Err(StoreError::unavailable("get the tasks")("some were left out".into()));
                };
                tokio::time::sleep(pause).await;
            }
        }
        Ok(found)
    }
}

impl Pick {
    const fn filter(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Failed => Some("attribute_exists(failed)"),
            Self::NotFailed => Some("attribute_not_exists(failed)"),
        }
    }
}

fn entry(found: &Item) -> Result<Entry, StoreError> {
    let failed = matches!(found.get("failed"), Some(AttributeValue::Bool(true)));
    Ok(Entry { id: task_id(Reader(found))?, failed })
}

fn task_id(reader: Reader<'_>) -> Result<TaskId, StoreError> {
    TaskId::parse(reader.text("task_id")?).ok_or_else(|| reader.damaged("task_id"))
}
