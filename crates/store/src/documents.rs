//! The contents of agents' documents, in a table of their own: agents are listed
//! by a scan, which would read them all. Nothing here expires; the agent's record
//! names whatever lies here (`domain/src/catalogue.rs`).

use aws_sdk_dynamodb::Client;
use domain::{AgentId, Content};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::StoreError;
use crate::aws::Aws;
use crate::blob::{self, PART_BYTES};
use crate::env::{Env, EnvError};
use crate::error::Attempt;
use crate::item::{self, Item, Reader};

/// Parts written at a time: DynamoDB takes 1 MB a second of a table's partition.
const WRITES_AT_ONCE: usize = 2;
/// Parts read or deleted at a time.
const AT_ONCE: usize = 16;
/// The latest form of a part that this version reads.
const VERSION: u64 = 1;

/// The documents table.
#[derive(Clone, Debug)]
pub struct Documents {
    db: Client,
    table: String,
}

/// A content on its way into the table.
#[derive(Clone, Debug)]
pub struct Packed {
    content: Content,
    bytes: Vec<u8>,
}

impl Packed {
    /// Compresses a content and draws a name for it.
    pub fn new(content: &[u8]) -> Result<Self, StoreError> {
        let bytes = blob::pack(content);
        let parts = u32::try_from(bytes.len().div_ceil(PART_BYTES)).unwrap_or(u32::MAX);
        Ok(Self { content: Content { name: blob::random_name("")?, parts }, bytes })
    }

    /// Where it will lie.
    pub const fn content(&self) -> &Content {
        &self.content
    }
}

impl Documents {
    /// The table of this name.
    pub fn new(aws: &Aws, table: impl Into<String>) -> Self {
        Self { db: aws.dynamodb(), table: table.into() }
    }

    /// The table that `AGENT_WEBHOOKS_DOCUMENTS_TABLE` names.
    pub fn from_env(aws: &Aws, env: &Env) -> Result<Self, EnvError> {
        Ok(Self::new(aws, env.required("AGENT_WEBHOOKS_DOCUMENTS_TABLE")?))
    }

    /// Writes a content that the agent's record has announced.
    pub async fn write(&self, agent: AgentId, packed: &Packed) -> Result<(), StoreError> {
        let part = |(part, index): (&[u8], u32)| {
            self.db
                .put_item()
                .table_name(&self.table)
                .item("id", item::text(part_id(agent, &packed.content.name, index)))
                .item("v", item::number(VERSION))
                .item("data", item::bytes(part))
                .send()
        };
        let writes: Vec<_> = packed.bytes.chunks(PART_BYTES).zip(0..).map(part).collect();
        let written: Result<Vec<_>, _> = stream::iter(writes).buffered(WRITES_AT_ONCE).try_collect().await;
        written.attempt("put a part of a document").map(|_| ())
    }

    /// Reads a content back, unless it was deleted meanwhile.
    pub async fn read(&self, agent: AgentId, content: &Content) -> Result<Option<Vec<u8>>, StoreError> {
        let reads = (0..content.parts).map(|index| {
            self.db
                .get_item()
                .table_name(&self.table)
                .key("id", item::text(part_id(agent, &content.name, index)))
                .consistent_read(true)
                .send()
        });
        let parts: Result<Vec<_>, _> = stream::iter(reads).buffered(AT_ONCE).try_collect().await;
        let (mut packed, mut last) = (Vec::new(), Item::new());
        for part in parts.attempt("get a part of a document")? {
            let Some(part) = part.item else { return Ok(None) };
            packed.extend_from_slice(Reader(&part).of_version(VERSION)?.bytes("data")?);
            last = part;
        }
        blob::unpack(&packed).map(Some).ok_or_else(|| Reader(&last).damaged("data"))
    }

    /// Deletes a content, or what there is of it.
    pub async fn delete(&self, agent: AgentId, content: &Content) -> Result<(), StoreError> {
        let deletions = (0..content.parts).map(|index| {
            self.db
                .delete_item()
                .table_name(&self.table)
                .key("id", item::text(part_id(agent, &content.name, index)))
                .send()
        });
        let deleted: Result<Vec<_>, _> = stream::iter(deletions).buffered(AT_ONCE).try_collect().await;
        deleted.attempt("delete a part of a document").map(|_| ())
    }
}

fn part_id(agent: AgentId, name: &str, index: u32) -> String {
    format!("{agent}#{name}.{index}")
}
