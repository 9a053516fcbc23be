//! What befalls a task, kept in its record by the updates that do it: a claim as
//! its moment alone, since most tasks have no other event, a release as a map.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ErrorType, EventKind, Failure, MAX_EVENT_MESSAGE_BYTES, Moment, Run, cut};

use crate::StoreError;
use crate::item::{self, Item, Reader};

/// Adds `:event` to the record's events.
pub(super) const ADD_EVENT: &str = "events = list_append(if_not_exists(events, :no_events), :event)";

/// How an attempt is given back.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// Now.
    pub at: Moment,
    /// Why.
    pub why: &'a Failure,
    /// The time that the task has used up.
    pub spent: Duration,
    /// Nobody may claim the task before.
    pub not_before: Moment,
    /// What its run has come to.
    pub run: Option<&'a Run>,
}

/// A list of one event, or of none.
pub(super) fn list(event: impl IntoIterator<Item = AttributeValue>) -> AttributeValue {
    AttributeValue::L(event.into_iter().collect())
}

pub(super) fn claimed(at: Moment) -> AttributeValue {
    item::moment(at)
}

pub(super) fn released(at: Moment, why: Option<&Failure>, not_before: Option<Moment>) -> AttributeValue {
    let mut event = Item::from([("at".to_owned(), item::moment(at))]);
    if let Some(why) = why {
        event.insert("type".to_owned(), item::text(why.kind.as_str()));
        event.insert("message".to_owned(), item::text(cut(&why.message, MAX_EVENT_MESSAGE_BYTES)));
    }
    if let Some(not_before) = not_before.filter(|not_before| at < *not_before) {
        event.insert("resumes_at".to_owned(), item::moment(not_before));
    }
    AttributeValue::M(event)
}

/// How many events a record keeps.
pub(super) fn count(found: &Item) -> usize {
    found.get("events").and_then(|events| events.as_l().ok()).map_or(0, Vec::len)
}

/// The events that a record keeps.
pub(super) fn read(found: &Item) -> Result<Vec<(EventKind, Moment)>, StoreError> {
    let reader = Reader(found);
    let events = match found.get("events") {
        None => return Ok(Vec::new()),
        Some(events) => events.as_l().map_err(|_| reader.damaged("events"))?,
    };
    events.iter().map(event).collect::<Result<_, StoreError>>().map_err(|_| reader.damaged("events"))
}

fn event(value: &AttributeValue) -> Result<(EventKind, Moment), StoreError> {
    if let AttributeValue::M(released) = value {
        let reader = Reader(released);
        let fault = match released.contains_key("type") {
            true => {
                let kind = ErrorType::parse(reader.text("type")?).ok_or_else(|| reader.damaged("type"))?;
                Some((kind, reader.text("message")?.to_owned()))
            }
            false => None,
        };
        let resumes_at = reader.optional_moment("resumes_at")?;
        return Ok((EventKind::Released { fault, resumes_at }, reader.moment("at")?));
    }
    let claimed = Item::from([("at".to_owned(), value.clone())]);
    Ok((EventKind::Claimed, Reader(&claimed).moment("at")?))
}
