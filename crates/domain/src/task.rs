//! A task and its transitions.
//!
//! ```text
//!            claim (attempt + 1)            finish
//! PENDING ───────────────────────▶ STARTED ───────▶ SUCCESS | FAILURE
//!    ▲                               │ │
//!    └── release (a passing fault) ──┘ └─ lease over: claimed anew
//! ```
//! A claim holds a lease until its runner's own deadline: past it the runner is
//! dead. A release leaves a lease that nobody holds for as long as the task is
//! to rest, so that a second message cannot cut the pause short. `attempt` is the
//! fencing token: only the holder of the latest attempt can finish or release.
//! Past the last attempt the task ends as `worker_lost`.
//!
//! A task that is STARTED although its lease is over has lost its worker. It may be
//! what ended that worker, so from then on it is claimed only to run [alone](Isolation::Alone).

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{AgentId, Ended, ErrorType, Failure, Moment, Outcome, TaskId};

/// One idempotency key is one task for this long after the first trigger.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// A task that never ended is swept after this long: beyond the longest time a
/// queue can hold its message (SQS: 14 days).
const UNENDED_TTL: Duration = Duration::from_secs(15 * 24 * 3600);

/// A task that waits this long for a run slot of its agent, or to run alone, ends.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The four states a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Stored and queued.
    Pending,
    /// Held by a runner.
    Started,
    /// Ended with an answer.
    Success,
    /// Ended without.
    Failure,
}

impl Status {
    /// As stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }

    /// Reads a stored status.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Started, Self::Success, Self::Failure]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Whether it never changes again.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

/// A task as its record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id, which holds its creation time.
    pub id: TaskId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// Where it stands.
    pub status: Status,
    /// How often it was claimed; the fencing token.
    pub attempt: u32,
    /// The first claim.
    pub started_at: Option<Moment>,
    /// The end.
    pub finished_at: Option<Moment>,
    /// Until when nobody may claim it: its runner may be alive, or its last
    /// attempt asked for a pause.
    pub lease_until: Option<Moment>,
    /// Time budget used by attempts that were released.
    pub spent: Duration,
    /// An attempt lost its worker, as the record says. See [`Self::must_run_alone`].
    pub worker_lost: bool,
    /// How it ended.
    pub ended: Option<Ended>,
    /// When readers stop seeing it.
    pub expires_at: Moment,
}

/// Whether other runs share the worker process with a run.
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
    /// There is no such task any more: drop the message.
    Gone,
    /// It has ended already: drop the message.
    Ended,
    /// A runner may still hold it, or it is to rest: leave the message.
    Held {
        /// The lease's end.
        until: Moment,
    },
    /// An attempt lost its worker: claim it to run [alone](Isolation::Alone).
    MustRunAlone,
    /// Every attempt was used and lost: end it as `worker_lost`.
    Exhausted,
}

impl Task {
    /// When a task created now is swept if it never ends.
    pub fn initial_expiry(created_at: Moment) -> Moment {
        created_at.plus(UNENDED_TTL)
    }

    /// When a task that ends now stops being visible: after the retention, but
    /// never before its idempotency key is free.
    pub fn final_expiry(created_at: Moment, finished_at: Moment, retention: Duration) -> Moment {
        finished_at.plus(retention).max(created_at.plus(IDEMPOTENCY_WINDOW))
    }

    /// What a claim that the store refused means, given the record it found.
    pub fn claim_refusal(
        found: Option<&Self>,
        wanted: TaskId,
        now: Moment,
        max_attempts: u32,
    ) -> ClaimRefusal {
        match Self::refusal(found, wanted, now) {
            ClaimRefusal::Exhausted
                if found.is_some_and(|task| task.attempt < max_attempts && task.must_run_alone(now)) =>
            {
                ClaimRefusal::MustRunAlone
            }
            refusal => refusal,
        }
    }

