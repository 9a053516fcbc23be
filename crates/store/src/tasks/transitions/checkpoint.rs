//! Stores the progress of a run between its turns.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{Run, TaskId};

use super::recorded_or_fenced;
use crate::error::StoreAttempt;
use crate::item::{Item, ItemReader};
use crate::tasks::attributes::RUN;
use crate::tasks::{Claimed, Finish, RECORD_VERSION, Tasks, task_id};
use crate::{StoreError, blob};

impl Tasks {
    /// Stores the progress of the run, unless a newer attempt holds the task. A later attempt
    /// continues from there.
    pub async fn checkpoint(&self, claimed: &Claimed, run: &Run) -> Result<Finish, StoreError> {
        let update = self
            .update_held(claimed)
            .update_expression(format!("SET {RUN} = :run"))
            .expression_attribute_values(":run", self.store_run(claimed, run).await?);
        recorded_or_fenced(update.send().await, "store the progress of the run")
    }

    /// Returns the progress that an earlier attempt stored.
    pub async fn load_checkpoint(&self, claimed: &Claimed) -> Result<Option<Run>, StoreError> {
        self.run_in(&claimed.item).await
    }

    /// Returns the stored progress of a task that no worker holds.
    pub async fn abandoned_run(&self, id: TaskId) -> Result<Option<Run>, StoreError> {
        let Some(found) = self.read_item(id.key()).await? else {
            return Ok(None);
        };
        let is_same_task = task_id(ItemReader(&found).require_version(RECORD_VERSION)?)? == id;
        if is_same_task {
            self.run_in(&found).await
        } else {
            Ok(None)
        }
    }

    async fn run_in(&self, found: &Item) -> Result<Option<Run>, StoreError> {
        if !found.contains_key(RUN) {
            return Ok(None);
        }
        let json = blob::load_content(&self.db, &self.table, found, RUN).await?;
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|_| ItemReader(found).damaged(RUN))
    }

    pub(super) async fn store_run(
        &self,
        claimed: &Claimed,
        run: &Run,
    ) -> Result<AttributeValue, StoreError> {
        let content = serde_json::to_vec(run).attempt("serialize the run")?;
        blob::store_content(&self.db, &self.table, &content, claimed.task.expires_at).await
    }
}
