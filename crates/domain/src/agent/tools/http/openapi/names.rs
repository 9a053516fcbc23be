//! The names of imported operations, and of their arguments.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::LocatedOperation;

/// Characters of a name that models accept.
const MAX_NAME: usize = 64;

/// The names that the model sees: the `operationId`s, or the methods and paths, in the
/// characters and the length that models accept. They do not depend on which operations are
/// imported.
///
/// An `operationId` that can stay as it is has its name. Of others with the same name, all but
/// the first get a part of a hash. So does a name that is too long.
pub(super) fn unique_names(located: &[LocatedOperation<'_>]) -> Vec<String> {
    let ids: HashSet<&str> = located.iter().map(LocatedOperation::id).collect();
    let mut taken = HashSet::new();
    let names = located.iter().map(|located| {
        let name = preferred_name(located);
        let plain = plain(&name);
        let is_exact = plain == name && !located.id().is_empty();
        let is_free = is_exact || !ids.contains(plain.as_str());
        if name.chars().count() <= MAX_NAME && is_free && taken.insert(plain.clone()) {
            return plain;
        }
        let place = format!("{} {} {name}", located.verb, located.path);
        let hashed = with_hash(&name, &place);
        taken.insert(hashed.clone());
        hashed
    });
    names.collect()
}

fn preferred_name(located: &LocatedOperation<'_>) -> String {
    match located.id() {
        "" => format!("{}{}", located.verb, located.path),
        id => id.to_owned(),
    }
}

fn with_hash(name: &str, place: &str) -> String {
    let hash = Sha256::digest(place.as_bytes());
    let hash: String = hash
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let beginning: String = name.chars().take(MAX_NAME - 1 - hash.len()).collect();
    format!("{}_{hash}", plain(&beginning))
}

fn plain(name: &str) -> String {
    in_characters(name, |character| {
        character.is_ascii_alphanumeric() || character == '-'
    })
}

/// In the characters that all providers accept in names of arguments.
pub(super) fn plain_argument(name: &str) -> String {
    in_characters(name, |character| {
        character.is_ascii_alphanumeric() || ['-', '.'].contains(&character)
    })
}

fn in_characters(name: &str, may_stay: impl Fn(char) -> bool) -> String {
    name.chars()
        .take(MAX_NAME)
        .map(|character| if may_stay(character) { character } else { '_' })
        .collect()
}
