//! The stored audit log: bounded streams of entries in the agents table.
//!
//! A stream is a list of pages. The newest page is the item `audit#<stream>`, which
//! every new entry rewrites. A full page is copied to `audit#<stream>#<slot>` before the
//! next one begins, and the slots are reused in a ring. So a stream never holds more
//! than its number of pages, and listing agents, which scans the table, stays cheap:
//! a page of entries is one small compressed item.
//!
//! Changes and refused attempts are separate streams, so that a flood of wrong tokens
//! cannot push out the history of changes.

use std::time::Duration;

use domain::{AuditEntry, Moment};

use crate::StoreError;
use crate::agents::Agents;
use crate::agents::attributes::{ENTRIES, PAGE, REVISION, absent_condition, unchanged_condition};
use crate::blob;
use crate::conditions::is_condition_failed;
use crate::error::StoreAttempt;
use crate::item::{self, EXPIRES_AT, ID, Item, ItemReader, VERSION};

/// The newest version of a page that this release can read.
const PAGE_VERSION: u64 = 1;
/// How long entries are stored.
const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
/// A page of this many entries is full.
const PAGE_ENTRIES: usize = 50;
/// A page of this many bytes of JSON is full. With one more entry it still fits a
/// DynamoDB item of 400 KB, even uncompressed.
const PAGE_BYTES: usize = 64 * 1024;
/// How often storing an entry is retried after another process stored one first.
const MAX_CONFLICTS: u32 = 10;

/// A list of entries with its own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditStream {
    /// Changes by admins.
    Changes,
    /// Refused attempts.
    Refusals,
}

/// An entry's place in its stream: later entries have greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPosition {
    /// Counts all pages ever written to the stream.
    pub page: u64,
    /// The entry's index in its page.
    pub index: u32,
}

/// One page of a stream.
#[derive(Debug, Default)]
struct AuditPage {
    number: u64,
    /// Counts the writes of the newest page. 0 before the first.
    revision: u64,
    entries: Vec<AuditEntry>,
}

impl AuditStream {
    const fn key(self) -> &'static str {
        match self {
            Self::Changes => "audit#changes",
            Self::Refusals => "audit#refusals",
        }
    }

    /// How many full pages are stored: 10,000 changes and 1,000 refusals of usual size.
    const fn slots(self) -> u64 {
        match self {
            Self::Changes => 200,
            Self::Refusals => 20,
        }
    }

    fn slot_key(self, page: u64) -> String {
        format!("{}#{}", self.key(), page % self.slots())
    }
}

impl Agents {
    /// Adds an entry to its stream. Costs one read and one write, and every fiftieth
    /// time one write more.
    pub async fn append_audit_entry(
        &self,
        stream: AuditStream,
        entry: &AuditEntry,
        now: Moment,
    ) -> Result<(), StoreError> {
        // Entries of one process queue here instead of refusing each other's writes.
        let _turn = self.audit_turn.lock().await;
        for conflicts in 0..=MAX_CONFLICTS {
            tokio::time::sleep(Duration::from_millis(u64::from(conflicts) * 10)).await;
            let newest = self.newest_page(stream).await?;
            // An earlier try may have been stored although its response was lost.
            if newest.entries.iter().any(|stored| stored.id == entry.id) {
                return Ok(());
            }
            let read_revision = newest.revision;
            let page = self.with_entry(stream, newest, entry, now).await?;
            if self
                .replace_newest_page(stream, &page, read_revision, now)
                .await?
            {
                return Ok(());
            }
        }
        Err(StoreError::unavailable("store the audit entry")(
            "too many concurrent updates".into(),
        ))
    }

    /// Returns up to `limit` entries older than `before`, newest first, without expired ones.
    pub async fn audit_entries(
        &self,
        stream: AuditStream,
        before: Option<AuditPosition>,
        limit: usize,
        now: Moment,
    ) -> Result<Vec<(AuditPosition, AuditEntry)>, StoreError> {
        let newest = self.newest_page(stream).await?;
        let (oldest_at, newest_number) = (now.minus(RETENTION).rfc3339(), newest.number);
        let mut next = Some(newest);
        let mut found = Vec::new();
        while let Some(page) = next.take() {
            let number = page.number;
            for (position, entry) in page.newest_first() {
                if before.is_some_and(|before| position >= before) {
                    continue;
                }
                // RFC 3339 times sort correctly as text.
                if entry.at < oldest_at || found.len() == limit {
                    return Ok(found);
                }
                found.push((position, entry));
            }
            let wanted = before.map_or(number, |before| number.min(before.page.saturating_add(1)));
            let Some(older) = wanted.checked_sub(1) else {
                break;
            };
            if newest_number - older <= stream.slots() {
                next = self.full_page(stream, older).await?;
            }
        }
        Ok(found)
    }

