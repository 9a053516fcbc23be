//! A task and its transitions.
//!
//! ```text
//!            claim (attempt + 1)            finish
//! PENDING ───────────────────────▶ STARTED ───────▶ SUCCESS | FAILURE
//!    ▲                               │ │
//!    └── release (transient error) ──┘ └─ lease over: claimed again
//! ```
//! A claim holds a lease until its runner's own deadline. After that, the runner is dead. A
//! release sets a lease without a holder until the end of the pause, so that a second message
//! cannot shorten the pause. `attempt` is the fencing token: only the holder of the latest
//! attempt can finish or release. After the last attempt the task ends as `worker_lost`.
//!
//! A task that is STARTED after its lease is over has lost its worker. The task may have killed
//! that worker, so from then on it is claimed only to run [alone](Isolation::Alone).

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{AgentId, Ended, ErrorType, Failure, Moment, Outcome, TaskId};

/// Triggers with the same idempotency key return the same task for this long.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// A task that never ends expires after this time. It is longer than a queue can hold the task's
/// message (SQS: 14 days).
const UNFINISHED_TTL: Duration = Duration::from_secs(15 * 24 * 3600);

/// A task that waits this long for a run slot of its agent, or to run alone, fails.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The status of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Queued, or waiting for the next attempt.
    Pending,
    /// Running.
    Started,
    /// Ended with an answer.
    Success,
    /// Ended without an answer.
    Failure,
}

impl Status {
    /// As stored and as in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Started, Self::Success, Self::Failure]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub agent_id: AgentId,
    pub status: Status,
    /// The number of claims. It is the fencing token.
    pub attempt: u32,
    /// The time of the first claim.
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// The task cannot be claimed before this time: its runner may be alive, or its last
    /// attempt ended with a pause.
    pub lease_until: Option<Moment>,
    /// The time budget used by released attempts.
    pub spent: Duration,
    /// Whether the record says that an attempt lost its worker. See [`Self::must_run_alone`].
    pub worker_lost: bool,
    pub ended: Option<Ended>,
    /// When the task stops being visible.
    pub expires_at: Moment,
}

/// Whether a run shares its worker process with other runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Others may run at the same time.
    Shared,
    /// No other run is in progress when this one starts.
    Alone,
}

/// Why a task was not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefusal {
    /// The task no longer exists. Delete the message.
    Gone,
    /// The task has already ended. Delete the message.
    Ended,
    /// A runner may still hold the task, or the task is paused. Leave the message in the queue.
    Held {
        /// The end of the lease.
        until: Moment,
    },
    /// An attempt lost its worker. Claim the task to run [alone](Isolation::Alone).
    MustRunAlone,
    /// All attempts were used and lost. End the task as `worker_lost`.
    Exhausted,
}

impl Task {
    /// When a task expires that never ends.
    pub fn initial_expiry(created_at: Moment) -> Moment {
        created_at.plus(UNFINISHED_TTL)
    }

    /// When a task expires that has ended: after the retention, but not before the end of the
    /// idempotency window.
    pub fn final_expiry(created_at: Moment, finished_at: Moment, retention: Duration) -> Moment {
        finished_at
            .plus(retention)
            .max(created_at.plus(IDEMPOTENCY_WINDOW))
    }

    /// Why the store refused a claim, given the record that it found.
    pub fn claim_refusal(
        found: Option<&Self>,
        wanted: TaskId,
        now: Moment,
        max_attempts: u32,
    ) -> ClaimRefusal {
        match Self::refusal(found, wanted, now) {
            ClaimRefusal::Exhausted
                if found.is_some_and(|task| {
                    task.attempt < max_attempts && task.must_run_alone(now)
                }) =>
            {
                ClaimRefusal::MustRunAlone
            }
            refusal => refusal,
        }
    }

