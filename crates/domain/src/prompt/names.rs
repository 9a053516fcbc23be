//! Detects unknown filters, tests and functions in a template.

use std::collections::HashSet;

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::{ErrorKind, context};

use super::{NAME, PromptError, environment};

/// Renders one small template for each filter, test and function in `template`, because only
/// the engine knows which exist.
pub(super) fn check(template: &str) -> Result<(), PromptError> {
    let tokens: Vec<_> = tokenize(template, false, Default::default())
        .map_while(Result::ok)
        .collect();
    let environment = environment();
    let mut checked = names_with_values(&tokens);
    for (probe, line) in probes(&tokens) {
        if !checked.insert(probe.clone()) {
            continue;
        }
        let template = "\n".repeat(line.saturating_sub(1)) + &probe.template();
        match environment
            .template_from_named_str(NAME, &template)
            .and_then(|it| it.render(context! {}))
        {
            Err(error) if is_unknown_name(error.kind()) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// A name in a template that may be unknown.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Probe<'a> {
    Filter(&'a str),
    Test(&'a str),
    Function(&'a str),
}

impl Probe<'_> {
    /// A template that fails immediately if the name is unknown.
    fn template(&self) -> String {
        match self {
            Self::Filter(name) => format!("{{{{ 0|{name} }}}}"),
            Self::Test(name) => format!("{{{{ 0 is {name} }}}}"),
            Self::Function(name) => format!("{{{{ {name}() }}}}"),
        }
    }
}

/// Keywords that a parenthesis may follow, and callables that macros and loops define.
const NOT_FUNCTIONS: [&str; 18] = [
    "and",
    "autoescape",
    "call",
    "caller",
    "do",
    "elif",
    "else",
    "filter",
    "for",
    "if",
    "in",
    "is",
    "loop",
    "macro",
    "not",
    "or",
    "set",
    "with",
];

/// The names in the template, with their lines.
fn probes<'a>(tokens: &'a [(Token<'a>, Span)]) -> impl Iterator<Item = (Probe<'a>, usize)> {
    let token = |at: usize| tokens.get(at).map(|(token, _)| token);
    tokens
        .iter()
        .enumerate()
        .filter_map(move |(at, (ident, span))| {
            let Token::Ident(name) = *ident else {
                return None;
            };
            let before = [
                at.checked_sub(2).and_then(token),
                at.checked_sub(1).and_then(token),
            ];
            let probe = match (before, token(at + 1)) {
                ([_, Some(Token::Ident("is"))], _) if name != "not" => Probe::Test(name),
                ([Some(Token::Ident("is")), Some(Token::Ident("not"))], _) => Probe::Test(name),
                (
                    [_, Some(Token::Pipe)]
                    | [Some(Token::BlockStart), Some(Token::Ident("filter"))],
                    _,
                ) => Probe::Filter(name),
                ([_, Some(Token::Dot)], _) => return None,
                (_, Some(Token::ParenOpen)) if !NOT_FUNCTIONS.contains(&name) => {
                    Probe::Function(name)
                }
                _ => return None,
            };
            Some((probe, usize::from(span.start_line)))
        })
}

/// Names that the template itself may define, according to its tokens: macros, and all names
/// that are used without being called.
fn names_with_values<'a>(tokens: &'a [(Token<'a>, Span)]) -> HashSet<Probe<'a>> {
    let name = |window: &'a [(Token<'a>, Span)]| match window {
        [(Token::Ident("macro"), _), (Token::Ident(name), _), ..] => Some(Probe::Function(name)),
        [(Token::Dot | Token::Pipe, _), ..] | [_, _, (Token::ParenOpen, _)] => None,
        [_, (Token::Ident(name), _), _] => Some(Probe::Function(name)),
        _ => None,
    };
    tokens.windows(3).filter_map(name).collect()
}

const fn is_unknown_name(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
    )
}
