//! The steps of a runner with its message: the calls of `runner::task`, in their order.

use domain::{ClaimRefusal, IDEMPOTENCY_WINDOW, Isolation, Moment, TaskId};

use crate::config::{Config, Rule};
use crate::record::{Claim, Ending, Write};
use crate::state::{Breach, Hand, PAUSE, Plan, SLACK, Stage, State, Why, in_ticks, ticks};

impl Config {
    pub(crate) fn claim(
        &self,
        state: &mut State,
        runner: usize,
        ahead: bool,
        isolation: Isolation,
    ) {
        let Some(hand) = hand(state, runner) else {
            return;
        };
        let now = clock(state, ahead);
        let lease_until = now.plus(ticks(self.lease(hand.life)));
        let seen = if self.holds(Rule::LeaseCheck) {
            now
        } else {
            now.plus(IDEMPOTENCY_WINDOW)
        };
        let required_id = self.required_id(state, hand.id);
        let demanded = if self.holds(Rule::LostRunsAlone) {
            isolation
        } else {
            Isolation::Alone
        };
        let stage = match state.item.claim(
            required_id,
            seen,
            lease_until,
            self.bounds.attempts,
            demanded,
        ) {
            Claim::Granted { attempt, run } => {
                if isolation == Isolation::Shared && state.past.killed.contains(required_id) {
                    state.past.record_breach(Breach::LostNotAlone);
                }
                Stage::Working {
                    attempt,
                    plan: run.map_or(Plan::Open, Plan::Stored),
                }
            }
            Claim::Refused(ClaimRefusal::MustRunAlone) => Stage::WaitingToBeAlone,
            Claim::Refused(ClaimRefusal::Exhausted) => Stage::EndingAbandoned,
            Claim::Refused(refusal) => refused(refusal, now),
        };
        give(
            state,
            runner,
            Some(Hand {
                id: required_id,
                stage,
                ..hand
            }),
        );
    }