    /// Whether the next attempt runs alone: an earlier one lost its worker. This stays
    /// true when a later attempt is released, because that one may have ended before it
    /// came to what took the worker down.
    pub fn must_run_alone(&self, now: Moment) -> bool {
        let lost_now = self.status == Status::Started && self.lease_until.is_none_or(|until| until <= now);
        self.worker_lost || lost_now
    }

    /// What a write that demands a task without a lease means, when the store refused it.
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

    /// Whether a task of this status can have ended like this. A record that says
    /// otherwise is damaged: a SUCCESS has an answer, and nothing else has one.
    pub fn can_have_ended(status: Status, ended: Option<&Ended>) -> bool {
        let answered =
            !matches!(ended.map(|ended| &ended.outcome), Some(Outcome::Success(answer)) if answer.is_blank());
        answered && ended.map(Ended::status) == status.has_ended().then_some(status)
    }

    /// Whether readers may still see it.
    pub fn is_visible(&self, wanted: TaskId, now: Moment) -> bool {
        self.id == wanted && now < self.expires_at
    }
}

/// A fault of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// May pass: another attempt is worth it, not before `retry_after`.
    Passing {
        /// What the task ends with if no attempt is left.
        failure: Failure,
        /// What the model's server asked for.
        retry_after: Option<Duration>,
    },
    /// Will not pass.
    Permanent(Failure),
}

impl Fault {
    /// What kind of failure it would be.
    pub const fn kind(&self) -> ErrorType {
        match self {
            Self::Permanent(failure) | Self::Passing { failure, .. } => failure.kind,
        }
    }

    /// A fault that trying again will not mend.
    pub fn permanent(kind: ErrorType, message: impl Into<String>) -> Self {
        Self::Permanent(Failure::permanent(kind, message))
    }

    /// A fault that may pass on its own.
    pub fn passing(kind: ErrorType, message: impl Into<String>) -> Self {
        Self::Passing { failure: Failure::passing(kind, message), retry_after: None }
    }
}

/// How an attempt goes on after a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Give the task back and come again after a while.
    Release {
        /// How long it rests.
        pause: Duration,
        /// Why.
        why: Failure,
    },
    /// The task ends.
    Fail(Failure),
}

/// What bounds the retries of one task.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Claims a task may have in all.
    pub max_attempts: u32,
    /// The agent's time limit.
    pub timeout: Duration,
}

/// Retry or end: one budget for all retries, the task's attempts and its time.
pub fn after_fault(fault: Fault, attempt: u32, spent: Duration, policy: RetryPolicy) -> AttemptEnd {
    match fault {
        Fault::Permanent(failure) => AttemptEnd::Fail(failure),
        Fault::Passing { failure, retry_after } => {
            let pause = retry_after.unwrap_or_default().max(back_off(attempt));
            if attempt >= policy.max_attempts || spent.saturating_add(pause) >= policy.timeout {
                AttemptEnd::Fail(failure)
            } else {
                AttemptEnd::Release { pause, why: failure }
            }
        }
    }
}

/// When a task that waits for a run slot of its agent, or to run alone, looks again:
/// after 1 to 15 s by `chance`, whatever its age, so that no task has more looks than
/// another.
pub fn wait_pause(chance: u16) -> Duration {
    Duration::from_millis(1000 + 14_000 * u64::from(chance) / u64::from(u16::MAX))
}

/// Whether a task that has waited for so long ends.
pub fn gives_up_waiting(waited: Duration) -> bool {
    waited >= LONGEST_WAIT
}

/// 1, 2, 4, 8 … 64 seconds.
fn back_off(attempt: u32) -> Duration {
    Duration::from_secs(1 << attempt.saturating_sub(1).min(6))
}

impl Ended {
    /// SUCCESS or FAILURE.
    pub const fn status(&self) -> Status {
        match self.outcome {
            Outcome::Success(_) => Status::Success,
            Outcome::Failure(_) => Status::Failure,
        }
    }

    /// An end before any model was asked.
    pub const fn without_usage(failure: Failure) -> Self {
        Self { outcome: Outcome::Failure(failure), usage: None }
    }
}