    async fn newest_page(&self, stream: AuditStream) -> Result<AuditPage, StoreError> {
        let found = self.read_item(stream.key().to_owned()).await?;
        found
            .as_ref()
            .map_or_else(|| Ok(AuditPage::default()), parse_page)
    }

    /// Returns a full page, unless its slot has another one.
    async fn full_page(
        &self,
        stream: AuditStream,
        number: u64,
    ) -> Result<Option<AuditPage>, StoreError> {
        let found = self.read_item(stream.slot_key(number)).await?;
        let page = found.as_ref().map(parse_page).transpose()?;
        Ok(page.filter(|page| page.number == number))
    }

    /// Returns the newest page with one more entry. A full page is stored in its slot first.
    /// Several processes may do that at once: all of them write the same page.
    async fn with_entry(
        &self,
        stream: AuditStream,
        newest: AuditPage,
        entry: &AuditEntry,
        now: Moment,
    ) -> Result<AuditPage, StoreError> {
        let mut page = newest;
        if page.is_full()? {
            let item = page_item(stream.slot_key(page.number), &page, now)?;
            let put = self
                .db
                .put_item()
                .table_name(&self.table)
                .set_item(Some(item));
            put.send()
                .await
                .attempt("store a full page of the audit log")?;
            page = AuditPage {
                number: page.number + 1,
                revision: page.revision,
                entries: Vec::new(),
            };
        }
        page.entries.push(entry.clone());
        page.revision += 1;
        Ok(page)
    }

    /// Returns false if another process stored an entry since the page was read.
    async fn replace_newest_page(
        &self,
        stream: AuditStream,
        page: &AuditPage,
        read_revision: u64,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let item = page_item(stream.key().to_owned(), page, now)?;
        let put = self
            .db
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item));
        let put = match read_revision {
            0 => put.condition_expression(absent_condition()),
            read => put
                .condition_expression(unchanged_condition())
                .expression_attribute_values(":read", item::number(read)),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failed(&error) => Ok(false),
            Err(error) => Err(error).attempt("store the audit entry"),
        }
    }
}

impl AuditPage {
    fn is_full(&self) -> Result<bool, StoreError> {
        Ok(self.entries.len() >= PAGE_ENTRIES || entries_json(&self.entries)?.len() >= PAGE_BYTES)
    }

    fn newest_first(self) -> impl Iterator<Item = (AuditPosition, AuditEntry)> {
        let page = self.number;
        // A page has fewer than 2^32 entries.
        let position = move |index| AuditPosition {
            page,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        };
        self.entries
            .into_iter()
            .enumerate()
            .map(move |(index, entry)| (position(index), entry))
            .rev()
    }
}

fn entries_json(entries: &[AuditEntry]) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(entries).attempt("serialize the audit entries")
}

fn page_item(key: String, page: &AuditPage, now: Moment) -> Result<Item, StoreError> {
    Ok(Item::from(
        [
            (ID, item::text(key)),
            (VERSION, item::number(PAGE_VERSION)),
            (PAGE, item::number(page.number)),
            (REVISION, item::number(page.revision)),
            (
                ENTRIES,
                item::bytes(blob::pack(&entries_json(&page.entries)?)),
            ),
            (EXPIRES_AT, item::number(now.plus(RETENTION).ttl_seconds())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    ))
}

fn parse_page(found: &Item) -> Result<AuditPage, StoreError> {
    let reader = ItemReader(found).require_version(PAGE_VERSION)?;
    let json = blob::unpack(reader.bytes(ENTRIES)?).ok_or_else(|| reader.damaged(ENTRIES))?;
    let entries = serde_json::from_slice(&json).map_err(|_| reader.damaged(ENTRIES))?;
    Ok(AuditPage {
        number: reader.number(PAGE)?,
        revision: reader.number(REVISION)?,
        entries,
    })
}
