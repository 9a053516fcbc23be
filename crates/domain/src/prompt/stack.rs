//! Estimates and limits the stack that a template needs.
//!
//! The engine recurses for every operator of `1+1+1…` and `a|b|c…`, for every `elif`, and for
//! every level of a value. `{% set x = [x] %}` adds such a level.

use std::mem::take;

use minijinja::machinery::{Token, tokenize};

use super::PromptError;

/// Estimated bytes per token that may nest. Measured: at most 1.1 KiB, and half of that in a
/// release build. A level of a value has several tokens and takes 1.8 KiB.
const BYTES_PER_TOKEN: usize = 4 * 1024;
/// For recursion that does not grow with the template: macros that call each other.
const MIN_STACK: usize = 2 * 1024 * 1024;
/// The Lambda function that renders has 256 MB of memory.
const MAX_STACK: usize = 64 * 1024 * 1024;

/// Nesting of loops and macros at run time.
pub(super) const RECURSION_LIMIT: usize = 100;
/// Levels that the engine counts for a macro called by a macro.
const MACRO_COST: usize = 4;

/// Runs a function that parses or renders `template`, with enough stack for it.
pub(super) fn with_stack_for<R>(template: &str, run: impl FnOnce() -> R) -> Result<R, PromptError> {
    match needed_stack(template) {
        stack if stack > MAX_STACK => Err(PromptError::TooDeep),
        stack => Ok(stacker::grow(stack, run)),
    }
}

fn needed_stack(template: &str) -> usize {
    MIN_STACK + Nesting::count(template).depth() * BYTES_PER_TOKEN
}

/// Counts of tokens that may nest. A `{{ … }}` tag has no effect on others, so only the longest
/// counts. A `{% … %}` tag may nest in another.
#[derive(Default)]
struct Nesting {
    longest_expression: usize,
    statements: usize,
    /// Tokens that create a value from others: brackets and filters.
    constructors: usize,
    /// How often a value may pass through them.
    iterations: usize,
}

impl Nesting {
    fn count(template: &str) -> Self {
        let mut nesting = Self::default();
        let mut tag = 0;
        // Like the engine, stop at the first invalid token.
        for (token, _) in tokenize(template, false, Default::default()).map_while(Result::ok) {
            tag += 1;
            match token {
                Token::TemplateData(_) => tag = 0,
                Token::VariableEnd => {
                    nesting.longest_expression = nesting.longest_expression.max(take(&mut tag))
                }
                Token::BlockEnd => nesting.statements += take(&mut tag),
                Token::BracketOpen | Token::BraceOpen | Token::ParenOpen | Token::Pipe => {
                    nesting.constructors += 1
                }
                Token::Ident("macro") => {
                    nesting.iterations = nesting.iterations.max(RECURSION_LIMIT / MACRO_COST)
                }
                Token::Ident("recursive") => nesting.iterations = RECURSION_LIMIT,
                _ => {}
            }
        }
        // An unclosed tag is parsed as well.
        nesting.statements += tag;
        nesting
    }

    const fn depth(&self) -> usize {
        self.longest_expression + self.statements + self.constructors * self.iterations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_long_prompt_of_text_and_common_tags_needs_little_stack() {
        let part = "Order {{ payload.order.id | default('?') }}: {% if payload.note %}{{ payload.note }}{% endif %}";
        let text = "Answer in plain text, briefly and to the point. ".repeat(12);
        let prompt = format!("{text}{part}\n").repeat(64 * 1024 / (text.len() + part.len() + 1));
        assert!(prompt.len() > 63 * 1024);
        assert!(
            needed_stack(&prompt) < 6 * MIB,
            "{} bytes",
            needed_stack(&prompt)
        );
        assert!(needed_stack(&"x".repeat(64 * 1024)) <= MIN_STACK);
    }

    #[test]
    fn the_content_of_strings_comments_and_raw_blocks_does_not_nest() {
        let links = "+1".repeat(20_000);
        for template in [
            format!("{{{{ '{links} }}}}' }}}}"),
            format!("{{# {links} #}}"),
            format!("{{% raw %}}{{{{ {links} \" {{% endraw %}}"),
        ] {
            assert!(needed_stack(&template) < 3 * MIB, "{template:.20}");
        }
        let after = format!("{{% raw %}}{{{{ \"{{% endraw %}}{{{{ 1{links} }}}}");
        assert!(matches!(
            with_stack_for(&after, || ()),
            Err(PromptError::TooDeep)
        ));
    }

    #[test]
    fn an_unclosed_tag_counts() {
        for start in ["{{ 1", "{% set x = 1"] {
            let template = start.to_owned() + &"+1".repeat(20_000);
            assert!(matches!(
                with_stack_for(&template, || ()),
                Err(PromptError::TooDeep)
            ));
        }
    }
}
