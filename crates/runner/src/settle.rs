//! What is recorded after an attempt: the end of the task, or its release for another attempt.

use std::time::Duration;

use domain::agent::ApiKey;
use domain::{AttemptEnd, Ended, ErrorType, Failure, Fault, Moment, RetryPolicy, Run, after_fault};
use store::{Claimed, Finish, Release, StoreError, StoredAgent, error_chain};

use crate::attempt::AttemptOutcome;
use crate::disposition::{Disposition, superseded};
use crate::{Runner, log};

/// Pauses between the attempts to record how a run ended.
const FINISH_PAUSES: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

impl Runner {
    /// A function caches agents for some seconds. If the definition has been replaced in the
    /// meantime, perhaps with a new API key, a permanent error may not apply to the new
    /// definition. So the task is tried again with it.
    pub(crate) async fn retry_if_outdated(
        &self,
        attempt: AttemptOutcome,
        used: &StoredAgent,
    ) -> AttemptOutcome {
        let (failure, run) = match attempt {
            AttemptOutcome::Faulted {
                fault: Fault::Permanent(failure),
                run,
            } if may_be_outdated(failure.kind, used) => (failure, run),
            attempt => return attempt,
        };
        let current = self.agents.refresh(used.agent.id()).await;
        let fault = match current {
            Ok(Some(current)) if current.revision != used.revision => {
                Fault::Permanent(failure).into_transient()
            }
            _ => Fault::Permanent(failure),
        };
        AttemptOutcome::Faulted { fault, run }
    }

    pub(crate) async fn end_panicked(&self, claimed: &Claimed) -> AttemptOutcome {
        tracing::error!("run panicked");
        let failure = Failure::permanent(ErrorType::Internal, "An internal error stopped the run");
        let run = self.tasks.load_checkpoint(claimed).await.ok().flatten();
        AttemptOutcome::Ended(Run::given_up(run.as_ref(), failure))
    }

    /// Records the end of the task, or releases it for another attempt.
    pub(crate) async fn settle(
        &self,
        claimed: &Claimed,
        attempt: AttemptOutcome,
        timeout: Duration,
    ) -> Result<Disposition, StoreError> {
        let (fault, run) = match attempt {
            AttemptOutcome::Ended(ended) => return self.finish(claimed, &ended).await,
            AttemptOutcome::Fenced => return Ok(superseded()),
            AttemptOutcome::Faulted { fault, run } => (fault, run),
        };
        let spent = claimed.task.spent + self.clock.now().since(claimed.claimed_at);
        let policy = RetryPolicy {
            max_attempts: self.settings.max_attempts,
            timeout,
        };
        match after_fault(fault, claimed.task.attempt, spent, policy) {
            AttemptEnd::Release { pause, why } => {
                self.release(claimed, spent, pause, &why, &run).await
            }
            AttemptEnd::Fail(failure) => self.finish(claimed, &run.stopped(failure)).await,
        }
    }

    pub(crate) async fn finish(
        &self,
        claimed: &Claimed,
        ended: &Ended,
    ) -> Result<Disposition, StoreError> {
        // The clock of an earlier attempt may have been ahead of this one.
        let now = self
            .clock
            .now()
            .max(claimed.task.started_at.unwrap_or(claimed.claimed_at));
        match self.record_end(claimed, ended, now).await? {
            Finish::Recorded => {
                log::log_finished(claimed, ended, now);
                Ok(Disposition::Ack)
            }
            Finish::Fenced => Ok(superseded()),
        }
    }

    /// Records the end, and retries for some seconds. Without the record, the model would be
    /// called and paid again.
    async fn record_end(
        &self,
        claimed: &Claimed,
        ended: &Ended,
        now: Moment,
    ) -> Result<Finish, StoreError> {
        let retention = self.settings.retention;
        for pause in FINISH_PAUSES {
            match self.tasks.finish(claimed, ended, now, retention).await {
                Ok(finish) => return Ok(finish),
                Err(error) => tracing::warn!(error = error_chain(&error), "end not recorded yet"),
            }
            tokio::time::sleep(pause).await;
        }
        self.tasks.finish(claimed, ended, now, retention).await
    }

    async fn release(
        &self,
        claimed: &Claimed,
        spent: Duration,
        pause: Duration,
        why: &Failure,
        run: &Run,
    ) -> Result<Disposition, StoreError> {
        let at = self.clock.now();
        let run = run.is_in_progress().then_some(run);
        let release = Release {
            at,
            why,
            spent: spent + pause,
            not_before: at.plus(pause),
            run,
        };
        match self.tasks.release(claimed, release).await? {
            // Possibly by our own write, which the SDK retried after a lost response. Only the
            // next read of the task shows whether its message is still needed.
            Finish::Fenced => Ok(Disposition::RetryAfter(pause)),
            Finish::Recorded => {
                log::log_released(pause);
                Ok(Disposition::RetryAfter(pause))
            }
        }
    }
}

/// An API key that belongs to the agent gets a new name when it is replaced, and the old one
/// is deleted. Other model errors are not worth another read of the agent.
fn may_be_outdated(error: ErrorType, used: &StoredAgent) -> bool {
    let model = used.agent.definition().model.as_ref();
    let has_own_key = matches!(
        model.and_then(|model| model.api_key.as_ref()),
        Some(ApiKey::Stored(_))
    );
    error == ErrorType::InvalidAgent || (error == ErrorType::ModelError && has_own_key)
}
