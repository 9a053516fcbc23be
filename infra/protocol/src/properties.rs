//! What must hold in every state, and what must occur for that to mean something.

use domain::Status;
use stateright::{Model as _, Property};

use crate::config::{Config, Scenario};
use crate::record::Ending;
use crate::state::{Breach, PAUSE, Request, Stage, State, Why};

/// All of them, for this scenario.
pub(crate) fn all(config: &Config) -> Vec<Property<Config>> {
    let mut properties = invariants();
    properties.extend(occurrences(config));
    properties
}

fn invariants() -> Vec<Property<Config>> {
    vec![
        Property::always("a trigger answered 200 is on its way, or has ended", is_on_its_way),
        Property::always("left to itself, every task answered 200 ends", ends),
        Property::always("one key is one id within 24 hours", |_, state: &State| {
            lacks(state, Breach::TwoIds)
        }),
        Property::always("a task ends once, and its end never changes", ended_once),
        Property::always("one runner within its deadline at a time", one_runner),
        Property::always("no late runner overwrites a newer one", |_, state: &State| {
            lacks(state, Breach::LateWrite)
        }),
        Property::always("a result in time is recorded", |_, state: &State| lacks(state, Breach::VoidInTime)),
        Property::always("worker_lost is said of lost work alone", |_, state: &State| {
            lacks(state, Breach::LostForNothing)
        }),
        Property::always("one key of a tool call is one call", |_, state: &State| {
            lacks(state, Breach::OtherCalls)
        }),
        Property::always("a task that lost its worker runs alone", |_, state: &State| {
            lacks(state, Breach::LostBesideOthers)
        }),
        Property::always("every history ends", |_, state: &State| lacks(state, Breach::Endless)),
    ]
}

fn occurrences(config: &Config) -> Vec<Property<Config>> {
    let mut properties = vec![
        Property::sometimes("a repeat finds its task PENDING", |_, state: &State| {
            state.requests.iter().any(|request| matches!(request, Request::Send { repeat: true, .. }))
        }),
        Property::sometimes("a task is in two messages", |_, state: &State| state.messages.len() > 1),
        Property::sometimes("a message meets a living lease", |_, state: &State| {
            state.lease() > 0 && at(state, |stage| matches!(stage, Stage::Back(_)))
        }),
        Property::sometimes("a message finds its task ended", |_, state: &State| {
            at(state, |stage| stage == Stage::Done(Why::Ended))
        }),
        Property::sometimes("a task rests after a passing fault", |_, state: &State| {
            state.lease() > 0 && state.is(Status::Pending)
        }),
        Property::sometimes("a later attempt succeeds", |_, state: &State| {
            let record = state.item.0.as_ref();
            record.is_some_and(|record| record.attempt > 1 && record.status == Status::Success)
        }),
        Property::sometimes("a task ends as worker_lost", |_, state: &State| {
            state.past.ends.iter().any(|(_, ending)| *ending == Ending::WorkerLost)
        }),
    ];
    properties.extend(losses());
    if config.scenario == Scenario::LateRunners {
        properties.push(Property::sometimes("a late runner's result is void", |_, state: &State| {
            at(state, |stage| stage == Stage::Void)
        }));
    }
    if config.bounds.turns > 0 {
        properties
            .push(Property::sometimes("a later attempt makes an earlier one's calls", |_, state: &State| {
                state.past.same_calls
            }));
    }
    if config.bounds.days > 0 && config.bounds.triggers > 1 {
        properties.push(Property::sometimes(
            "a key names a second task after 24 hours",
            |_, state: &State| {
                let first = state.past.ends.first();
                first
                    .is_some_and(|(first, _)| state.item.0.as_ref().is_some_and(|record| record.id != *first))
            },
        ));
        properties.push(Property::sometimes("a message finds another task", |_, state: &State| {
            at(state, |stage| stage == Stage::Done(Why::Gone))
        }));
    }
    properties.push(Property::sometimes("a dead letter ends its task", |_, state: &State| {
        state.messages.iter().any(|message| message.dead)
            && at(state, |stage| stage == Stage::Done(Why::Buried))
    }));
    properties
}

fn losses() -> Vec<Property<Config>> {
    vec![
        Property::sometimes("a task that lost its worker runs alone to its success", |_, state: &State| {
            let record = state.item.0.as_ref();
            record.is_some_and(|record| {
                state.past.killed.contains(record.id) && record.status == Status::Success
            })
        }),
        Property::sometimes("a task that lost its worker is put off", |_, state: &State| {
            let record = state.item.0.as_ref();
            record.is_some_and(|record| record.worker_lost)
                && state.is(Status::Pending)
                && at(state, |stage| stage == Stage::Back(PAUSE))
        }),
    ]
}

fn lacks(state: &State, breach: Breach) -> bool {
    state.past.breach != Some(breach)
}

fn at(state: &State, stage: impl Fn(Stage) -> bool) -> bool {
    state.runners.iter().flatten().any(|hand| stage(hand.stage))
}

/// Ids of tasks answered 200 that have not ended.
fn is_owed(state: &State) -> bool {
    let ended = state.past.ends.iter().filter(|(id, _)| state.past.accepted.contains(*id)).count();
    u32::try_from(ended) != Ok(state.past.accepted.len())
}

/// There is a message, or a runner that has not left, or a request about to send.
/// A runner can crash in every state, so the message is there in all of them.
fn is_on_its_way(_: &Config, state: &State) -> bool {
    if !is_owed(state) || state.past.breach.is_some() {
        return true;
    }
    let Some(id) = state.item.0.as_ref().map(|record| record.id) else { return false };
    let accepted = state.past.accepted.contains(id) && state.is_open(id);
    let in_hand =
        state.runners.iter().flatten().any(|hand| {
            hand.id == id && !matches!(hand.stage, Stage::Void | Stage::Done(_) | Stage::Back(_))
        });
    let to_send =
        state.requests.iter().any(|request| matches!(request, Request::Send { id: sent, .. } if *sent == id));
    accepted && (in_hand || to_send || state.messages.iter().any(|message| message.id == id))
}

/// Where nothing goes on by itself, nothing is owed. No history is endless (every
/// step lowers [`State::measure`]), so every one comes to such a state.
fn ends(config: &Config, state: &State) -> bool {
    let is_busy = !state.requests.is_empty() || state.runners.iter().any(Option::is_some);
    if is_busy || state.past.breach.is_some() || !is_owed(state) {
        return true;
    }
    let mut actions = Vec::new();
    config.actions(state, &mut actions);
    actions.iter().any(|action| !action.is_optional())
}

fn ended_once(_: &Config, state: &State) -> bool {
    let Some(record) = &state.item.0 else { return true };
    let first = state.past.ends.iter().find(|(id, _)| *id == record.id).map(|(_, ending)| *ending);
    lacks(state, Breach::EndedTwice)
        && (state.past.breach.is_some() || record.ending == first)
        && record.status.has_ended() == record.ending.is_some()
}

fn one_runner(_: &Config, state: &State) -> bool {
    let at_work = |stage| matches!(stage, Stage::Working { .. });
    let hands = || state.runners.iter().flatten().filter(|hand| hand.life > 0 && at_work(hand.stage));
    hands().all(|hand| hands().filter(|other| other.id == hand.id).count() == 1)
}