    /// The task waits without a claim, and its message becomes visible again.
    pub(crate) fn postpone(&self, state: &mut State, runner: usize, ahead: bool) {
        let Some(hand) = hand(state, runner) else {
            return;
        };
        let now = clock(state, ahead);
        let required_id = self.required_id(state, hand.id);
        let stage = match state.item.wait_to_run_alone(required_id, now) {
            None => Stage::Back(PAUSE),
            Some(refusal) => refused(refusal, now),
        };
        self.forget_loss(state);
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    /// [`Rule::LossIsRecorded`] is left out.
    pub(crate) fn forget_loss(&self, state: &mut State) {
        if let Some(record) = state.item.0.as_mut()
            && !self.holds(Rule::LossIsRecorded)
        {
            record.worker_lost = false;
        }
    }

    pub(crate) fn finish(&self, state: &mut State, runner: usize, success: bool) {
        let Some(
            hand @ Hand {
                stage: Stage::Working { attempt, .. },
                ..
            },
        ) = hand(state, runner)
        else {
            return;
        };
        let ending = if success {
            Ending::Success
        } else {
            Ending::Failure
        };
        let latest = state
            .item
            .0
            .as_ref()
            .map(|record| (record.id, record.attempt));
        let required_attempt = self.required_attempt(state, attempt);
        let required_id = self.required_id(state, hand.id);
        let stage = match state.item.finish(required_id, required_attempt, ending) {
            Write::Recorded => Stage::Done(Why::Recorded),
            Write::Fenced => Stage::Void,
        };
        match stage {
            Stage::Void if hand.life > 0 => state.past.record_breach(Breach::VoidInTime),
            Stage::Void => {}
            _ if latest != Some((hand.id, attempt)) => state.past.record_breach(Breach::LateWrite),
            _ => state.past.record_end(hand.id, ending),
        }
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    pub(crate) fn decide(state: &mut State, runner: usize) {
        let Some(
            hand @ Hand {
                stage: Stage::Working { attempt, .. },
                ..
            },
        ) = hand(state, runner)
        else {
            return;
        };
        let decision = state.remaining.turns;
        state.remaining.turns -= 1;
        let stage = Stage::Working {
            attempt,
            plan: Plan::Decided(decision),
        };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    pub(crate) fn store_decision(&self, state: &mut State, runner: usize) {
        let Some(
            hand @ Hand {
                stage:
                    Stage::Working {
                        attempt,
                        plan: Plan::Decided(run),
                    },
                ..
            },
        ) = hand(state, runner)
        else {
            return;
        };
        let latest = state
            .item
            .0
            .as_ref()
            .map(|record| (record.id, record.attempt));
        let (required_attempt, required_id) = (
            self.required_attempt(state, attempt),
            self.required_id(state, hand.id),
        );
        let stage = match state.item.checkpoint(required_id, required_attempt, run) {
            Write::Recorded => Stage::Working {
                attempt,
                plan: Plan::Stored(run),
            },
            Write::Fenced => Stage::Void,
        };
        match stage {
            Stage::Void if hand.life > 0 => state.past.record_breach(Breach::VoidInTime),
            Stage::Void => {}
            _ if latest != Some((hand.id, attempt)) => state.past.record_breach(Breach::LateWrite),
            _ => {}
        }
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    pub(crate) fn call_tools(state: &mut State, runner: usize) {
        let Some(
            hand @ Hand {
                stage: Stage::Working { attempt, plan },
                ..
            },
        ) = hand(state, runner)
        else {
            return;
        };
        let (Plan::Decided(run) | Plan::Stored(run)) = plan else {
            return;
        };
        match state.past.calls.iter().find(|(id, _)| *id == hand.id) {
            None => state.past.calls.push((hand.id, run)),
            Some((_, made)) if *made == run => state.past.same_calls = true,
            Some(_) => state.past.record_breach(Breach::OtherCalls),
        }
        let stage = Stage::Working {
            attempt,
            plan: Plan::Called,
        };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    pub(crate) fn release(&self, state: &mut State, runner: usize, pause: u8) {
        let Some(
            hand @ Hand {
                stage: Stage::Working { attempt, plan },
                ..
            },
        ) = hand(state, runner)
        else {
            return;
        };
        let latest = state
            .item
            .0
            .as_ref()
            .map(|record| (record.id, record.attempt));
        let (required_attempt, required_id) = (
            self.required_attempt(state, attempt),
            self.required_id(state, hand.id),
        );
        let until = state.now.plus(ticks(pause));
        let run = match plan {
            Plan::Decided(run) if pause > 0 => Some(run),
            _ => None,
        };
        let write = state
            .item
            .release(required_id, required_attempt, until, run);
        if write == Write::Recorded && latest != Some((hand.id, attempt)) {
            state.past.record_breach(Breach::LateWrite);
        }
        if pause == 0 {
            state.past.lost.insert(hand.id);
        }
        give(
            state,
            runner,
            Some(Hand {
                stage: Stage::Back(PAUSE),
                ..hand
            }),
        );
    }

    pub(crate) fn end_abandoned(&self, state: &mut State, runner: usize, ahead: bool) {
        let Some(hand) = hand(state, runner) else {
            return;
        };
        let now = clock(state, ahead);
        let seen = if self.holds(Rule::LeaseBeforeLost) {
            now
        } else {
            now.plus(IDEMPOTENCY_WINDOW)
        };
        let required_id = self.required_id(state, hand.id);
        let stage = match state.item.end_abandoned(required_id, seen) {
            Some(refusal) => refused(refusal, now),
            None => {
                if !state.past.lost.contains(required_id) {
                    state.past.record_breach(Breach::LostForNothing);
                }
                state.past.record_end(required_id, Ending::WorkerLost);
                Stage::Done(Why::EndedAbandoned)
            }
        };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    /// The ticks of a new lease. The lease of a late runner has ended already.
    fn lease(&self, life: u8) -> u8 {
        if life > 0 && self.holds(Rule::LongLease) {
            life + SLACK
        } else {
            life
        }
    }

    /// The id that a write requires.
    fn required_id(&self, state: &State, id: TaskId) -> TaskId {
        match &state.item.0 {
            Some(record) if !self.holds(Rule::WholeId) => record.id,
            _ => id,
        }
    }

    /// The attempt that a write requires.
    fn required_attempt(&self, state: &State, attempt: u32) -> u32 {
        match &state.item.0 {
            Some(record) if !self.holds(Rule::Fencing) => record.attempt,
            _ => attempt,
        }
    }
}

/// The next step of `runner::task` after a refusal.
fn refused(refusal: ClaimRefusal, now: Moment) -> Stage {
    match refusal {
        ClaimRefusal::Gone => Stage::Done(Why::Gone),
        ClaimRefusal::Ended => Stage::Done(Why::Ended),
        ClaimRefusal::Held { until } => Stage::Back(in_ticks(until.since(now))),
        ClaimRefusal::MustRunAlone | ClaimRefusal::Exhausted => Stage::Back(1),
    }
}

fn clock(state: &State, ahead: bool) -> Moment {
    state.now.plus(ticks(ahead.into()))
}

pub(crate) fn hand(state: &State, runner: usize) -> Option<Hand> {
    state.runners.get(runner).copied().flatten()
}

pub(crate) fn give(state: &mut State, runner: usize, hand: Option<Hand>) {
    if let Some(place) = state.runners.get_mut(runner) {
        *place = hand;
    }
}
