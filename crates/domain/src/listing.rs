//! Lists of tasks, newest first: each agent has several, and what people see is
//! all of them as one.

use std::cmp::Reverse;
use std::time::Duration;

use crate::{AgentId, Failure, Moment, Outcome, Status, Task, TaskId, Usage};

/// A task's place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which task.
    pub id: TaskId,
    /// It ended as FAILURE.
    pub failed: bool,
}

/// The part of a list to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Tasks created at this moment or later.
    pub from: Moment,
    /// Tasks that come after this one, newest first; all of them if there is none.
    pub before: Option<TaskId>,
}

/// What was read of one list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// The tasks found.
    pub entries: Vec<Entry>,
    /// The last one looked at, if there may be more behind it.
    pub reached: Option<TaskId>,
}

/// A task without what it was given and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Its id, which holds its creation time.
    pub id: TaskId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// Where it stands.
    pub status: Status,
    /// How often it was claimed.
    pub attempt: u32,
    /// The first claim.
    pub started_at: Option<Moment>,
    /// The end.
    pub finished_at: Option<Moment>,
    /// Why it failed, without the tools it had called.
    pub failure: Option<Failure>,
    /// Tokens spent.
    pub usage: Option<Usage>,
    /// When readers stop seeing it.
    pub expires_at: Moment,
}

impl Brief {
    /// What there is to say of this task in a list.
    pub fn of(task: Task) -> Self {
        let (outcome, usage) = task.ended.map(|ended| (ended.outcome, ended.usage)).unzip();
        let failure = match outcome {
            Some(Outcome::Failure(failure)) => Some(failure.in_brief()),
            Some(Outcome::Success(_)) | None => None,
        };
        Self {
            id: task.id,
            agent_id: task.agent_id,
            status: task.status,
            attempt: task.attempt,
            started_at: task.started_at,
            finished_at: task.finished_at,
            failure,
            usage: usage.flatten().map(Usage::in_brief),
            expires_at: task.expires_at,
        }
    }

    /// From the trigger to the first run.
    pub fn waited(&self) -> Option<Duration> {
        Some(self.started_at?.since(self.id.created_at()))
    }

    /// From the first run to the end, pauses between attempts included.
    pub fn ran(&self) -> Option<Duration> {
        Some(self.finished_at?.since(self.started_at?))
    }
}

impl Span {
    /// Every task.
    pub const ALL: Self = Self { from: Moment::from_millis(0), before: None };
}

/// The newest `most` of what was read of several lists, and the task after which
/// to read on, if there may be more. What lies behind the end of any one stretch
/// waits, since that list may hold tasks between.
pub fn newest(stretches: Vec<Stretch>, most: usize) -> Stretch {
    let seen_to = stretches.iter().filter_map(|stretch| stretch.reached).max();
    let mut entries: Vec<Entry> = stretches
        .into_iter()
        .flat_map(|stretch| stretch.entries)
        .filter(|entry| seen_to.is_none_or(|seen_to| seen_to <= entry.id))
        .collect();
    entries.sort_unstable_by_key(|entry| Reverse(entry.id));
    let left_over = entries.len() > most;
    entries.truncate(most);
    let reached = if left_over { entries.last().map(|entry| entry.id) } else { seen_to };
    Stretch { entries, reached }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::TaskKey;

    /// As the index answers: `limit` looked at, those that fit handed out.
    fn read(list: &BTreeSet<TaskId>, before: Option<TaskId>, limit: usize) -> Stretch {
        let mut left = list.iter().rev().copied().filter(|id| before.is_none_or(|before| *id < before));
        let looked_at: Vec<TaskId> = left.by_ref().take(limit).collect();
        let fits = |id: &TaskId| !id.created_at().millis().is_multiple_of(3);
        Stretch {
            reached: looked_at.last().copied().filter(|_| looked_at.len() == limit),
            entries: looked_at.into_iter().filter(fits).map(|id| Entry { id, failed: false }).collect(),
        }
    }

    fn task() -> impl Strategy<Value = TaskId> {
        // Few moments, so that many tasks share one.
        (0_u64..12, any::<[u8; 10]>())
            .prop_map(|(at, key)| TaskId::new(Moment::from_millis(at), TaskKey::random(key)))
    }

    proptest! {
        #[test]
        fn pages_hold_every_task_that_fits_once_and_in_order(
            lists in proptest::collection::vec(proptest::collection::btree_set(task(), 0..12), 0..5),
            (limit, most) in (1_usize..6, 1_usize..8),
        ) {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let stretches = lists.iter().map(|list| read(list, before, limit)).collect();
                let page = newest(stretches, most);
                prop_assert!(page.entries.len() <= most);
                prop_assert!(page.reached.is_none_or(|next| before.is_none_or(|before| next < before)), "stuck");
                seen.extend(page.entries.into_iter().map(|entry| entry.id));
                before = page.reached;
                if before.is_none() {
                    break;
                }
            }
            let all: BTreeSet<TaskId> = lists.into_iter().flatten().collect();
            let expected: Vec<TaskId> =
                all.into_iter().rev().filter(|id| !id.created_at().millis().is_multiple_of(3)).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
