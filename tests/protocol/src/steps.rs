//! The effect of each action: the calls of `runner::task`, `runner::batch` and
//! `local::serve::recovery`, in their order.

use domain::{ClaimRefusal, IDEMPOTENCY_WINDOW, Isolation, Moment, TaskId};

use crate::config::{Config, Rule, Scenario};
use crate::model::Action;
use crate::record::{Claim, Ending, Write};
use crate::state::{Breach, Hand, LIFE, PAUSE, Plan, SLACK, Stage, State, VISIBILITY, Why, in_ticks, ticks};

impl Config {
    pub(crate) fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Trigger => self.trigger(state),
            Action::Proceed { request, answered } => self.proceed(state, request, answered),
            Action::GiveUp { request } => {
                state.requests.remove(request);
            }
            Action::Duplicate { message } => duplicate(state, message),
            Action::DeadLetter { message } => dead_letter(state, message),
            Action::Receive { message, runner } => self.receive(state, message, runner),
            Action::Claim { runner, ahead } => self.claim(state, runner, ahead, Isolation::Shared),
            Action::ClaimAlone { runner, ahead } => self.claim(state, runner, ahead, Isolation::Alone),
            Action::Postpone { runner, ahead } => self.postpone(state, runner, ahead),
            Action::Finish { runner, success } => self.finish(state, runner, success),
            Action::Decide { runner } => Self::decide(state, runner),
            Action::StoreDecision { runner } => self.store_decision(state, runner),
            Action::CallTools { runner } => Self::call_tools(state, runner),
            Action::Release { runner } => self.release(state, runner, PAUSE),
            Action::ReleaseUnread { runner } => self.release(state, runner, 0),
            Action::EndAbandoned { runner, ahead } => self.end_abandoned(state, runner, ahead),
            Action::Leave { runner } => self.leave(state, runner),
            Action::Crash { runner } => self.crash(state, runner),
            Action::Tick => self.pass(state, 1),
            Action::Day => self.day(state),
            Action::Restart { clean } => self.restart(state, clean),
        }
    }

    fn receive(&self, state: &mut State, message: usize, runner: usize) {
        let Some(received) = state.messages.get_mut(message) else { return };
        received.receives += 1;
        received.hidden = VISIBILITY;
        received.holder = Some(runner);
        let stage = if received.dead { Stage::EndingAbandoned } else { Stage::Claiming };
        let hand = Hand { id: received.id, life: LIFE, stage };
        if !self.holds(Rule::DeleteLast) {
            state.messages.remove(message);
        }
        give(state, runner, Some(hand));
    }

    fn claim(&self, state: &mut State, runner: usize, ahead: bool, isolation: Isolation) {
        let Some(hand) = hand(state, runner) else { return };
        let now = clock(state, ahead);
        let lease_until = now.plus(ticks(self.lease(hand.life)));
        let seen = if self.holds(Rule::LeaseCheck) { now } else { now.plus(IDEMPOTENCY_WINDOW) };
        let required_id = self.required_id(state, hand.id);
        let demanded = if self.holds(Rule::LostRunsAlone) { isolation } else { Isolation::Alone };
        let stage = match state.item.claim(required_id, seen, lease_until, self.bounds.attempts, demanded) {
            Claim::Granted { attempt, run } => {
                if isolation == Isolation::Shared && state.past.killed.contains(required_id) {
                    breach(state, Breach::LostNotAlone);
                }
                Stage::Working { attempt, plan: run.map_or(Plan::Open, Plan::Stored) }
            }
            Claim::Refused(ClaimRefusal::MustRunAlone) => Stage::WaitingToBeAlone,
            Claim::Refused(ClaimRefusal::Exhausted) => Stage::EndingAbandoned,
            Claim::Refused(refusal) => refused(refusal, now),
        };
        give(state, runner, Some(Hand { id: required_id, stage, ..hand }));
    }

    /// The task waits without a claim, and its message becomes visible again.
    fn postpone(&self, state: &mut State, runner: usize, ahead: bool) {
        let Some(hand) = hand(state, runner) else { return };
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
    fn forget_loss(&self, state: &mut State) {
        if let Some(record) = state.item.0.as_mut()
            && !self.holds(Rule::LossIsRecorded)
        {
            record.worker_lost = false;
        }
    }

    fn finish(&self, state: &mut State, runner: usize, success: bool) {
        let Some(hand @ Hand { stage: Stage::Working { attempt, .. }, .. }) = hand(state, runner) else {
            return;
        };
        let ending = if success { Ending::Success } else { Ending::Failure };
        let latest = state.item.0.as_ref().map(|record| (record.id, record.attempt));
        let required_attempt = self.required_attempt(state, attempt);
        let required_id = self.required_id(state, hand.id);
        let stage = match state.item.finish(required_id, required_attempt, ending) {
            Write::Recorded => Stage::Done(Why::Recorded),
            Write::Fenced => Stage::Void,
        };
        match stage {
            Stage::Void if hand.life > 0 => breach(state, Breach::VoidInTime),
            Stage::Void => {}
            _ if latest != Some((hand.id, attempt)) => breach(state, Breach::LateWrite),
            _ => ended(state, hand.id, ending),
        }
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    fn decide(state: &mut State, runner: usize) {
        let Some(hand @ Hand { stage: Stage::Working { attempt, .. }, .. }) = hand(state, runner) else {
            return;
        };
        let decision = state.remaining.turns;
        state.remaining.turns -= 1;
        let stage = Stage::Working { attempt, plan: Plan::Decided(decision) };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    fn store_decision(&self, state: &mut State, runner: usize) {
        let Some(hand @ Hand { stage: Stage::Working { attempt, plan: Plan::Decided(run) }, .. }) =
            hand(state, runner)
        else {
            return;
        };
        let latest = state.item.0.as_ref().map(|record| (record.id, record.attempt));
        let (required_attempt, required_id) =
            (self.required_attempt(state, attempt), self.required_id(state, hand.id));
        let stage = match state.item.checkpoint(required_id, required_attempt, run) {
            Write::Recorded => Stage::Working { attempt, plan: Plan::Stored(run) },
            Write::Fenced => Stage::Void,
        };
        match stage {
            Stage::Void if hand.life > 0 => breach(state, Breach::VoidInTime),
            Stage::Void => {}
            _ if latest != Some((hand.id, attempt)) => breach(state, Breach::LateWrite),
            _ => {}
        }
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    fn call_tools(state: &mut State, runner: usize) {
        let Some(hand @ Hand { stage: Stage::Working { attempt, plan }, .. }) = hand(state, runner) else {
            return;
        };
        let (Plan::Decided(run) | Plan::Stored(run)) = plan else { return };
        match state.past.calls.iter().find(|(id, _)| *id == hand.id) {
            None => state.past.calls.push((hand.id, run)),
            Some((_, made)) if *made == run => state.past.same_calls = true,
            Some(_) => breach(state, Breach::OtherCalls),
        }
        let stage = Stage::Working { attempt, plan: Plan::Called };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    fn release(&self, state: &mut State, runner: usize, pause: u8) {
        let Some(hand @ Hand { stage: Stage::Working { attempt, plan }, .. }) = hand(state, runner) else {
            return;
        };
        let latest = state.item.0.as_ref().map(|record| (record.id, record.attempt));
        let (required_attempt, required_id) =
            (self.required_attempt(state, attempt), self.required_id(state, hand.id));
        let until = state.now.plus(ticks(pause));
        let run = match plan {
            Plan::Decided(run) if pause > 0 => Some(run),
            _ => None,
        };
        let write = state.item.release(required_id, required_attempt, until, run);
        if write == Write::Recorded && latest != Some((hand.id, attempt)) {
            breach(state, Breach::LateWrite);
        }
        if pause == 0 {
            state.past.lost.insert(hand.id);
        }
        give(state, runner, Some(Hand { stage: Stage::Back(PAUSE), ..hand }));
    }

    fn end_abandoned(&self, state: &mut State, runner: usize, ahead: bool) {
        let Some(hand) = hand(state, runner) else { return };
        let now = clock(state, ahead);
        let seen = if self.holds(Rule::LeaseBeforeLost) { now } else { now.plus(IDEMPOTENCY_WINDOW) };
        let required_id = self.required_id(state, hand.id);
        let stage = match state.item.end_abandoned(required_id, seen) {
            Some(refusal) => refused(refusal, now),
            None => {
                if !state.past.lost.contains(required_id) {
                    breach(state, Breach::LostForNothing);
                }
                ended(state, required_id, Ending::WorkerLost);
                Stage::Done(Why::EndedAbandoned)
            }
        };
        give(state, runner, Some(Hand { stage, ..hand }));
    }

    /// Only the latest receipt of a message can delete or hide it.
    fn leave(&self, state: &mut State, runner: usize) {
        let pause = match hand(state, runner).map(|hand| hand.stage) {
            Some(Stage::Back(pause)) => Some(pause),
            Some(Stage::Void) if self.holds(Rule::VoidComesBack) => Some(1),
            _ => None,
        };
        match pause {
            Some(pause) => {
                if let Some(message) = state.held_by(runner) {
                    message.hidden = pause;
                }
            }
            None => state.messages.retain(|message| message.holder != Some(runner)),
        }
        drop_hand(state, runner);
    }

    /// Time passes. Messages become visible, leases end, runners reach their deadline.
    fn pass(&self, state: &mut State, count: u8) {
        let now = state.now;
        if let Some(until) = state.item.0.as_mut().and_then(|record| record.lease_until.as_mut()) {
            *until = until.minus(ticks(count)).max(now);
        }
        for message in &mut state.messages {
            message.hidden = message.hidden.saturating_sub(count);
        }
        for runner in 0..state.runners.len() {
            let Some(hand) = hand(state, runner) else { continue };
            let life = hand.life.saturating_sub(count);
            if life > 0 {
                give(state, runner, Some(Hand { life, ..hand }));
            } else if self.scenario == Scenario::LateRunners {
                state.past.lost.insert(hand.id);
                give(state, runner, Some(Hand { life, ..hand }));
            } else {
                self.crash(state, runner);
            }
        }
    }

    /// On AWS, the process dies. The local server continues, and only this runner is lost.
    fn crash(&self, state: &mut State, runner: usize) {
        if self.scenario != Scenario::OneMachine {
            kill(state, runner);
        }
        lose(state, runner);
    }

    /// The key is free again, and all leases and visibility timeouts have ended.
    fn day(&self, state: &mut State) {
        state.remaining.days -= 1;
        state.past.promised = None;
        self.pass(state, u8::MAX);
        state.now = state.now.plus(IDEMPOTENCY_WINDOW);
        self.pass(state, 0);
    }

    fn restart(&self, state: &mut State, clean: bool) {
        state.remaining.restarts -= 1;
        for runner in 0..state.runners.len() {
            if !clean {
                kill(state, runner);
            }
            lose(state, runner);
        }
        state.requests.clear();
        state.messages.clear();
        let Some(id) = state.item.0.as_ref().map(|record| record.id).filter(|id| state.is_open(*id)) else {
            return;
        };
        if clean {
            state.item.give_back(id);
        }
        if self.holds(Rule::Recovery) {
            state.item.break_lease(id);
            self.forget_loss(state);
            state.send(id);
        }
    }

    /// The ticks of a new lease. The lease of a late runner has ended already.
    fn lease(&self, life: u8) -> u8 {
        if life > 0 && self.holds(Rule::LongLease) { life + SLACK } else { life }
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

fn duplicate(state: &mut State, message: usize) {
    state.remaining.duplicates -= 1;
    if let Some(mut copy) = state.messages.get(message).copied() {
        copy.hidden = 0;
        copy.holder = None;
        state.messages.push(copy);
    }
}

fn dead_letter(state: &mut State, message: usize) {
    if let Some(letter) = state.messages.get_mut(message) {
        letter.dead = true;
        letter.receives = 0;
        letter.holder = None;
    }
}

/// The runner's process dies during a run.
fn kill(state: &mut State, runner: usize) {
    if let Some(Hand { id, stage: Stage::Working { .. }, .. }) = hand(state, runner) {
        state.past.killed.insert(id);
    }
}

fn lose(state: &mut State, runner: usize) {
    if let Some(hand) = hand(state, runner) {
        state.past.lost.insert(hand.id);
    }
    drop_hand(state, runner);
}

fn drop_hand(state: &mut State, runner: usize) {
    if let Some(message) = state.held_by(runner) {
        message.holder = None;
    }
    give(state, runner, None);
}

fn ended(state: &mut State, id: TaskId, ending: Ending) {
    if state.past.ends.iter().any(|(ended, _)| *ended == id) {
        breach(state, Breach::EndedTwice);
    } else {
        state.past.ends.push((id, ending));
    }
}

/// Stores only the first breach.
fn breach(state: &mut State, breach: Breach) {
    state.past.breach.get_or_insert(breach);
}

fn clock(state: &State, ahead: bool) -> Moment {
    state.now.plus(ticks(ahead.into()))
}

fn hand(state: &State, runner: usize) -> Option<Hand> {
    state.runners.get(runner).copied().flatten()
}

fn give(state: &mut State, runner: usize, hand: Option<Hand>) {
    if let Some(place) = state.runners.get_mut(runner) {
        *place = hand;
    }
}
