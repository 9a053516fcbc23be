//! The events in a task's record, added by the update that causes them. A claim is stored as
//! its time only, because most tasks have no other event. A release is stored as a map.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::{ErrorType, Failure, HistoryEventKind, MAX_EVENT_MESSAGE_BYTES, Moment, cut};

use super::attributes::{EVENT_AT, EVENT_MESSAGE, EVENT_RESUMES_AT, EVENT_TYPE, EVENTS};
use crate::StoreError;
use crate::item::{self, Item, ItemReader};

/// Part of a SET expression that adds the event of [`with_event`].
pub(super) fn add_event() -> String {
    format!("{EVENTS} = list_append(if_not_exists({EVENTS}, :no_events), :event)")
}

/// The values of [`add_event`].
pub(super) fn with_event(
    update: UpdateItemFluentBuilder,
    event: AttributeValue,
) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_values(":no_events", AttributeValue::L(Vec::new()))
        .expression_attribute_values(":event", AttributeValue::L(vec![event]))
}

pub(super) fn claim_event(at: Moment) -> AttributeValue {
    item::moment(at)
}

pub(super) fn release_event(
    at: Moment,
    why: Option<&Failure>,
    not_before: Option<Moment>,
) -> AttributeValue {
    let mut event = Item::from([(EVENT_AT.to_owned(), item::moment(at))]);
    if let Some(why) = why {
        event.insert(EVENT_TYPE.to_owned(), item::text(why.kind.as_str()));
        event.insert(
            EVENT_MESSAGE.to_owned(),
            item::text(cut(&why.message, MAX_EVENT_MESSAGE_BYTES)),
        );
    }
    if let Some(not_before) = not_before.filter(|not_before| at < *not_before) {
        event.insert(EVENT_RESUMES_AT.to_owned(), item::moment(not_before));
    }
    AttributeValue::M(event)
}

pub(super) fn count_events(found: &Item) -> usize {
    found
        .get(EVENTS)
        .and_then(|events| events.as_l().ok())
        .map_or(0, Vec::len)
}

pub(super) fn parse_events(found: &Item) -> Result<Vec<(HistoryEventKind, Moment)>, StoreError> {
    let reader = ItemReader(found);
    let events = match found.get(EVENTS) {
        None => return Ok(Vec::new()),
        Some(events) => events.as_l().map_err(|_| reader.damaged(EVENTS))?,
    };
    events
        .iter()
        .map(parse_event)
        .collect::<Result<_, StoreError>>()
        .map_err(|_| reader.damaged(EVENTS))
}

fn parse_event(value: &AttributeValue) -> Result<(HistoryEventKind, Moment), StoreError> {
    if let AttributeValue::M(released) = value {
        let reader = ItemReader(released);
        let fault = match released.contains_key(EVENT_TYPE) {
            true => {
                let kind = ErrorType::parse(reader.text(EVENT_TYPE)?)
                    .ok_or_else(|| reader.damaged(EVENT_TYPE))?;
                Some((kind, reader.text(EVENT_MESSAGE)?.to_owned()))
            }
            false => None,
        };
        let resumes_at = reader.optional_moment(EVENT_RESUMES_AT)?;
        return Ok((
            HistoryEventKind::Released { fault, resumes_at },
            reader.moment(EVENT_AT)?,
        ));
    }
    let claimed = Item::from([(EVENT_AT.to_owned(), value.clone())]);
    Ok((
        HistoryEventKind::Claimed,
        ItemReader(&claimed).moment(EVENT_AT)?,
    ))
}
