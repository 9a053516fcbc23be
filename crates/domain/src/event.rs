//! The history of a task.

use crate::{ErrorType, Moment, Task};

/// Maximum number of stored events. A task has few attempts, so only a server that is stopped
/// repeatedly during the same run reaches this.
pub const MAX_EVENTS: usize = 40;
/// Stored bytes of the reason why an attempt was released.
pub const MAX_EVENT_MESSAGE_BYTES: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    pub kind: HistoryEventKind,
    /// By the clock of the process that caused it.
    pub at: Moment,
    /// The attempt's number, from 1.
    pub attempt: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEventKind {
    Created,
    Claimed,
    /// The runner released the task, or its worker was lost.
    Released {
        /// `None` if the server shut down gracefully. The attempt then does not count.
        fault: Option<(ErrorType, String)>,
        /// The earliest start of the next attempt. `None` if it may start immediately.
        resumes_at: Option<Moment>,
    },
    Finished,
}

/// The events of a task, oldest first.
///
/// `stored` are the claims and releases in its record, without attempt numbers. Of the events
/// caused by runners of an earlier release, only the first claim is known.
pub fn task_history(task: &Task, stored: Vec<(HistoryEventKind, Moment)>) -> Vec<HistoryEvent> {
    let mut events = vec![HistoryEvent {
        kind: HistoryEventKind::Created,
        at: task.id.created_at(),
        attempt: None,
    }];
    let first = stored.first().map(|(_, at)| *at);
    if let Some(at) = task
        .started_at
        .filter(|at| first.is_none_or(|first| *at < first))
    {
        events.push(HistoryEvent {
            kind: HistoryEventKind::Claimed,
            at,
            attempt: Some(1),
        });
    }
    let steps = |kind: &HistoryEventKind| match kind {
        HistoryEventKind::Claimed => 1,
        HistoryEventKind::Released { fault: None, .. } => -1,
        HistoryEventKind::Created
        | HistoryEventKind::Released { .. }
        | HistoryEventKind::Finished => 0,
    };
    // Counted back from the task's current attempt number.
    let mut attempt =
        i64::from(task.attempt) - stored.iter().map(|(kind, _)| steps(kind)).sum::<i64>();
    for (kind, at) in stored {
        let number = attempt.max(attempt + steps(&kind));
        attempt += steps(&kind);
        events.push(HistoryEvent {
            kind,
            at,
            attempt: u32::try_from(number).ok(),
        });
    }
    if let Some(at) = task.finished_at {
        let attempt = Some(task.attempt).filter(|attempt| *attempt > 0);
        events.push(HistoryEvent {
            kind: HistoryEventKind::Finished,
            at,
            attempt,
        });
    }
    events
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{AgentId, Status, TaskId, TaskKey};

    fn task(attempt: u32, started_at: Option<u64>, finished_at: Option<u64>) -> Task {
        Task {
            id: TaskId::new(Moment::from_millis(100), TaskKey::random([0; 10])),
            agent_id: AgentId::random([0; 16]),
            status: Status::Pending,
            attempt,
            started_at: started_at.map(Moment::from_millis),
            finished_at: finished_at.map(Moment::from_millis),
            lease_until: None,
            spent: Duration::ZERO,
            worker_lost: false,
            ended: None,
            expires_at: Moment::from_millis(1_000_000),
        }
    }

    fn describe_history(task: &Task, stored: &[(&str, u64)]) -> Vec<String> {
        let stored = stored.iter().map(|(what, at)| {
            let fault = (*what == "faulted").then(|| (ErrorType::ModelError, String::new()));
            let kind = match *what {
                "claimed" => HistoryEventKind::Claimed,
                _ => HistoryEventKind::Released {
                    fault,
                    resumes_at: None,
                },
            };
            (kind, Moment::from_millis(*at))
        });
        let describe = |event: HistoryEvent| {
            let kind = match event.kind {
                HistoryEventKind::Created => "created",
                HistoryEventKind::Claimed => "claimed",
                HistoryEventKind::Released { fault: Some(_), .. } => "faulted",
                HistoryEventKind::Released { fault: None, .. } => "stopped",
                HistoryEventKind::Finished => "finished",
            };
            let attempt = event
                .attempt
                .map_or_else(String::new, |attempt| format!(" {attempt}"));
            format!("{kind}{attempt} at {}", event.at.millis())
        };
        task_history(task, stored.collect())
            .into_iter()
            .map(describe)
            .collect()
    }

    #[test]
    fn attempts_are_numbered_and_one_that_a_graceful_shutdown_ended_does_not_count() {
        let stored = [
            ("claimed", 110),
            ("faulted", 120),
            ("claimed", 130),
            ("stopped", 140),
            ("claimed", 150),
            ("claimed", 160),
        ];
        let expected = [
            "created at 100",
            "claimed 1 at 110",
            "faulted 1 at 120",
            "claimed 2 at 130",
            "stopped 2 at 140",
            "claimed 2 at 150",
            "claimed 3 at 160",
            "finished 3 at 170",
        ];
        assert_eq!(
            describe_history(&task(3, Some(110), Some(170)), &stored),
            expected
        );
    }

    #[test]
    fn events_that_an_earlier_release_did_not_store_are_derived_from_the_record() {
        assert_eq!(
            describe_history(&task(0, None, None), &[]),
            ["created at 100"]
        );
        let ended = ["created at 100", "claimed 1 at 110", "finished 1 at 120"];
        assert_eq!(describe_history(&task(1, Some(110), Some(120)), &[]), ended);
        let taken_over = ["created at 100", "claimed 1 at 110", "claimed 3 at 130"];
        assert_eq!(
            describe_history(&task(3, Some(110), None), &[("claimed", 130)]),
            taken_over
        );
        let never_run = ["created at 100", "finished at 120"];
        assert_eq!(describe_history(&task(0, None, Some(120)), &[]), never_run);
    }
}
