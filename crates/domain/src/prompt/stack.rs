//! How much stack a template takes, and the most it may.
//!
//! The engine descends once for every link of `1+1+1…` and `a|b|c…`, for every
//! `elif`, and for every level of a value, which `{% set x = [x] %}` deepens.

use std::mem::take;

use minijinja::machinery::{Token, tokenize};

use super::PromptError;

/// What is taken for a token that may nest. Measured at most 1.1 KiB, and half of
/// that in a release build; a value's level, of several tokens, takes 1.8 KiB.
const PER_TOKEN: usize = 4 * 1024;
/// For what does not grow with the template: macros that call each other.
const AT_LEAST: usize = 2 * 1024 * 1024;
/// A function that renders has 256 MB.
const AT_MOST: usize = 64 * 1024 * 1024;

/// How deep loops and macros may enter each other.
pub(super) const RECURSION_LIMIT: usize = 100;
/// What the engine counts for a macro within a macro.
const MACRO_COST: usize = 4;

/// Runs what reads or renders `template`, with the stack that this takes.
pub(super) fn with_stack_for<R>(template: &str, run: impl FnOnce() -> R) -> Result<R, PromptError> {
    match needed(template) {
        stack if stack > AT_MOST => Err(PromptError::TooDeep),
        stack => Ok(stacker::grow(stack, run)),
    }
}

fn needed(template: &str) -> usize {
    AT_LEAST + Nesting::of(template).depth() * PER_TOKEN
}

/// What may nest in a template. A `{{ … }}` leaves nothing behind, so only the
/// longest counts; what a `{% … %}` says may nest in another.
#[derive(Default)]
struct Nesting {
    longest_expression: usize,
    statements: usize,
    /// What can make a value out of others: brackets and filters.
    makers: usize,
    /// How often a value may come by them again.
    rounds: usize,
}

impl Nesting {
    fn of(template: &str) -> Self {
        let mut nesting = Self::default();
        let mut tag = 0;
        // The engine reads no further than the first token that is none, either.
        for (token, _) in tokenize(template, false, Default::default()).map_while(Result::ok) {
            tag += 1;
            match token {
                Token::TemplateData(_) => tag = 0,
                Token::VariableEnd => {
                    nesting.longest_expression = nesting.longest_expression.max(take(&mut tag))
                }
                Token::BlockEnd => nesting.statements += take(&mut tag),
                Token::BracketOpen | Token::BraceOpen | Token::ParenOpen | Token::Pipe => nesting.makers += 1,
                Token::Ident("macro") => nesting.rounds = nesting.rounds.max(RECURSION_LIMIT / MACRO_COST),
                Token::Ident("recursive") => nesting.rounds = RECURSION_LIMIT,
                _ => {}
            }
        }
        // A tag without an end is read all the same.
        nesting.statements += tag;
        nesting
    }

    const fn depth(&self) -> usize {
        self.longest_expression + self.statements + self.makers * self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_long_prompt_of_text_and_ordinary_tags_takes_little_stack() {
        let part =
            "Order {{ payload.order.id | default('?') }}: {% if payload.note %}{{ payload.note }}{% endif %}";
        let text = "Answer in plain text, briefly and to the point. ".repeat(12);
        let prompt = format!("{text}{part}\n").repeat(64 * 1024 / (text.len() + part.len() + 1));
        assert!(prompt.len() > 63 * 1024);
        assert!(needed(&prompt) < 6 * MIB, "{} bytes", needed(&prompt));
        assert!(needed(&"x".repeat(64 * 1024)) <= AT_LEAST);
    }

    #[test]
    fn what_a_string_a_comment_or_a_raw_block_holds_does_not_nest() {
        let links = "+1".repeat(20_000);
        for template in [
            format!("{{{{ '{links} }}}}' }}}}"),
            format!("{{# {links} #}}"),
            format!("{{% raw %}}{{{{ {links} \" {{% endraw %}}"),
        ] {
            assert!(needed(&template) < 3 * MIB, "{template:.20}");
        }
        let after = format!("{{% raw %}}{{{{ \"{{% endraw %}}{{{{ 1{links} }}}}");
        assert!(matches!(with_stack_for(&after, || ()), Err(PromptError::TooDeep)));
    }

    #[test]
    fn a_tag_without_an_end_counts() {
        for start in ["{{ 1", "{% set x = 1"] {
            let template = start.to_owned() + &"+1".repeat(20_000);
            assert!(matches!(with_stack_for(&template, || ()), Err(PromptError::TooDeep)));
        }
    }
}
