//! The budget of a run: its turns, tokens and the bytes of its messages.

use super::verdict::{conversation_too_long, out_of_tokens, out_of_turns};
use super::{ChatMessage, ModelReply, Run};
use crate::{Failure, Limits};

/// Bytes of all messages of a run. A run must fit in its record, and ten times in memory.
const MAX_TALK_BYTES: usize = 4 * 1024 * 1024;

impl Run {
    /// The maximum number of output tokens of the next turn.
    pub fn output_allowance(&self, limits: &Limits) -> u32 {
        let left = limits.max_total_tokens.saturating_sub(self.tokens());
        limits
            .max_output_tokens
            .min(u32::try_from(left).unwrap_or(u32::MAX))
            .max(1)
    }

    /// Counts the turn and the tokens of a reply.
    pub(super) fn count(&mut self, reply: &ModelReply) {
        let usage = self.usage.get_or_insert_default();
        usage.model.clone_from(&reply.model);
        usage.turns += 1;
        usage.input_tokens = usage.input_tokens.saturating_add(reply.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(reply.output_tokens);
    }

    /// Why the model cannot be called again.
    pub(super) fn out_of_budget(&self, limits: &Limits) -> Option<Failure> {
        if self.turns() >= limits.max_turns {
            Some(out_of_turns(limits))
        } else if self.tokens() >= limits.max_total_tokens {
            Some(out_of_tokens(limits))
        } else {
            self.is_talk_too_long().then(conversation_too_long)
        }
    }

    pub(super) fn is_talk_too_long(&self) -> bool {
        self.talk_bytes() > MAX_TALK_BYTES
    }

    pub(super) fn turns(&self) -> u32 {
        self.usage.as_ref().map_or(0, |usage| usage.turns)
    }

    fn tokens(&self) -> u64 {
        self.usage.as_ref().map_or(0, |usage| {
            usage.input_tokens.saturating_add(usage.output_tokens)
        })
    }

    fn talk_bytes(&self) -> usize {
        self.thought.len() + self.talk.iter().map(ChatMessage::bytes).sum::<usize>()
    }
}
