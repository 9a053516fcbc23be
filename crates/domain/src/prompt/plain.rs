//! Detects plain templates. Their cost grows with the sum of their own length and the payload's,
//! never with the product.
//!
//! A plain template has text, paths such as `payload.order.lines[0].name`, `if` without
//! parentheses around conditions, comparisons with constants, and a few filters. Loops, macros,
//! operators and all other filters can multiply a payload.

use minijinja::machinery::{Token, tokenize};

/// Tokens of one tag.
const MAX_TAG_TOKENS: usize = 64;
/// Path steps in one tag. Each step may parse one level of the payload.
const MAX_PATH_STEPS: usize = 16;
/// Operations that read a whole string of the payload. `text[3]` and `text|length` count its
/// characters.
const MAX_LINEAR_OPERATIONS: usize = 16;

/// Tests that depend only on the type of a value.
const TESTS: [&str; 11] = [
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "boolean",
    "true",
    "false",
    "mapping",
    "sequence",
    "integer",
];

/// Whether `template` is plain. A template with syntax errors is not.
pub(super) fn is_plain(template: &str) -> bool {
    let (mut tag, mut is_open): (Vec<Token<'_>>, _) = (Vec::new(), false);
    let mut linear = 0;
    for token in tokenize(template, false, Default::default()) {
        let Ok((token, _)) = token else { return false };
        is_open = !matches!(
            token,
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd
        );
        let is_plain_tag = match token {
            Token::TemplateData(_) => true,
            Token::VariableStart | Token::BlockStart => {
                tag.clear();
                true
            }
            Token::VariableEnd => is_plain_expression(&tag, &mut linear),
            Token::BlockEnd => match tag.as_slice() {
                [Token::Ident("else" | "endif")] => true,
                [Token::Ident("if" | "elif"), condition @ ..] => {
                    is_plain_expression(condition, &mut linear)
                }
                _ => false,
            },
            token => {
                tag.push(token);
                tag.len() <= MAX_TAG_TOKENS
            }
        };
        if !is_plain_tag {
            return false;
        }
    }
    !is_open && linear <= MAX_LINEAR_OPERATIONS
}

fn is_plain_expression(tokens: &[Token<'_>], linear: &mut usize) -> bool {
    let (mut rest, mut steps) = (tokens, 0);
    while let [first, after @ ..] = rest {
        let length = match first {
            Token::Ident("is") => test_length(after),
            Token::Ident("in") => None,
            Token::Ident(_)
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Float(_) => Some(0),
            Token::Dot => {
                steps += 1;
                matches!(after, [Token::Ident(_), ..]).then_some(1)
            }
            Token::BracketOpen => {
                steps += 1;
                *linear += usize::from(matches!(after, [Token::Int(_), ..]));
                matches!(
                    after,
                    [Token::Str(_) | Token::Int(_), Token::BracketClose, ..]
                )
                .then_some(2)
            }
            Token::Pipe => filter_length(after, linear),
            Token::Eq | Token::Ne | Token::Lt | Token::Lte | Token::Gt | Token::Gte => {
                let is_constant = matches!(after, [constant, ..] if is_constant(constant));
                // The constant must not be the start of a path.
                (is_constant
                    && !matches!(
                        after,
                        [_, Token::Dot | Token::BracketOpen | Token::Pipe, ..]
                    ))
                .then_some(1)
            }
            _ => None,
        };
        let Some(length) = length else { return false };
        rest = after.get(length..).unwrap_or_default();
    }
    steps <= MAX_PATH_STEPS
}

/// The number of tokens of a plain test after `is`.
fn test_length(after: &[Token<'_>]) -> Option<usize> {
    match after {
        [Token::Ident("not"), Token::Ident(test), ..] if TESTS.contains(test) => Some(2),
        [Token::Ident(test), ..] if TESTS.contains(test) => Some(1),
        _ => None,
    }
}

/// The number of tokens of a plain filter after `|`.
fn filter_length(after: &[Token<'_>], linear: &mut usize) -> Option<usize> {
    let (filter, arguments) = match after {
        [Token::Ident(filter), arguments @ ..] => (*filter, arguments),
        _ => return None,
    };
    match (filter, arguments) {
        ("default" | "d", [Token::ParenOpen, value, Token::ParenClose, ..])
            if is_constant(value) =>
        {
            Some(4)
        }
        (
            "default" | "d",
            [
                Token::ParenOpen,
                value,
                Token::Comma,
                Token::Ident("true" | "True"),
                Token::ParenClose,
                ..,
            ],
        ) if is_constant(value) => Some(6),
        (_, [Token::ParenOpen, ..]) => None,
        ("tojson" | "default" | "d", _) => Some(1),
        ("length" | "count", _) => {
            *linear += 1;
            Some(1)
        }
        _ => None,
    }
}

const fn is_constant(token: &Token<'_>) -> bool {
    matches!(token, Token::Str(_) | Token::Int(_) | Token::Float(_))
        || matches!(token, Token::Ident(name) if is_constant_name(name))
}

const fn is_constant_name(name: &str) -> bool {
    matches!(
        name.as_bytes(),
        b"true" | b"false" | b"none" | b"True" | b"False" | b"None"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prompts_are_plain() {
        for template in [
            "",
            "Answer briefly.",
            "Order {{ payload.order.id | default('?') }}: {% if payload.note %}{{ payload.note }}{% endif %}",
            "{{ payload }} {{ payload|tojson }} {{ payload['a b'][0].c }} {{ now }}",
            "{% if payload.total > 100 and not payload.paid %}a{% elif payload.kind == 'x' %}b{% else %}c{% endif %}",
            "{{ payload.a if payload.a is not none else 'none' }} {{ payload.rows|length }}",
            "{# {% for x in payload %} #}{% raw %}{{ payload * 1000 }}{% endraw %}",
        ] {
            assert!(is_plain(template), "{template}");
        }
    }

    #[test]
    fn templates_that_can_multiply_a_payload_are_not_plain() {
        for template in [
            "{% for x in payload %}{% endfor %}",
            "{% set x = payload %}",
            "{% macro f() %}{% endmacro %}",
            "{% filter upper %}{{ payload }}{% endfilter %}",
            "{{ payload ~ payload }}",
            "{{ payload * 2 }}",
            "{{ payload + payload }}",
            "{{ -payload }}",
            "{{ 'x' in payload }}",
            "{{ payload == payload }}",
            "{{ payload.a == 1.b }}",
            "{{ payload | upper }}",
            "{{ payload | default(payload) }}",
            "{{ payload | tojson(2) }}",
            "{{ payload | first }}",
            "{{ payload[payload.a] }}",
            "{{ payload[1:] }}",
            "{{ payload.a() }}",
            "{{ range(10) }}",
            "{{ payload is sameas payload }}",
            "{{ (payload) }}",
            "{{ payload",
        ] {
            assert!(!is_plain(template), "{template}");
        }
        assert!(!is_plain(&format!("{{{{ payload{} }}}}", ".a".repeat(17))));
        assert!(!is_plain(&"{{ payload.text[0] }}".repeat(17)));
        assert!(!is_plain(&"{{ payload.text|length }}".repeat(17)));
    }
}