    /// Whether the next attempt must run alone, because an earlier one lost its worker. This
    /// stays true after a later attempt is released: that attempt may have ended before it
    /// reached the step that killed the worker.
    pub fn must_run_alone(&self, now: Moment) -> bool {
        let lost_now =
            self.status == Status::Started && self.lease_until.is_none_or(|until| until <= now);
        self.worker_lost || lost_now
    }

    /// Why the store refused a write that requires a task without a lease.
    pub fn refusal(found: Option<&Self>, wanted: TaskId, now: Moment) -> ClaimRefusal {
        match found {
            Some(task) if task.id == wanted => match (task.status, task.lease_until) {
                (Status::Success | Status::Failure, _) => ClaimRefusal::Ended,
                (_, Some(until)) if now < until => ClaimRefusal::Held { until },
                (Status::Started | Status::Pending, _) => ClaimRefusal::Exhausted,
            },
            _ => ClaimRefusal::Gone,
        }
    }

    /// Whether an outcome is consistent with a status: a SUCCESS has a non-empty answer, and no
    /// other status has an answer. Any other record is damaged.
    pub fn can_have_ended(status: Status, ended: Option<&Ended>) -> bool {
        let answered = !matches!(ended.map(|ended| &ended.outcome), Some(Outcome::Success(answer)) if answer.is_blank());
        answered && ended.map(Ended::status) == status.has_ended().then_some(status)
    }

    /// Whether the API still returns the task.
    pub fn is_visible(&self, wanted: TaskId, now: Moment) -> bool {
        self.id == wanted && now < self.expires_at
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A transient error. Another attempt may succeed, but not before `retry_after`.
    Transient {
        /// The outcome of the task if no attempt is left.
        failure: Failure,
        /// The pause that the model provider requested.
        retry_after: Option<Duration>,
    },
    Permanent(Failure),
}

impl Fault {
    pub const fn kind(&self) -> ErrorType {
        match self {
            Self::Permanent(failure) | Self::Transient { failure, .. } => failure.kind,
        }
    }

    pub fn permanent(kind: ErrorType, message: impl Into<String>) -> Self {
        Self::Permanent(Failure::permanent(kind, message))
    }

    pub fn transient(kind: ErrorType, message: impl Into<String>) -> Self {
        Self::Transient {
            failure: Failure::transient(kind, message),
            retry_after: None,
        }
    }

    /// The same fault, but another attempt may succeed, because it will ask differently.
    #[must_use]
    pub fn into_transient(self) -> Self {
        match self {
            Self::Permanent(failure) => Self::Transient {
                failure: Failure {
                    retryable: true,
                    ..failure
                },
                retry_after: None,
            },
            transient @ Self::Transient { .. } => transient,
        }
    }
}

/// What happens after a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Release the task and retry after a pause.
    Release {
        pause: Duration,
        why: Failure,
    },
    Fail(Failure),
}

/// The limits of one task's retries.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The maximum number of claims.
    pub max_attempts: u32,
    /// The agent's time limit.
    pub timeout: Duration,
}

/// Decides between a retry and the end of the task. The number of attempts and the time budget
/// apply to all retries together.
pub fn after_fault(fault: Fault, attempt: u32, spent: Duration, policy: RetryPolicy) -> AttemptEnd {
    match fault {
        Fault::Permanent(failure) => AttemptEnd::Fail(failure),
        Fault::Transient {
            failure,
            retry_after,
        } => {
            let pause = retry_after.unwrap_or_default().max(back_off(attempt));
            if attempt >= policy.max_attempts || spent.saturating_add(pause) >= policy.timeout {
                AttemptEnd::Fail(failure)
            } else {
                AttemptEnd::Release {
                    pause,
                    why: failure,
                }
            }
        }
    }
}

/// The pause before a waiting task tries again to get a run slot of its agent, or to run alone:
/// 1 to 15 s, selected by `chance`. It does not depend on the task's age, so that all tasks try
/// equally often.
pub fn wait_pause(chance: u16) -> Duration {
    Duration::from_millis(1000 + 14_000 * u64::from(chance) / u64::from(u16::MAX))
}

