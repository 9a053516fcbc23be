//! A task's item as DynamoDB hands it over, damaged in any way: the last line is
//! the item, all before the bytes of its outcome, its payload or a part of them.
#![no_main]

use domain::{Isolation, Outcome, Status, Task};
use fuzz::{Dynamo, Item, NOW, block_on, task_id};
use libfuzzer_sys::fuzz_target;
use store::{Claim, StoreError, Tasks};

/// The latest form of a record that this version reads.
const KNOWN_VERSION: u64 = 1;
const MOST_UNPACKED: usize = 32 * 1024 * 1024;

fuzz_target!(|input: &[u8]| {
    let Some(item) = Item::read(input) else {
        return;
    };
    let newer = item
        .number("v")
        .is_some_and(|version| version > KNOWN_VERSION);
    let tasks = Tasks::new(&Dynamo::holding(Some(item)).aws(), "tasks");
    block_on(async {
        if let Ok(Some(task)) = tasks.get(task_id()).await {
            assert!(!newer, "read a record of a form it does not know");
            truthful(&task);
        }
        if let Ok(Some(shown)) = tasks.show(task_id()).await {
            assert!(!newer, "showed a record of a form it does not know");
            truthful(&shown.task);
            assert!(shown.payload.as_json().len() <= MOST_UNPACKED);
        }
        if let Ok(Claim::Granted(claimed)) =
            tasks.claim(task_id(), NOW, NOW, 5, Isolation::Alone).await
        {
            assert!(!newer, "ran a record of a form it does not know");
            truthful(&claimed.task);
            match tasks.payload(&claimed).await {
                Ok(payload) => assert!(payload.as_json().len() <= MOST_UNPACKED),
                Err(StoreError::Damaged { .. } | StoreError::Unavailable { .. }) => {}
                Err(error @ (StoreError::Newer { .. } | StoreError::BeingDeleted)) => {
                    panic!("claimed, and then: {error}")
                }
            }
        }
        let _ = tasks.unfinished_tasks().await;
    });
});

/// The status and the outcome say the same, and a SUCCESS answers something.
fn truthful(task: &Task) {
    match (task.status, task.ended.as_ref().map(|ended| &ended.outcome)) {
        (Status::Pending | Status::Started, None)
        | (Status::Failure, Some(Outcome::Failure(_))) => {}
        (Status::Success, Some(Outcome::Success(answer))) => {
            assert!(!answer.answer.trim().is_empty())
        }
        (status, outcome) => panic!("{status:?} with {outcome:?}"),
    }
    let _ = (
        task.expires_at.rfc3339(),
        task.lease_until.map(|moment| moment.rfc3339()),
    );
}
