//! The content of agents' documents. It is in a separate table, because listing agents
//! scans theirs and would read it all. Documents do not expire. The agent's record lists
//! all content that is stored here (`domain/src/catalogue.rs`).

use aws_sdk_dynamodb::Client;
use domain::{AgentId, DocumentContent};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::StoreError;
use crate::aws::Aws;
use crate::blob::{self, DATA, PART_BYTES};
use crate::env::{Env, EnvError};
use crate::error::StoreAttempt;
use crate::item::{self, ID, Item, ItemReader, VERSION};

/// Parts written at once. DynamoDB accepts 1 MB per second for a partition.
const WRITES_AT_ONCE: usize = 2;
/// Parts read or deleted at once.
const AT_ONCE: usize = 16;
/// The newest version of a part that this release can read.
const PART_VERSION: u64 = 1;

#[derive(Clone, Debug)]
pub struct Documents {
    db: Client,
    table: String,
}

/// Compressed content that is not stored yet.
#[derive(Clone, Debug)]
pub struct PackedDocument {
    content: DocumentContent,
    bytes: Vec<u8>,
}

impl PackedDocument {
    /// Compresses the content and gives it a random name.
    pub fn new(content: &[u8]) -> Result<Self, StoreError> {
        let bytes = blob::pack(content);
        let parts = u32::try_from(bytes.len().div_ceil(PART_BYTES)).unwrap_or(u32::MAX);
        Ok(Self {
            content: DocumentContent {
                name: blob::random_name("")?,
                parts,
            },
            bytes,
        })
    }

    /// The reference to store in the agent's record.
    pub const fn content(&self) -> &DocumentContent {
        &self.content
    }
}

impl Documents {
    pub fn new(aws: &Aws, table: impl Into<String>) -> Self {
        Self {
            db: aws.dynamodb(),
            table: table.into(),
        }
    }

    /// Reads `AGENT_WEBHOOKS_DOCUMENTS_TABLE`.
    pub fn from_env(aws: &Aws, env: &Env) -> Result<Self, EnvError> {
        Ok(Self::new(
            aws,
            env.required("AGENT_WEBHOOKS_DOCUMENTS_TABLE")?,
        ))
    }

    /// Stores content. The agent's record must refer to it first.
    pub async fn write(&self, agent: AgentId, packed: &PackedDocument) -> Result<(), StoreError> {
        let part = |(part, index): (&[u8], u32)| {
            self.db
                .put_item()
                .table_name(&self.table)
                .item(ID, item::text(part_id(agent, &packed.content.name, index)))
                .item(VERSION, item::number(PART_VERSION))
                .item(DATA, item::bytes(part))
                .send()
        };
        let writes: Vec<_> = packed.bytes.chunks(PART_BYTES).zip(0..).map(part).collect();
        let written: Result<Vec<_>, _> = stream::iter(writes)
            .buffered(WRITES_AT_ONCE)
            .try_collect()
            .await;
        written.attempt("store a part of a document").map(|_| ())
    }

    /// Returns `None` if the content was deleted in the meantime.
    pub async fn read(
        &self,
        agent: AgentId,
        content: &DocumentContent,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let reads = (0..content.parts).map(|index| {
            self.db
                .get_item()
                .table_name(&self.table)
                .key(ID, item::text(part_id(agent, &content.name, index)))
                .consistent_read(true)
                .send()
        });
        let parts: Result<Vec<_>, _> = stream::iter(reads).buffered(AT_ONCE).try_collect().await;
        let (mut packed, mut last) = (Vec::new(), Item::new());
        for part in parts.attempt("read a part of a document")? {
            let Some(part) = part.item else {
                return Ok(None);
            };
            packed.extend_from_slice(
                ItemReader(&part)
                    .require_version(PART_VERSION)?
                    .bytes(DATA)?,
            );
            last = part;
        }
        blob::unpack(&packed)
            .map(Some)
            .ok_or_else(|| ItemReader(&last).damaged(DATA))
    }

    /// Deletes all parts of the content that exist.
    pub async fn delete(
        &self,
        agent: AgentId,
        content: &DocumentContent,
    ) -> Result<(), StoreError> {
        let deletions = (0..content.parts).map(|index| {
            self.db
                .delete_item()
                .table_name(&self.table)
                .key(ID, item::text(part_id(agent, &content.name, index)))
                .send()
        });
        let deleted: Result<Vec<_>, _> = stream::iter(deletions)
            .buffered(AT_ONCE)
            .try_collect()
            .await;
        deleted.attempt("delete a part of a document").map(|_| ())
    }
}

fn part_id(agent: AgentId, name: &str, index: u32) -> String {
    format!("{agent}#{name}.{index}")
}
