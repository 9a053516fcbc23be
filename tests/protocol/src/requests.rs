//! The steps of a trigger request, as in `api::webhook`.

use domain::{Status, TaskId};

use crate::config::{Config, Rule};
use crate::record::{Admission, Item};
use crate::state::{Breach, Request, State};

impl Config {
    pub(crate) fn trigger(&self, state: &mut State) {
        let id = state.offered(&self.bounds);
        state.remaining.triggers -= 1;
        if self.holds(Rule::PutFirst) {
            self.put(state, id);
        } else {
            state.send(id);
            state.requests.push(Request::Put { id });
        }
    }

    fn put(&self, state: &mut State, offered: TaskId) {
        if !self.holds(Rule::ConditionalPut) {
            state.item = Item::default();
        }
        let (id, status, repeat) = match state.item.admit(offered) {
            Admission::Created => (offered, Status::Pending, false),
            Admission::Repeated { id, status } => (id, status, true),
        };
        if *state.past.promised.get_or_insert(id) != id {
            state.past.breach = Some(Breach::TwoIds);
        }
        let to_send = self.holds(Rule::PutFirst) && sends(self, status, repeat);
        if to_send {
            state.requests.push(Request::Send { id, repeat });
        }
        if !to_send || !self.holds(Rule::AnswerLast) {
            state.past.accepted.insert(id);
        }
    }

    pub(crate) fn proceed(&self, state: &mut State, request: usize, answered: bool) {
        match state.requests.remove(request) {
            Request::Put { id } => self.put(state, id),
            Request::Send { id, .. } => {
                state.send(id);
                if answered {
                    state.past.accepted.insert(id);
                }
            }
        }
    }
}

/// Whether a request that finds this status sends the task's id.
fn sends(config: &Config, status: Status, repeat: bool) -> bool {
    status == Status::Pending && (!repeat || config.holds(Rule::Resend))
}