impl Failure {
    /// The task whose agent was busy with others for too long.
    pub fn no_slot() -> Self {
        let hours = LONGEST_WAIT.as_secs() / 3600;
        let message = format!("The agent was busy with other tasks for {hours} hours");
        Self::passing(ErrorType::Timeout, message)
    }

    /// The task that lost a worker and found no time to run alone.
    pub fn never_alone() -> Self {
        let hours = LONGEST_WAIT.as_secs() / 3600;
        let message = format!("The task lost its worker, and could not run again, alone, for {hours} hours");
        Self::passing(ErrorType::WorkerLost, message)
    }

    /// The run that took longer than its agent allows.
    pub fn timeout(limit: Duration) -> Self {
        let message = format!("The run took longer than its limit of {} s", limit.as_secs());
        Self::passing(ErrorType::Timeout, message)
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
        assert_eq!(refusal(&task(Status::Started, Some(later))), ClaimRefusal::Held { until: later });
        assert_eq!(refusal(&task(Status::Started, Some(earlier))), ClaimRefusal::Exhausted);
        assert_eq!(refusal(&task(Status::Pending, None)), ClaimRefusal::Exhausted);
        assert_eq!(refusal(&task(Status::Pending, Some(later))), ClaimRefusal::Held { until: later });
        let stranger = TaskId::new(Moment::from_millis(2), TaskKey::random([0; 10]));
        let found = task(Status::Pending, None);
        assert_eq!(Task::claim_refusal(Some(&found), stranger, NOW, 1), ClaimRefusal::Gone);
        assert_eq!(Task::claim_refusal(None, stranger, NOW, 1), ClaimRefusal::Gone);
    }

    #[test]
    fn a_task_that_lost_its_worker_runs_alone_until_its_attempts_are_used_up() {
        let (earlier, later) = (NOW.minus(Duration::from_secs(5)), NOW.plus(Duration::from_secs(5)));
        let refusal = |task: &Task, max_attempts| Task::claim_refusal(Some(task), task.id, NOW, max_attempts);
        let lost = task(Status::Started, Some(earlier));
        assert_eq!(refusal(&lost, 2), ClaimRefusal::MustRunAlone);
        assert_eq!(refusal(&lost, 1), ClaimRefusal::Exhausted);
        let released = Task { worker_lost: true, ..task(Status::Pending, Some(earlier)) };
        assert_eq!(refusal(&released, 2), ClaimRefusal::MustRunAlone);
        let resting = Task { worker_lost: true, ..task(Status::Pending, Some(later)) };
        assert_eq!(refusal(&resting, 2), ClaimRefusal::Held { until: later });
        assert!(!task(Status::Started, Some(later)).must_run_alone(NOW));
        assert!(!task(Status::Pending, Some(earlier)).must_run_alone(NOW));
    }

    #[test]
    fn an_end_fits_its_status_and_a_success_answers_something() {
        let answered = |text: &str| Ended {
            outcome: Outcome::Success(Answer { answer: text.to_owned(), ..Answer::default() }),
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
        assert!(!fits(Status::Pending, Some(&failed)) && !fits(Status::Started, Some(&answered("yes"))));
    }

    #[test]
    fn a_result_is_kept_for_the_retention_and_never_frees_its_key_early() {
        let created = Moment::from_millis(0);
        let hour = Duration::from_secs(3600);
        let short = Task::final_expiry(created, created.plus(hour), hour);
        assert_eq!(short, created.plus(IDEMPOTENCY_WINDOW));
        let long = Task::final_expiry(created, created.plus(hour), IDEMPOTENCY_WINDOW);
        assert_eq!(long, created.plus(IDEMPOTENCY_WINDOW + hour));
    }

    #[test]
    fn a_task_looks_for_a_slot_again_at_any_age_alike_and_not_for_ever() {
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
            let failure = Failure::passing(ErrorType::ModelError, "busy");
            let fault = Fault::Passing {
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
