//! Counts the triggers of an agent in a minute. There is a counter for each agent and
//! minute, but only for agents with a limit.

use std::time::Duration;

use domain::{AgentId, Moment};

use super::Tasks;
use super::attributes::{EXPIRES_AT, ID, TRIGGERS};
use crate::StoreError;
use crate::conditions::is_condition_failed;
use crate::error::StoreAttempt;
use crate::item;

const MINUTE: Duration = Duration::from_secs(60);

/// The result of [`Tasks::count_trigger`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// The trigger was counted.
    Within,
    /// The limit of this minute is used up.
    Exceeded {
        /// The time until the next minute.
        retry_after: Duration,
    },
}

impl Tasks {
    /// Counts a trigger in the minute of `now`, unless its count has reached `limit`. If a
    /// response is lost, the retry may count the trigger twice.
    pub async fn count_trigger(
        &self,
        agent: AgentId,
        limit: u32,
        now: Moment,
    ) -> Result<Rate, StoreError> {
        let minute = now.millis() / 60_000;
        let ends_at = Moment::from_millis((minute + 1) * 60_000);
        let counted = self
            .db
            .update_item()
            .table_name(&self.table)
            .key(ID, item::text(format!("rate#{agent}#{minute}")))
            .update_expression(format!(
                "SET {EXPIRES_AT} = :expires_at ADD {TRIGGERS} :one"
            ))
            .condition_expression(format!(
                "attribute_not_exists({TRIGGERS}) OR {TRIGGERS} < :limit"
            ))
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":limit", item::number(limit))
            // A process with a slow clock may still count in the previous minute.
            .expression_attribute_values(
                ":expires_at",
                item::number(ends_at.plus(MINUTE).ttl_seconds()),
            )
            .send()
            .await;
        match counted {
            Ok(_) => Ok(Rate::Within),
            Err(error) if is_condition_failed(&error) => Ok(Rate::Exceeded {
                retry_after: ends_at.since(now),
            }),
            Err(error) => Err(error).attempt("count the trigger"),
        }
    }
}
