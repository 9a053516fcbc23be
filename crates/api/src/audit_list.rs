//! `GET /api/audit`: lists the audit log, newest first, in pages.

use axum::Json;
use axum::extract::{RawQuery, State};
use domain::AuditEntry;
use serde::Serialize;
use store::{AuditPosition, AuditStream, StoreError};
use utoipa::ToSchema;

use crate::openapi::parameters::AuditListParams;
use crate::query::{Query, QueryError};
use crate::{Management, Problem};

/// The default for `limit`.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 100;

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditList {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// The `cursor` of the next page. `null` on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Where a page begins: before these positions of both streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct AuditCursor {
    changes: Option<AuditPosition>,
    refusals: Option<AuditPosition>,
}

/// Lists the audit log, newest first, in pages.
///
/// Entries are stored for 90 days, up to about 10,000 changes and 1,000 refused attempts.
#[utoipa::path(get, path = "/api/audit", tag = "Audit log", operation_id = "list_audit_entries",
    params(AuditListParams),
    responses((status = 200, description = "A page of entries.", body = AuditList)))]
pub(crate) async fn list(
    State(management): State<Management>,
    RawQuery(query): RawQuery,
) -> Result<Json<AuditList>, Problem> {
    let (limit, cursor) = parse_query(query.as_deref())?;
    let (changes, refusals) = read_streams(&management, cursor, limit + 1).await?;
    let (entries, next) = merge(changes, refusals, cursor, limit);
    Ok(Json(AuditList {
        entries,
        next_cursor: next.map(|next| next.to_text()),
    }))
}

type StreamEntries = Vec<(AuditPosition, AuditEntry)>;

async fn read_streams(
    management: &Management,
    cursor: AuditCursor,
    limit: usize,
) -> Result<(StreamEntries, StreamEntries), StoreError> {
    let (agents, now) = (&management.agents, management.clock.now());
    tokio::try_join!(
        agents.audit_entries(AuditStream::Changes, cursor.changes, limit, now),
        agents.audit_entries(AuditStream::Refusals, cursor.refusals, limit, now),
    )
}

fn parse_query(query: Option<&str>) -> Result<(usize, AuditCursor), QueryError> {
    let query = Query::parse(query, &["limit", "cursor"])?;
    let limit = |text: &str| {
        text.parse()
            .ok()
            .filter(|limit| (1..=LONGEST_PAGE).contains(limit))
    };
    let limit = query
        .get("limit", "a whole number from 1 to 100", limit)?
        .unwrap_or(PAGE);
    let cursor = query.get(
        "cursor",
        "the `next_cursor` of the previous page, unchanged",
        AuditCursor::parse,
    )?;
    Ok((limit, cursor.unwrap_or_default()))
}

/// The newest `limit` entries of both streams, and where the next page begins if there are
/// more. Of entries with the same time, refusals come first.
fn merge(
    changes: StreamEntries,
    refusals: StreamEntries,
    cursor: AuditCursor,
    limit: usize,
) -> (Vec<AuditEntry>, Option<AuditCursor>) {
    let (mut changes, mut refusals) = (
        changes.into_iter().peekable(),
        refusals.into_iter().peekable(),
    );
    let (mut entries, mut next) = (Vec::new(), cursor);
    while entries.len() < limit {
        let is_change = match (changes.peek(), refusals.peek()) {
            (Some((_, change)), Some((_, refusal))) => change.at > refusal.at,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let newest = if is_change {
            changes.next()
        } else {
            refusals.next()
        };
        let Some((position, entry)) = newest else {
            break;
        };
        let begin = if is_change {
            &mut next.changes
        } else {
            &mut next.refusals
        };
        *begin = Some(position);
        entries.push(entry);
    }
    let has_more = changes.peek().is_some() || refusals.peek().is_some();
    (entries, has_more.then_some(next))
}

impl AuditCursor {
    /// `<changes>_<refusals>`, each `<page>.<index>` or `-`.
    fn to_text(self) -> String {
        let text_of = |position: Option<AuditPosition>| {
            position.map_or_else(
                || "-".to_owned(),
                |AuditPosition { page, index }| format!("{page}.{index}"),
            )
        };
        format!("{}_{}", text_of(self.changes), text_of(self.refusals))
    }

    fn parse(text: &str) -> Option<Self> {
        let parse_position = |text: &str| match text {
            "-" => Some(None),
            text => {
                let (page, index) = text.split_once('.')?;
                Some(Some(AuditPosition {
                    page: page.parse().ok()?,
                    index: index.parse().ok()?,
                }))
            }
        };
        let (changes, refusals) = text.split_once('_')?;
        Some(Self {
            changes: parse_position(changes)?,
            refusals: parse_position(refusals)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::{AuditEvent, Moment};

    use super::*;

    fn entry(event: AuditEvent, millis: u64) -> AuditEntry {
        AuditEntry {
            at: Moment::from_millis(millis).rfc3339(),
            ..AuditEntry::new(event)
        }
    }

    /// A stream with entries at these times, newest first.
    fn stream(event: AuditEvent, times: &[u64]) -> StreamEntries {
        let placed = |(index, millis): (usize, &u64)| {
            (
                AuditPosition {
                    page: 3,
                    index: u32::try_from(index).unwrap(),
                },
                entry(event, *millis),
            )
        };
        times.iter().enumerate().map(placed).rev().collect()
    }

    fn older(placed: &StreamEntries, before: Option<AuditPosition>) -> StreamEntries {
        placed
            .iter()
            .filter(|(at, _)| before.is_none_or(|before| *at < before))
            .cloned()
            .collect()
    }

    #[test]
    fn pages_hold_every_entry_of_both_streams_once_and_newest_first() {
        let changes = stream(AuditEvent::AgentCreated, &[1, 2, 5, 5, 9]);
        let refusals = stream(AuditEvent::SignInFailed, &[3, 4, 5, 6, 7, 8]);
        for limit in 1..=12 {
            let (mut seen, mut cursor) = (Vec::new(), AuditCursor::default());
            loop {
                let (mut left, mut right) = (
                    older(&changes, cursor.changes),
                    older(&refusals, cursor.refusals),
                );
                left.truncate(limit + 1);
                right.truncate(limit + 1);
                let (entries, next) = merge(left, right, cursor, limit);
                seen.extend(entries);
                let Some(next) = next else { break };
                cursor = AuditCursor::parse(&next.to_text()).unwrap();
                assert_eq!(cursor, next);
            }
            assert_eq!(seen.len(), 11, "with {limit} on a page");
            assert!(seen.is_sorted_by(|newer, older| newer.at >= older.at));
        }
    }

    #[test]
    fn a_malformed_cursor_is_refused() {
        for text in [
            "",
            "_",
            "1.2",
            "1.2_",
            "x.1_-",
            "1.-1_-",
            "-_1",
            "1.2_3.4_5.6",
            "99999999999999999999.0_-",
        ] {
            assert_eq!(AuditCursor::parse(text), None, "{text}");
        }
        assert_eq!(AuditCursor::parse("-_-"), Some(AuditCursor::default()));
    }
}
