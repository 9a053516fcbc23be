//! Invariants, and states that must occur so that the invariants are tested.

use domain::Status;
use stateright::{Model as _, Property};

use crate::config::{Config, Scenario};
use crate::record::Ending;
use crate::state::{Breach, PAUSE, Request, Stage, State, Why};

pub(crate) fn all(config: &Config) -> Vec<Property<Config>> {
    let mut properties = invariants();
    properties.extend(common_occurrences());
    properties.extend(losses());
    properties.extend(occurrences_of(config));
    properties
}

fn invariants() -> Vec<Property<Config>> {
    vec![
        Property::always("an accepted task is queued, held or ended", is_in_progress),
        Property::always("every accepted task ends", every_task_ends),
        Property::always(
            "a key has one task id within 24 hours",
            |_, state: &State| lacks(state, Breach::TwoIds),
        ),
        Property::always("a task ends once, and its end never changes", ended_once),
        Property::always("a task has one runner within its deadline", one_runner),
        Property::always(
            "no late runner overwrites a newer attempt",
            |_, state: &State| lacks(state, Breach::LateWrite),
        ),
        Property::always(
            "a result before the deadline is recorded",
            |_, state: &State| lacks(state, Breach::VoidInTime),
        ),
        Property::always(
            "only a task that lost its worker ends as worker_lost",
            |_, state: &State| lacks(state, Breach::LostForNothing),
        ),
        Property::always(
            "an idempotency key identifies one tool call",
            |_, state: &State| lacks(state, Breach::OtherCalls),
        ),
        Property::always(
            "a task that lost its worker runs alone",
            |_, state: &State| lacks(state, Breach::LostNotAlone),
        ),
        Property::always("every history ends", |_, state: &State| {
            lacks(state, Breach::Endless)
        }),
    ]
}

/// States that occur with every configuration.
fn common_occurrences() -> Vec<Property<Config>> {
    vec![
        Property::sometimes(
            "a retried trigger finds its task PENDING",
            |_, state: &State| {
                state
                    .requests
                    .iter()
                    .any(|request| matches!(request, Request::Send { repeat: true, .. }))
            },
        ),
        Property::sometimes("a task has two messages", |_, state: &State| {
            state.messages.len() > 1
        }),
        Property::sometimes("a message finds its task leased", |_, state: &State| {
            state.lease() > 0 && at(state, |stage| matches!(stage, Stage::Back(_)))
        }),
        Property::sometimes("a message finds its task ended", |_, state: &State| {
            at(state, |stage| stage == Stage::Done(Why::Ended))
        }),
        Property::sometimes(
            "a task waits after a transient error",
            |_, state: &State| state.lease() > 0 && state.has_status(Status::Pending),
        ),
        Property::sometimes("a later attempt succeeds", |_, state: &State| {
            let record = state.item.0.as_ref();
            record.is_some_and(|record| record.attempt > 1 && record.status == Status::Success)
        }),
        Property::sometimes("a task ends as worker_lost", |_, state: &State| {
            state
                .past
                .ends
                .iter()
                .any(|(_, ending)| *ending == Ending::WorkerLost)
        }),
        Property::sometimes("a dead letter ends its task", |_, state: &State| {
            state.messages.iter().any(|message| message.dead)
                && at(state, |stage| stage == Stage::Done(Why::EndedAbandoned))
        }),
    ]
}

/// States that occur only with some configurations.
fn occurrences_of(config: &Config) -> Vec<Property<Config>> {
    let mut properties = Vec::new();
    if config.scenario == Scenario::LateRunners {
        properties.push(Property::sometimes(
            "a late runner's result is void",
            |_, state: &State| at(state, |stage| stage == Stage::Void),
        ));
    }
    if config.bounds.turns > 0 {
        properties.push(Property::sometimes(
            "a later attempt makes the calls of an earlier one",
            |_, state: &State| state.past.same_calls,
        ));
    }
    if config.bounds.days > 0 && config.bounds.triggers > 1 {
        properties.push(Property::sometimes(
            "a key has a second task after 24 hours",
            |_, state: &State| {
                let first = state.past.ends.first();
                first.is_some_and(|(first, _)| {
                    state
                        .item
                        .0
                        .as_ref()
                        .is_some_and(|record| record.id != *first)
                })
            },
        ));
        properties.push(Property::sometimes(
            "a message finds another task",
            |_, state: &State| at(state, |stage| stage == Stage::Done(Why::Gone)),
        ));
    }
    properties
}

