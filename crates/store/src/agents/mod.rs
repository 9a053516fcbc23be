//! The agents table: definitions under `agent#<id>`, webhook tokens under
//! `token#<hash>`. A token's item has everything that a trigger needs, so a trigger
//! reads one item. Both are updated in one transaction. The table also has the names of
//! the stored secrets, under `secret#<name>`.

pub(crate) mod attributes;
mod record;
mod secret_names;
mod stored_agent;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::{AgentId, Moment, TokenHash};

use crate::StoreError;
use crate::aws::Aws;
use crate::cache::Cache;
use crate::conditions::{is_condition_failed, is_transaction_conflict, is_transaction_refused};
use crate::env::{Env, EnvError};
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};
use attributes::{
    AGENT_PREFIX, HASH, ID, REFUSED_BY, REFUSED_PARTS, absent_condition, own_token_condition,
    unchanged_condition,
};
use record::{
    agent_item, agent_key, agent_record, refused_fields, token_item, token_key, token_record,
};
pub use stored_agent::{Refused, StoredAgent, TokenRecord, Webhook};

/// The agents table, with a cache of agents and tokens.
#[derive(Debug)]
pub struct Agents {
    pub(crate) db: Client,
    pub(crate) table: String,
    /// Makes the audit entries of this process wait for each other.
    pub(crate) audit_turn: tokio::sync::Mutex<()>,
    by_token: Cache<String, TokenRecord>,
    by_id: Cache<String, StoredAgent>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("the imported webhook token already belongs to an agent")]
    TokenTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("another request changed or deleted the agent in the meantime")]
    Conflict,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agents {
    /// `cache_ttl` is how much later this process sees an update made by another one.
    pub fn new(aws: &Aws, table: impl Into<String>, cache_ttl: Duration) -> Self {
        Self {
            db: aws.dynamodb(),
            table: table.into(),
            audit_turn: tokio::sync::Mutex::default(),
            by_token: Cache::new(cache_ttl),
            by_id: Cache::new(cache_ttl),
        }
    }

    /// Reads `AGENT_WEBHOOKS_AGENTS_TABLE` and `AGENT_WEBHOOKS_AGENT_CACHE_SECONDS`
    /// (0 to 300; 10 by default).
    pub fn from_env(aws: &Aws, env: &Env) -> Result<Self, EnvError> {
        let cache_seconds = env.number("AGENT_WEBHOOKS_AGENT_CACHE_SECONDS", 10, 0, 300)?;
        let table = env.required("AGENT_WEBHOOKS_AGENTS_TABLE")?;
        Ok(Self::new(aws, table, Duration::from_secs(cache_seconds)))
    }

    /// Returns a token that is valid and whose agent is enabled.
    ///
    /// Only valid tokens are cached. A token that is disabled or expired costs a read each
    /// time, like an unknown one. Otherwise the response time would reveal which tokens exist.
    pub async fn by_token(
        &self,
        hash: &TokenHash,
        now: Moment,
    ) -> Result<Option<TokenRecord>, StoreError> {
        let key = hash.as_str().to_owned();
        if let Some(record) = self.by_token.get(&key)
            && record.is_valid_at(now)
        {
            return Ok(Some(record));
        }
        let Some(found) = self.read_item(token_key(hash)).await? else {
            return Ok(None);
        };
        let reader = ItemReader(&found);
        if TokenHash::from_stored(reader.text(HASH)?.to_owned()) != *hash {
            return Err(reader.damaged(HASH));
        }
        let record = token_record(reader)?;
        if !record.is_valid_at(now) {
            return Ok(None);
        }
        self.by_token.put(key, record.clone());
        Ok(Some(record))
    }

    /// Returns the agent, from the cache if possible. Used for runs.
    pub async fn get_cached(&self, id: AgentId) -> Result<Option<StoredAgent>, StoreError> {
        if let Some(record) = self.by_id.get(&id.to_string()) {
            return Ok(Some(record));
        }
        self.refresh(id).await
    }

    /// Reads the agent from the table and updates the cache.
    pub async fn refresh(&self, id: AgentId) -> Result<Option<StoredAgent>, StoreError> {
        let found = self.get(id).await?;
        if let Some(record) = &found {
            self.by_id.put(id.to_string(), record.clone());
        }
        Ok(found)
    }

    /// Reads the agent from the table.
    pub async fn get(&self, id: AgentId) -> Result<Option<StoredAgent>, StoreError> {
        let found = self.read_item(agent_key(id)).await?;
        found.as_ref().map(agent_record).transpose()
    }

    /// Returns all agents, oldest first. Scans the table: there are few agents, and only
    /// management requests list them.
    pub async fn list(&self) -> Result<Vec<StoredAgent>, StoreError> {
        let found = self.scan(AGENT_PREFIX, "scan the agents").await?;
        let mut agents = found
            .iter()
            .map(agent_record)
            .collect::<Result<Vec<_>, _>>()?;
        agents.sort_by_key(|record| (record.created_at, record.agent.id().to_string()));
        Ok(agents)
    }

    /// Returns all items whose key starts with `prefix`.
    async fn scan(&self, prefix: &str, attempt: &'static str) -> Result<Vec<Item>, StoreError> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression(format!("begins_with({ID}, :prefix)"))
            .expression_attribute_values(":prefix", item::text(prefix))
            .into_paginator()
            .items()
            .send();
        let mut items = Vec::new();
        while let Some(found) = pages.next().await {
            items.push(found.attempt(attempt)?);
        }
        Ok(items)
    }

    pub async fn create(&self, record: &StoredAgent) -> Result<(), CreateError> {
        let agent = self
            .put(agent_item(record)?)
            .condition_expression(absent_condition());
        let token = self
            .put(token_item(record, &record.webhook.current, None))
            .condition_expression(absent_condition());
        let writes = vec![
            TransactWriteItem::builder()
                .put(agent.build().attempt("prepare the agent")?)
                .build(),
            TransactWriteItem::builder()
                .put(token.build().attempt("prepare the token")?)
                .build(),
        ];
        match self
            .db
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if is_transaction_refused(&error) => Err(CreateError::TokenTaken),
            Err(error) => Err(error)
                .attempt("store the agent")
                .map_err(CreateError::Store),
        }
    }

    /// Replaces an agent and its tokens, unless it was updated since `read`.
    pub async fn update(
        &self,
        read: &StoredAgent,
        record: &StoredAgent,
    ) -> Result<(), UpdateError> {
        let agent = self
            .put(agent_item(record)?)
            .condition_expression(unchanged_condition())
            .expression_attribute_values(":read", item::number(read.revision));
        let mut writes = vec![
            TransactWriteItem::builder()
                .put(agent.build().attempt("prepare the agent")?)
                .build(),
        ];
        let webhook = &record.webhook;
        let previous = webhook
            .previous
            .iter()
            .map(|(hash, until)| (hash, Some(*until)));
        for (hash, until) in previous.chain([(&webhook.current, None)]) {
            let token = self
                .put(token_item(record, hash, until))
                .condition_expression(own_token_condition())
                .expression_attribute_values(":agent", item::text(record.agent.id().to_string()));
            let token = token.build().attempt("prepare the token")?;
            writes.push(TransactWriteItem::builder().put(token).build());
        }
        let now = record.updated_at;
        for hash in read
            .webhook
            .valid_at(now)
            .filter(|hash| !webhook.hashes().any(|new| new == *hash))
        {
            writes.push(self.token_removal(hash, read.agent.id())?);
        }
        self.change(writes, "update the agent").await
    }

    /// Stores what the server of an agent's model refuses, unless the agent was updated since
    /// `read`. In this process, later runs know it even if it could not be stored.
    pub async fn store_refused(
        &self,
        read: &StoredAgent,
        refused: Refused,
    ) -> Result<(), StoreError> {
        let update = self
            .db
            .update_item()
            .table_name(&self.table)
            .key(ID, item::text(agent_key(read.agent.id())))
            .condition_expression(unchanged_condition())
            .expression_attribute_values(":read", item::number(read.revision));
        // A set cannot be empty.
        let update = match refused.parts.is_empty() {
            true => update.update_expression(format!("REMOVE {REFUSED_BY}, {REFUSED_PARTS}")),
            false => {
                let [by, parts] = refused_fields(&refused);
                update
                    .update_expression(format!("SET {REFUSED_BY} = :by, {REFUSED_PARTS} = :parts"))
                    .expression_attribute_values(":by", by.1)
                    .expression_attribute_values(":parts", parts.1)
            }
        };
        let stored = update.send().await;
        self.by_id.change(&read.agent.id().to_string(), |cached| {
            if cached.revision == read.revision {
                cached.refused = refused;
            }
        });
        match stored {
            Err(error) if !is_condition_failed(&error) => {
                Err(error).attempt("store what the model server refuses")
            }
            _ => Ok(()),
        }
    }

    /// Deletes an agent and its tokens, unless it was updated since `read`.
    pub async fn delete(&self, read: &StoredAgent, now: Moment) -> Result<(), UpdateError> {
        let agent = self
            .removal(agent_key(read.agent.id()))
            .condition_expression(unchanged_condition())
            .expression_attribute_values(":read", item::number(read.revision));
        let mut writes = vec![
            TransactWriteItem::builder()
                .delete(agent.build().attempt("prepare the agent")?)
                .build(),
        ];
        for hash in read.webhook.valid_at(now) {
            writes.push(self.token_removal(hash, read.agent.id())?);
        }
        self.change(writes, "delete the agent").await
    }

    fn token_removal(
        &self,
        hash: &TokenHash,
        agent: AgentId,
    ) -> Result<TransactWriteItem, StoreError> {
        let token = self
            .removal(token_key(hash))
            .condition_expression(own_token_condition())
            .expression_attribute_values(":agent", item::text(agent.to_string()))
            .build()
            .attempt("prepare the token")?;
        Ok(TransactWriteItem::builder().delete(token).build())
    }

    async fn change(
        &self,
        writes: Vec<TransactWriteItem>,
        attempt: &'static str,
    ) -> Result<(), UpdateError> {
        let result = self
            .db
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await;
        self.by_token.clear();
        self.by_id.clear();
        match result {
            Ok(_) => Ok(()),
            Err(error) if is_transaction_refused(&error) || is_transaction_conflict(&error) => {
                Err(UpdateError::Conflict)
            }
            Err(error) => Err(error).attempt(attempt).map_err(UpdateError::Store),
        }
    }

    pub(crate) async fn read_item(&self, key: String) -> Result<Option<Item>, StoreError> {
        let get = self
            .db
            .get_item()
            .table_name(&self.table)
            .key(ID, item::text(key));
        let found = get
            .consistent_read(true)
            .send()
            .await
            .attempt("read the agents table")?;
        Ok(found.item)
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    fn removal(&self, key: String) -> aws_sdk_dynamodb::types::builders::DeleteBuilder {
        Delete::builder()
            .table_name(&self.table)
            .set_key(Some(item::key(key)))
    }
}
