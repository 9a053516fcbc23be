//! The events in a task's record, added by the update that causes them. A claim is stored as
//! its time only, because most tasks have no other event. A release is stored as a map.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ErrorType, Failure, HistoryEventKind, MAX_EVENT_MESSAGE_BYTES, Moment, cut};

use crate::StoreError;
use crate::item::{self, Item, ItemReader};

/// Adds `:event` to the record's events.
pub(super) const ADD_EVENT: &str = "events = list_append(if_not_exists(events, :no_events), :event)";

pub(super) fn event_list(event: impl IntoIterator<Item = AttributeValue>) -> AttributeValue {
    AttributeValue::L(event.into_iter().collect())
}

pub(super) fn claim_event(at: Moment) -> AttributeValue {
    item::moment(at)
}

pub(super) fn release_event(at: Moment, why: Option<&Failure>, not_before: Option<Moment>) -> AttributeValue {
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

pub(super) fn count_events(found: &Item) -> usize {
    found.get("events").and_then(|events| events.as_l().ok()).map_or(0, Vec::len)
}

pub(super) fn parse_events(found: &Item) -> Result<Vec<(HistoryEventKind, Moment)>, StoreError> {
    let reader = ItemReader(found);
    let events = match found.get("events") {
        None => return Ok(Vec::new()),
        Some(events) => events.as_l().map_err(|_| reader.damaged("events"))?,
    };
    events.iter().map(parse_event).collect::<Result<_, StoreError>>().map_err(|_| reader.damaged("events"))
}

fn parse_event(value: &AttributeValue) -> Result<(HistoryEventKind, Moment), StoreError> {
    if let AttributeValue::M(released) = value {
        let reader = ItemReader(released);
        let fault = match released.contains_key("type") {
            true => {
                let kind = ErrorType::parse(reader.text("type")?).ok_or_else(|| reader.damaged("type"))?;
                Some((kind, reader.text("message")?.to_owned()))
            }
            false => None,
        };
        let resumes_at = reader.optional_moment("resumes_at")?;
        return Ok((HistoryEventKind::Released { fault, resumes_at }, reader.moment("at")?));
    }
    let claimed = Item::from([("at".to_owned(), value.clone())]);
    Ok((HistoryEventKind::Claimed, ItemReader(&claimed).moment("at")?))
}