fn losses() -> Vec<Property<Config>> {
    vec![
        Property::sometimes(
            "a task that lost its worker runs alone and succeeds",
            |_, state: &State| {
                let record = state.item.0.as_ref();
                record.is_some_and(|record| {
                    state.past.killed.contains(record.id) && record.status == Status::Success
                })
            },
        ),
        Property::sometimes(
            "a task that lost its worker is postponed",
            |_, state: &State| {
                let record = state.item.0.as_ref();
                record.is_some_and(|record| record.worker_lost)
                    && state.has_status(Status::Pending)
                    && at(state, |stage| stage == Stage::Back(PAUSE))
            },
        ),
    ]
}

fn lacks(state: &State, breach: Breach) -> bool {
    state.past.breach != Some(breach)
}

fn at(state: &State, stage: impl Fn(Stage) -> bool) -> bool {
    state.runners.iter().flatten().any(|hand| stage(hand.stage))
}

/// Whether an accepted task has not ended.
fn has_unfinished(state: &State) -> bool {
    let ended = state
        .past
        .ends
        .iter()
        .filter(|(id, _)| state.past.accepted.contains(*id))
        .count();
    u32::try_from(ended) != Ok(state.past.accepted.len())
}

/// The task has a message, a runner, or a request that will send its id. A runner can crash in
/// every state, so in all of them the message must still exist.
fn is_in_progress(_: &Config, state: &State) -> bool {
    if !has_unfinished(state) || state.past.breach.is_some() {
        return true;
    }
    let Some(id) = state.item.0.as_ref().map(|record| record.id) else {
        return false;
    };
    let accepted = state.past.accepted.contains(id) && state.is_open(id);
    let in_hand = state.runners.iter().flatten().any(|hand| {
        hand.id == id && !matches!(hand.stage, Stage::Void | Stage::Done(_) | Stage::Back(_))
    });
    let to_send = state
        .requests
        .iter()
        .any(|request| matches!(request, Request::Send { id: sent, .. } if *sent == id));
    accepted && (in_hand || to_send || state.messages.iter().any(|message| message.id == id))
}

/// A state without further required actions has no unfinished task. Every history reaches such
/// a state, because every step decreases [`State::measure`].
fn every_task_ends(config: &Config, state: &State) -> bool {
    let is_busy = !state.requests.is_empty() || state.runners.iter().any(Option::is_some);
    if is_busy || state.past.breach.is_some() || !has_unfinished(state) {
        return true;
    }
    let mut actions = Vec::new();
    config.actions(state, &mut actions);
    actions.iter().any(|action| !action.is_optional())
}

fn ended_once(_: &Config, state: &State) -> bool {
    let Some(record) = &state.item.0 else {
        return true;
    };
    let first = state
        .past
        .ends
        .iter()
        .find(|(id, _)| *id == record.id)
        .map(|(_, ending)| *ending);
    lacks(state, Breach::EndedTwice)
        && (state.past.breach.is_some() || record.ending == first)
        && record.status.has_ended() == record.ending.is_some()
}

fn one_runner(_: &Config, state: &State) -> bool {
    let is_working = |stage| matches!(stage, Stage::Working { .. });
    let hands = || {
        state
            .runners
            .iter()
            .flatten()
            .filter(|hand| hand.life > 0 && is_working(hand.stage))
    };
    hands().all(|hand| hands().filter(|other| other.id == hand.id).count() == 1)
}
