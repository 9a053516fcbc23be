//! What befell a task, for people.

use crate::{ErrorType, Moment, Task};

/// Events beyond this many are not kept. Attempts are few; only a server that is
/// stopped in the middle of one run again and again comes near it.
pub const MAX_EVENTS: usize = 40;
/// Most bytes kept of why an attempt was given back.
pub const MAX_EVENT_MESSAGE_BYTES: usize = 300;

/// One thing that befell a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, by the clock of who did it.
    pub at: Moment,
    /// Which attempt it belongs to.
    pub attempt: Option<u32>,
}

/// The kinds of things that befall a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was triggered.
    Created,
    /// A runner took it.
    Claimed,
    /// The runner gave it back, or was found dead.
    Released {
        /// Why; `None` if its server stopped in good order, and the attempt does
        /// not count.
        fault: Option<(ErrorType, String)>,
        /// When the next attempt may begin, if not at once.
        resumes_at: Option<Moment>,
    },
    /// It ended.
    Finished,
}

/// All that befell a task, of which its record keeps claims and releases, without
/// the numbers of their attempts. What runners of an earlier release did is missing
/// but for the first claim.
pub fn history(task: &Task, kept: Vec<(EventKind, Moment)>) -> Vec<Event> {
    let mut events = vec![Event { kind: EventKind::Created, at: task.id.created_at(), attempt: None }];
    let first = kept.first().map(|(_, at)| *at);
    if let Some(at) = task.started_at.filter(|at| first.is_none_or(|first| *at < first)) {
        events.push(Event { kind: EventKind::Claimed, at, attempt: Some(1) });
    }
    let steps = |kind: &EventKind| match kind {
        EventKind::Claimed => 1,
        EventKind::Released { fault: None, .. } => -1,
        EventKind::Created | EventKind::Released { .. } | EventKind::Finished => 0,
    };
    // Counted back from the number that the task has now.
    let mut attempt = i64::from(task.attempt) - kept.iter().map(|(kind, _)| steps(kind)).sum::<i64>();
    for (kind, at) in kept {
        let number = attempt.max(attempt + steps(&kind));
        attempt += steps(&kind);
        events.push(Event { kind, at, attempt: u32::try_from(number).ok() });
    }
    if let Some(at) = task.finished_at {
        let attempt = Some(task.attempt).filter(|attempt| *attempt > 0);
        events.push(Event { kind: EventKind::Finished, at, attempt });
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

    fn told(task: &Task, kept: &[(&str, u64)]) -> Vec<String> {
        let kept = kept.iter().map(|(what, at)| {
            let fault = (*what == "faulted").then(|| (ErrorType::ModelError, String::new()));
            let kind = match *what {
                "claimed" => EventKind::Claimed,
                _ => EventKind::Released { fault, resumes_at: None },
            };
            (kind, Moment::from_millis(*at))
        });
        let told = |event: Event| {
            let kind = match event.kind {
                EventKind::Created => "created",
                EventKind::Claimed => "claimed",
                EventKind::Released { fault: Some(_), .. } => "faulted",
                EventKind::Released { fault: None, .. } => "stopped",
                EventKind::Finished => "finished",
            };
            let attempt = event.attempt.map_or_else(String::new, |attempt| format!(" {attempt}"));
            format!("{kind}{attempt} at {}", event.at.millis())
        };
        history(task, kept.collect()).into_iter().map(told).collect()
    }

    #[test]
    fn attempts_are_numbered_and_one_that_was_broken_off_in_good_order_is_not_counted() {
        let kept = [
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
        assert_eq!(told(&task(3, Some(110), Some(170)), &kept), expected);
    }

    #[test]
    fn what_an_earlier_release_did_not_keep_is_told_as_far_as_the_record_knows_it() {
        assert_eq!(told(&task(0, None, None), &[]), ["created at 100"]);
        let ended = ["created at 100", "claimed 1 at 110", "finished 1 at 120"];
        assert_eq!(told(&task(1, Some(110), Some(120)), &[]), ended);
        let taken_over = ["created at 100", "claimed 1 at 110", "claimed 3 at 130"];
        assert_eq!(told(&task(3, Some(110), None), &[("claimed", 130)]), taken_over);
        let never_run = ["created at 100", "finished at 120"];
        assert_eq!(told(&task(0, None, Some(120)), &[]), never_run);
    }
}
