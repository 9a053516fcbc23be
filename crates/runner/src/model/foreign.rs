//! Parses the replies of model providers within limits. Only known fields are stored. Other
//! fields take no memory, and no field becomes a [`Value`] before its values are counted.

use std::fmt;
use std::marker::PhantomData;

use domain::{MAX_JSON_VALUES, count_json_values};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Most content blocks of a reply. A reply with citations has a block for each.
pub(super) const MAX_BLOCKS: usize = 4096;
/// One more than the agent loop accepts in a turn, so that the loop can report the excess.
pub(super) const MAX_CALLS: usize = 33;
/// Most bytes of what goes back to the provider unchanged. The limit of a whole conversation.
const MAX_ECHO_BYTES: usize = 4 * 1024 * 1024;

/// Why a reply cannot be used.
#[derive(Debug)]
pub(super) enum ReplyError {
    /// It does not have the form of this provider's replies.
    NotAReply,
    /// It exceeds this limit.
    MoreThan(String),
}

impl From<serde_json::Error> for ReplyError {
    fn from(_: serde_json::Error) -> Self {
        Self::NotAReply
    }
}

/// The first `MOST` items of a list. Later items take no memory.
pub(super) struct AtMost<T, const MOST: usize> {
    pub(super) items: Vec<T>,
    has_more: bool,
}

impl<T, const MOST: usize> AtMost<T, MOST> {
    /// All items, or an error if the list had more.
    pub(super) fn into_items(self, what: &str) -> Result<Vec<T>, ReplyError> {
        match self.has_more {
            true => Err(ReplyError::MoreThan(format!("{MOST} {what}"))),
            false => Ok(self.items),
        }
    }
}

impl<T, const MOST: usize> Default for AtMost<T, MOST> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            has_more: false,
        }
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstItems(PhantomData))
    }
}

struct FirstItems<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for FirstItems<T, MOST> {
    type Value = AtMost<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => {
                    return Ok(AtMost {
                        items,
                        has_more: false,
                    });
                }
            }
        }
        let mut has_more = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            has_more = true;
        }
        Ok(AtMost { items, has_more })
    }
}

pub(super) fn parse_string(field: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(field?.get()).ok()
}

/// The arguments of a call as text. Most servers send a string that contains JSON, some send
/// the JSON itself. They are parsed when the call is made.
pub(super) fn parse_arguments(field: Option<&RawValue>) -> Result<String, ReplyError> {
    let Some(field) = field else {
        return Ok(String::new());
    };
    let text = parse_string(Some(field)).unwrap_or_else(|| field.get().to_owned());
    match count_json_values(text.as_bytes()) > MAX_JSON_VALUES {
        true => Err(too_many_values("the arguments of a tool call")),
        false => Ok(text),
    }
}

/// JSON that goes back to the provider unchanged.
pub(super) fn parse_echo(parts: &[&RawValue]) -> Result<Vec<Value>, ReplyError> {
    if parts.iter().map(|part| part.get().len()).sum::<usize>() > MAX_ECHO_BYTES {
        return Err(ReplyError::MoreThan(
            "4 MiB in a message that it signs".to_owned(),
        ));
    }
    if parts
        .iter()
        .map(|part| count_json_values(part.get().as_bytes()))
        .sum::<usize>()
        > MAX_JSON_VALUES
    {
        return Err(too_many_values("a message that it signs"));
    }
    Ok(parts
        .iter()
        .map(|part| serde_json::from_str(part.get()))
        .collect::<Result<_, _>>()?)
}

fn too_many_values(place: &str) -> ReplyError {
    ReplyError::MoreThan(format!("{MAX_JSON_VALUES} JSON values in {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_stored_up_to_its_limit() {
        let list = |json| serde_json::from_str::<AtMost<&RawValue, 2>>(json).unwrap();
        assert_eq!(list("[1, [2]]").into_items("items").unwrap().len(), 2);
        let Err(ReplyError::MoreThan(bound)) = list("[1,2,3,4]").into_items("items") else {
            panic!("no limit")
        };
        assert_eq!(bound, "2 items");
        assert_eq!(list("[1,2,3,4]").items.len(), 2);
        assert!(serde_json::from_str::<AtMost<&RawValue, 2>>("[1,2,3,").is_err());
    }

    #[test]
    fn arguments_are_text_whatever_the_server_sends() {
        let read = |json| parse_arguments(serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(read(r#""{\"a\":1}""#), r#"{"a":1}"#);
        assert_eq!(read(r#"{"a": 1}"#), r#"{"a": 1}"#);
        assert_eq!(read("null"), "");
        let long = serde_json::value::to_raw_value(&"x".repeat(3_000_000)).unwrap();
        assert_eq!(parse_arguments(Some(&long)).unwrap().len(), 3_000_000);
        for many in [
            vec!["[0]"; 10_001].join(","),
            vec![r"\u005b0]"; 10_001].join(","),
        ] {
            for json in [format!("[{many}]"), format!("\"[{many}]\"")] {
                if let Ok(raw) = serde_json::from_str::<&RawValue>(&json) {
                    assert!(matches!(
                        parse_arguments(Some(raw)),
                        Err(ReplyError::MoreThan(_))
                    ));
                }
            }
        }
    }

    #[test]
    fn what_goes_back_is_limited_in_bytes_and_values_over_all_parts() {
        let part = |json: String| RawValue::from_string(json).unwrap();
        let text = part(format!("\"{}\"", "x".repeat(3 * 1024 * 1024)));
        assert_eq!(parse_echo(&[&text]).unwrap().len(), 1);
        assert!(matches!(
            parse_echo(&[&text, &text]),
            Err(ReplyError::MoreThan(_))
        ));
        let many = part(format!("[{}0]", "0,".repeat(12_000)));
        assert_eq!(parse_echo(&[&many]).unwrap().len(), 1);
        assert!(matches!(
            parse_echo(&[&many, &many]),
            Err(ReplyError::MoreThan(_))
        ));
    }
}
