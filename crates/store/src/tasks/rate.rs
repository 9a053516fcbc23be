//! How many triggers an agent takes in a minute: a counter of its own for each
//! agent and minute, kept only for agents that limit their triggers.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use domain::{AgentId, Moment};

use super::Tasks;
use crate::StoreError;
use crate::error::Attempt;
use crate::item;

const MINUTE: Duration = Duration::from_secs(60);

/// Whether a trigger is within its agent's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// It is, and was counted.
    Within,
    /// The minute is full.
    Exceeded {
        /// Until the next minute begins.
        retry_after: Duration,
    },
}

impl Tasks {
    /// Counts a trigger in the minute of `now`, unless `limit` were counted
    /// already. A lost answer may count one twice, never too few.
    pub async fn count_trigger(&self, agent: AgentId, limit: u32, now: Moment) -> Result<Rate, StoreError> {
        let minute = now.millis() / 60_000;
        let ends_at = Moment::from_millis((minute + 1) * 60_000);
        let counted = self
            .db
            .update_item()
            .table_name(&self.table)
            .key("id", item::text(format!("rate#{agent}#{minute}")))
            .update_expression("SET expires_at = :expires_at ADD triggers :one")
            .condition_expression("attribute_not_exists(triggers) OR triggers < :limit")
            .expression_attribute_values(":one", item::number(1_u64))
            .expression_attribute_values(":limit", item::number(limit))
            // Clocks that disagree may count in a minute that is over for others.
            .expression_attribute_values(":expires_at", item::number(ends_at.plus(MINUTE).ttl_seconds()))
            .send()
            .await;
        match counted {
            Ok(_) => Ok(Rate::Within),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Ok(Rate::Exceeded { retry_after: ends_at.since(now) })
            }
            Err(error) => Err(error).attempt("count the trigger"),
        }
    }
}
