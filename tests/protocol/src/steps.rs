//! The effect of each action. The effects on the queue, and of time, crashes and restarts, are
//! here, as in `runner::batch` and `local::serve::recovery`.

use domain::{IDEMPOTENCY_WINDOW, Isolation};

use crate::config::{Config, Rule, Scenario};
use crate::model::Action;
use crate::runners::{give, hand};
use crate::state::{Hand, LIFE, PAUSE, Stage, State, VISIBILITY, ticks};

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
            Action::ClaimAlone { runner, ahead } => {
                self.claim(state, runner, ahead, Isolation::Alone)
            }
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
        let Some(received) = state.messages.get_mut(message) else {
            return;
        };
        received.receives += 1;
        received.hidden = VISIBILITY;
        received.holder = Some(runner);
        let stage = if received.dead {
            Stage::EndingAbandoned
        } else {
            Stage::Claiming
        };
        let hand = Hand {
            id: received.id,
            life: LIFE,
            stage,
        };
        if !self.holds(Rule::DeleteLast) {
            state.messages.remove(message);
        }
        give(state, runner, Some(hand));
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
            None => state
                .messages
                .retain(|message| message.holder != Some(runner)),
        }
        drop_hand(state, runner);
    }

    /// Time passes. Messages become visible, leases end, runners reach their deadline.
    fn pass(&self, state: &mut State, count: u8) {
        let now = state.now;
        if let Some(until) = state
            .item
            .0
            .as_mut()
            .and_then(|record| record.lease_until.as_mut())
        {
            *until = until.minus(ticks(count)).max(now);
        }
        for message in &mut state.messages {
            message.hidden = message.hidden.saturating_sub(count);
        }
        for runner in 0..state.runners.len() {
            let Some(hand) = hand(state, runner) else {
                continue;
            };
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
        let Some(id) = state
            .item
            .0
            .as_ref()
            .map(|record| record.id)
            .filter(|id| state.is_open(*id))
        else {
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
    if let Some(Hand {
        id,
        stage: Stage::Working { .. },
        ..
    }) = hand(state, runner)
    {
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