/// Whether a task has waited too long and fails.
pub fn gives_up_waiting(waited: Duration) -> bool {
    waited >= LONGEST_WAIT
}

/// 1, 2, 4, 8 … 64 seconds.
fn back_off(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.saturating_sub(1).min(6))
}

impl Ended {
    pub const fn status(&self) -> Status {
        match self.outcome {
            Outcome::Success(_) => Status::Success,
            Outcome::Failure(_) => Status::Failure,
        }
    }

    /// A failure before any call to a model.
    pub const fn without_usage(failure: Failure) -> Self {
        Self {
            outcome: Outcome::Failure(failure),
            usage: None,
        }
    }
}

impl Failure {
    pub fn no_slot() -> Self {
        let hours = LONGEST_WAIT.as_secs() / 3600;
        let message = format!(
            "The task waited {hours} hours for a run slot of its agent; raise limits.max_concurrent_runs"
        );
        Self::transient(ErrorType::Timeout, message)
    }

    pub fn never_alone() -> Self {
        let hours = LONGEST_WAIT.as_secs() / 3600;
        let message =
            format!("The task lost its worker and waited {hours} hours to run again alone");
        Self::transient(ErrorType::WorkerLost, message)
    }

    pub fn timeout(limit: Duration) -> Self {
        let message = format!("The run exceeded its time limit of {} s", limit.as_secs());
        Self::transient(ErrorType::Timeout, message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Answer, TaskKey};

    const NOW: Moment = Moment::from_millis(1_000_000);

    fn task(status: Status, lease_until: Option<Moment>) -> Task {
        Task {
            id: TaskId::new(Moment::from_millis(1), TaskKey::random([0; 10])),
            agent_id: AgentId::random([0; 16]),
            status,
            attempt: 1,
            started_at: None,
            finished_at: None,
            lease_until,
            spent: Duration::ZERO,
            worker_lost: false,
            ended: None,
            expires_at: NOW,
        }
    }

    fn refusal(task: &Task) -> ClaimRefusal {
        Task::claim_refusal(Some(task), task.id, NOW, 1)
    }

    #[test]
    fn a_claim_is_refused_for_the_reason_the_record_gives() {
        let later = NOW.plus(Duration::from_secs(5));
        let earlier = NOW.minus(Duration::from_secs(5));
        assert_eq!(refusal(&task(Status::Success, None)), ClaimRefusal::Ended);
        assert_eq!(refusal(&task(Status::Failure, None)), ClaimRefusal::Ended);
        assert_eq!(
            refusal(&task(Status::Started, Some(later))),
            ClaimRefusal::Held { until: later }
        );
        assert_eq!(
            refusal(&task(Status::Started, Some(earlier))),
            ClaimRefusal::Exhausted
        );
        assert_eq!(
            refusal(&task(Status::Pending, None)),
            ClaimRefusal::Exhausted
        );
        assert_eq!(
            refusal(&task(Status::Pending, Some(later))),
            ClaimRefusal::Held { until: later }
        );
        let other = TaskId::new(Moment::from_millis(2), TaskKey::random([0; 10]));
        let found = task(Status::Pending, None);
        assert_eq!(
            Task::claim_refusal(Some(&found), other, NOW, 1),
            ClaimRefusal::Gone
        );
        assert_eq!(Task::claim_refusal(None, other, NOW, 1), ClaimRefusal::Gone);
    }

    #[test]
    fn a_task_that_lost_its_worker_runs_alone_until_its_attempts_are_used_up() {
        let (earlier, later) = (
            NOW.minus(Duration::from_secs(5)),
            NOW.plus(Duration::from_secs(5)),
        );
        let refusal =
            |task: &Task, max_attempts| Task::claim_refusal(Some(task), task.id, NOW, max_attempts);
        let lost = task(Status::Started, Some(earlier));
        assert_eq!(refusal(&lost, 2), ClaimRefusal::MustRunAlone);
        assert_eq!(refusal(&lost, 1), ClaimRefusal::Exhausted);
        let released = Task {
            worker_lost: true,
            ..task(Status::Pending, Some(earlier))
        };
        assert_eq!(refusal(&released, 2), ClaimRefusal::MustRunAlone);
        let paused = Task {
            worker_lost: true,
            ..task(Status::Pending, Some(later))
        };
        assert_eq!(refusal(&paused, 2), ClaimRefusal::Held { until: later });
        assert!(!task(Status::Started, Some(later)).must_run_alone(NOW));
        assert!(!task(Status::Pending, Some(earlier)).must_run_alone(NOW));
    }

    #[test]
    fn an_outcome_is_consistent_with_its_status_and_a_success_has_an_answer() {
        let answered = |text: &str| Ended {
            outcome: Outcome::Success(Answer {
                answer: text.to_owned(),
                ..Answer::default()
            }),
            usage: None,
        };
        let failed = Ended::without_usage(Failure::worker_lost());
        let fits = |status, ended: Option<&Ended>| Task::can_have_ended(status, ended);
        assert!(fits(Status::Success, Some(&answered("yes"))));
        assert!(fits(Status::Failure, Some(&failed)));
        assert!(fits(Status::Pending, None) && fits(Status::Started, None));
        assert!(!fits(Status::Success, Some(&answered(" \n"))));
        assert!(!fits(Status::Success, Some(&failed)) && !fits(Status::Success, None));
        assert!(!fits(Status::Failure, Some(&answered("yes"))) && !fits(Status::Failure, None));
        assert!(
            !fits(Status::Pending, Some(&failed)) && !fits(Status::Started, Some(&answered("yes")))
        );
    }

    #[test]
    fn a_result_is_stored_for_the_retention_and_at_least_for_the_idempotency_window() {
        let created = Moment::from_millis(0);
        let hour = Duration::from_secs(3600);
        let short = Task::final_expiry(created, created.plus(hour), hour);
        assert_eq!(short, created.plus(IDEMPOTENCY_WINDOW));
        let long = Task::final_expiry(created, created.plus(hour), IDEMPOTENCY_WINDOW);
        assert_eq!(long, created.plus(IDEMPOTENCY_WINDOW + hour));
    }

    #[test]
    fn a_task_waits_for_a_slot_at_a_constant_rate_and_not_for_ever() {
        assert_eq!(
            [0, u16::MAX / 2, u16::MAX].map(|chance| wait_pause(chance).as_millis()),
            [1000, 7999, 15_000]
        );
        assert!(!gives_up_waiting(LONGEST_WAIT - Duration::from_millis(1)));
        assert!(gives_up_waiting(LONGEST_WAIT));
    }

    proptest! {
        #[test]
        fn retries_are_bounded_by_attempts_and_by_the_time_budget(
            attempt in 1_u32..20, max_attempts in 1_u32..10,
            spent in 0_u64..400, timeout in 1_u64..300, retry_after in proptest::option::of(0_u64..400),
        ) {
            let failure = Failure::transient(ErrorType::ModelError, "busy");
            let fault = Fault::Transient {
                failure: failure.clone(),
                retry_after: retry_after.map(Duration::from_secs),
            };
            let policy = RetryPolicy { max_attempts, timeout: Duration::from_secs(timeout) };
            match after_fault(fault, attempt, Duration::from_secs(spent), policy) {
                AttemptEnd::Fail(end) => prop_assert_eq!(end, failure),
                AttemptEnd::Release { pause, why } => {
                    prop_assert_eq!(why, failure);
                    prop_assert!(attempt < max_attempts);
                    prop_assert!(spent + pause.as_secs() < timeout);
                    prop_assert!(pause.as_secs() >= retry_after.unwrap_or(0));
                }
            }
        }
    }
}
