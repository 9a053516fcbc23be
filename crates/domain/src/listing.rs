//! Lists of tasks, newest first. Each agent has several index shards, which are merged into
//! one list.

use std::cmp::Reverse;
use std::time::Duration;

use crate::{AgentId, Failure, Moment, Outcome, Status, Task, TaskId, Usage};

/// A task in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskEntry {
    pub id: TaskId,
    /// Whether the task ended as FAILURE.
    pub failed: bool,
}

/// The part of a list to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListRange {
    /// Only tasks created at this moment or later.
    pub from: Moment,
    /// Only tasks older than this one. `None` starts with the newest task.
    pub before: Option<TaskId>,
}

/// A part of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    pub entries: Vec<TaskEntry>,
    /// The last task that was read. `None` at the end of the list.
    pub reached: Option<TaskId>,
}

/// A task without its payload and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskBrief {
    pub id: TaskId,
    pub agent_id: AgentId,
    pub status: Status,
    /// The number of claims.
    pub attempt: u32,
    /// The time of the first claim.
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    /// Without tool calls.
    pub failure: Option<Failure>,
    pub usage: Option<Usage>,
    /// When the task stops being visible.
    pub expires_at: Moment,
}

impl TaskBrief {
    pub fn from_task(task: Task) -> Self {
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

    /// From the trigger to the first claim.
    pub fn waited(&self) -> Option<Duration> {
        Some(self.started_at?.since(self.id.created_at()))
    }

    /// From the first claim to the end, including pauses between attempts.
    pub fn ran(&self) -> Option<Duration> {
        Some(self.finished_at?.since(self.started_at?))
    }
}

impl ListRange {
    pub const ALL: Self = Self {
        from: Moment::from_millis(0),
        before: None,
    };
}

/// Merges pages of several lists and returns the newest `most` tasks, and the task after which
/// to continue. Tasks older than the end of any incomplete page are left for the next call,
/// because that list may have tasks in between.
pub fn merge_newest(pages: Vec<ListPage>, most: usize) -> ListPage {
    let seen_to = pages.iter().filter_map(|page| page.reached).max();
    let mut entries: Vec<TaskEntry> = pages
        .into_iter()
        .flat_map(|page| page.entries)
        .filter(|entry| seen_to.is_none_or(|seen_to| seen_to <= entry.id))
        .collect();
    entries.sort_unstable_by_key(|entry| Reverse(entry.id));
    let has_more = entries.len() > most;
    entries.truncate(most);
    let reached = if has_more {
        entries.last().map(|entry| entry.id)
    } else {
        seen_to
    };
    ListPage { entries, reached }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::TaskKey;

    /// Like the index: reads `limit` tasks and returns those that match a filter.
    fn read_list(list: &BTreeSet<TaskId>, before: Option<TaskId>, limit: usize) -> ListPage {
        let mut rest = list
            .iter()
            .rev()
            .copied()
            .filter(|id| before.is_none_or(|before| *id < before));
        let looked_at: Vec<TaskId> = rest.by_ref().take(limit).collect();
        let matches = |id: &TaskId| !id.created_at().millis().is_multiple_of(3);
        ListPage {
            reached: looked_at
                .last()
                .copied()
                .filter(|_| looked_at.len() == limit),
            entries: looked_at
                .into_iter()
                .filter(matches)
                .map(|id| TaskEntry { id, failed: false })
                .collect(),
        }
    }

    fn task() -> impl Strategy<Value = TaskId> {
        // Few moments, so that many tasks share one.
        (0_u64..12, any::<[u8; 10]>())
            .prop_map(|(at, key)| TaskId::new(Moment::from_millis(at), TaskKey::random(key)))
    }

    proptest! {
        #[test]
        fn pages_contain_every_matching_task_once_and_in_order(
            lists in proptest::collection::vec(proptest::collection::btree_set(task(), 0..12), 0..5),
            (limit, most) in (1_usize..6, 1_usize..8),
        ) {
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let pages = lists.iter().map(|list| read_list(list, before, limit)).collect();
                let page = merge_newest(pages, most);
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
