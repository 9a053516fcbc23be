//! The agents table: definitions under `agent#<id>`, webhook tokens under
//! `token#<hash>`. A token's item holds all a trigger needs to know, so a
//! trigger reads one item; both change together in one transaction. Beside them
//! the names of kept secrets, under `secret#<name>`.

mod kept;
mod record;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::{Agent, AgentId, Catalogue, Moment, Salt, TokenHash};

use crate::StoreError;
use crate::aws::Aws;
use crate::cache::Cache;
use crate::env::{Env, EnvError};
use crate::error::Attempt;
use crate::item::{self, Item, Reader};
use record::{agent_item, agent_key, agent_record, token_item, token_key, token_record};

/// A token that expired may since have been brought along by another agent.
const OWN_TOKEN: &str = "attribute_not_exists(id) OR agent_id = :agent";
const CONDITION_FAILED: &str = "ConditionalCheckFailed";
const MET_ANOTHER: &str = "TransactionConflict";

/// The agents table, with a memory of what was read lately.
#[derive(Debug)]
pub struct Agents {
    pub(crate) db: Client,
    pub(crate) table: String,
    /// One audit entry at a time.
    pub(crate) audit_turn: tokio::sync::Mutex<()>,
    by_token: Cache<String, TokenRecord>,
    by_id: Cache<String, AgentRecord>,
}

/// An agent as stored.
#[derive(Clone, Debug)]
pub struct AgentRecord {
    /// Its definition.
    pub agent: Agent,
    /// Under which its idempotency keys become task keys.
    pub salt: Salt,
    /// Its webhook's tokens.
    pub webhook: Webhook,
    /// Its documents.
    pub catalogue: Catalogue,
    /// When it was made.
    pub created_at: Moment,
    /// When it last changed.
    pub updated_at: Moment,
    /// Counts changes, so that two at once cannot overwrite each other.
    pub revision: u64,
}

/// The tokens of an agent's webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Counts rotations; a derived token depends on it.
    pub version: u32,
    /// The token was brought along from another system, so it cannot be derived.
    pub imported: bool,
    /// The token now.
    pub current: TokenHash,
    /// Earlier tokens and until when they work.
    pub previous: Vec<(TokenHash, Moment)>,
}

impl Webhook {
    /// Those that have not expired: an expired one may be another agent's by now.
    fn working_at(&self, now: Moment) -> impl Iterator<Item = &TokenHash> {
        let previous = self.previous.iter().filter(move |(_, until)| now < *until);
        previous.map(|(hash, _)| hash).chain([&self.current])
    }

    fn hashes(&self) -> impl Iterator<Item = &TokenHash> {
        self.previous.iter().map(|(hash, _)| hash).chain([&self.current])
    }
}

/// What a trigger needs to know of a token.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    /// Whose it is.
    pub agent_id: AgentId,
    /// Under which idempotency keys become task keys.
    pub salt: Salt,
    /// Whether the agent takes triggers.
    pub enabled: bool,
    /// Until when a token works that was rotated away.
    pub until: Option<Moment>,
    /// How many triggers the agent takes in a minute, if it limits them.
    pub triggers_per_minute: Option<u32>,
}

impl TokenRecord {
    fn works_at(&self, now: Moment) -> bool {
        self.enabled && self.until.is_none_or(|until| now < until)
    }
}

/// Why an agent was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// An imported token already belongs to an agent.
    #[error("the webhook token is taken")]
    TokenTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an agent was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Somebody else changed or deleted it meanwhile.
    #[error("the agent was changed by somebody else meanwhile")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agents {
    /// The table of this name. What was read is remembered for `keep_for`: a
    /// change made by another process is seen that much later.
    pub fn new(aws: &Aws, table: impl Into<String>, keep_for: Duration) -> Self {
        Self {
            db: aws.dynamodb(),
            table: table.into(),
            audit_turn: tokio::sync::Mutex::default(),
            by_token: Cache::new(keep_for),
            by_id: Cache::new(keep_for),
        }
    }

    /// The table that `AGENT_WEBHOOKS_AGENTS_TABLE` names, remembered for
    /// `AGENT_WEBHOOKS_AGENT_CACHE_SECONDS` (0 to 300; 10 by default).
    pub fn from_env(aws: &Aws, env: &Env) -> Result<Self, EnvError> {
        let keep_for = env.number("AGENT_WEBHOOKS_AGENT_CACHE_SECONDS", 10, 0, 300)?;
        let table = env.required("AGENT_WEBHOOKS_AGENTS_TABLE")?;
        Ok(Self::new(aws, table, Duration::from_secs(keep_for)))
    }

    /// Whose token this is, if it works at this moment.
    ///
    /// Only working tokens are remembered. A token that is disabled or was rotated away
    /// costs a read each time, as an unknown one does: otherwise the time of the answer
    /// would tell them apart.
    pub async fn by_token(&self, hash: &TokenHash, now: Moment) -> Result<Option<TokenRecord>, StoreError> {
        let key = hash.as_str().to_owned();
        if let Some(record) = self.by_token.get(&key)
            && record.works_at(now)
        {
            return Ok(Some(record));
        }
        let Some(found) = self.read(token_key(hash)).await? else { return Ok(None) };
        let reader = Reader(&found);
        if TokenHash::from_stored(reader.text("hash")?.to_owned()) != *hash {
            return Err(reader.damaged("hash"));
        }
        let record = token_record(reader)?;
        if !record.works_at(now) {
            return Ok(None);
        }
        self.by_token.put(key, record.clone());
        Ok(Some(record))
    }

    /// The agent, perhaps as it was some seconds ago: for runs.
    pub async fn remembered(&self, id: AgentId) -> Result<Option<AgentRecord>, StoreError> {
        if let Some(record) = self.by_id.get(&id.to_string()) {
            return Ok(Some(record));
        }
        self.refreshed(id).await
    }

    /// The agent as it is now, remembered from here on.
    pub async fn refreshed(&self, id: AgentId) -> Result<Option<AgentRecord>, StoreError> {
        let found = self.get(id).await?;
        if let Some(record) = &found {
            self.by_id.put(id.to_string(), record.clone());
        }
        Ok(found)
    }

    /// The agent as it is now.
    pub async fn get(&self, id: AgentId) -> Result<Option<AgentRecord>, StoreError> {
        let found = self.read(agent_key(id)).await?;
        found.as_ref().map(agent_record).transpose()
    }

    /// Every agent, oldest first. A scan: agents are few and this is for people.
    pub async fn list(&self) -> Result<Vec<AgentRecord>, StoreError> {
        let found = self.scan("agent#", "scan the agents").await?;
        let mut agents = found.iter().map(agent_record).collect::<Result<Vec<_>, _>>()?;
        agents.sort_by_key(|record| (record.created_at, record.agent.id().to_string()));
        Ok(agents)
    }

    /// Every item of one kind, by the beginning of its key.
    async fn scan(&self, prefix: &str, attempt: &'static str) -> Result<Vec<Item>, StoreError> {
        let mut pages = self
            .db
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .filter_expression("begins_with(id, :prefix)")
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

    /// Stores a new agent with its token.
    pub async fn create(&self, record: &AgentRecord) -> Result<(), CreateError> {
        let agent = self.put(agent_item(record)?).condition_expression("attribute_not_exists(id)");
        let token = self
            .put(token_item(record, &record.webhook.current, None))
            .condition_expression("attribute_not_exists(id)");
        let writes = vec![
            TransactWriteItem::builder().put(agent.build().attempt("describe the agent")?).build(),
            TransactWriteItem::builder().put(token.build().attempt("describe the token")?).build(),
        ];
        match self.db.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) => Err(CreateError::TokenTaken),
            Err(error) => Err(error).attempt("put the agent").map_err(CreateError::Store),
        }
    }

    /// Replaces an agent and its tokens, if nobody changed it
    /// since `read`.
    pub async fn update(&self, read: &AgentRecord, record: &AgentRecord) -> Result<(), UpdateError> {
        let agent = self
            .put(agent_item(record)?)
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", item::number(read.revision));
        let mut writes =
            vec![TransactWriteItem::builder().put(agent.build().attempt("describe the agent")?).build()];
        let webhook = &record.webhook;
        let previous = webhook.previous.iter().map(|(hash, until)| (hash, Some(*until)));
        for (hash, until) in previous.chain([(&webhook.current, None)]) {
            let token = self
                .put(token_item(record, hash, until))
                .condition_expression(OWN_TOKEN)
                .expression_attribute_values(":agent", item::text(record.agent.id().to_string()));
            let token = token.build().attempt("describe the token")?;
            writes.push(TransactWriteItem::builder().put(token).build());
        }
        let now = record.updated_at;
        for hash in read.webhook.working_at(now).filter(|hash| !webhook.hashes().any(|kept| kept == *hash)) {
            writes.push(self.token_removal(hash, read.agent.id())?);
        }
        self.change(writes, "update the agent").await
    }

    /// Deletes an agent and its tokens, if nobody changed it since `read`.
    pub async fn delete(&self, read: &AgentRecord, now: Moment) -> Result<(), UpdateError> {
        let agent = self
            .removal(agent_key(read.agent.id()))
            .condition_expression("revision = :read")
            .expression_attribute_values(":read", item::number(read.revision));
        let mut writes =
            vec![TransactWriteItem::builder().delete(agent.build().attempt("describe the agent")?).build()];
        for hash in read.webhook.working_at(now) {
            writes.push(self.token_removal(hash, read.agent.id())?);
        }
        self.change(writes, "delete the agent").await
    }

    fn token_removal(&self, hash: &TokenHash, agent: AgentId) -> Result<TransactWriteItem, StoreError> {
        let token = self
            .removal(token_key(hash))
            .condition_expression(OWN_TOKEN)
            .expression_attribute_values(":agent", item::text(agent.to_string()))
            .build()
            .attempt("describe the token")?;
        Ok(TransactWriteItem::builder().delete(token).build())
    }

    async fn change(&self, writes: Vec<TransactWriteItem>, attempt: &'static str) -> Result<(), UpdateError> {
        let result = self.db.transact_write_items().set_transact_items(Some(writes)).send().await;
        self.by_token.clear();
        self.by_id.clear();
        match result {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) || met_another(&error) => Err(UpdateError::Conflict),
            Err(error) => Err(error).attempt(attempt).map_err(UpdateError::Store),
        }
    }

    pub(crate) async fn read(&self, key: String) -> Result<Option<Item>, StoreError> {
        let get = self.db.get_item().table_name(&self.table).key("id", item::text(key));
        let found = get.consistent_read(true).send().await.attempt("get the agent")?;
        Ok(found.item)
    }

    fn put(&self, item: Item) -> aws_sdk_dynamodb::types::builders::PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
    }

    fn removal(&self, key: String) -> aws_sdk_dynamodb::types::builders::DeleteBuilder {
        Delete::builder().table_name(&self.table).set_key(Some(item::key(key)))
    }
}

/// Whether a condition of the transaction failed, rather than the store.
fn condition_failed<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    was_cancelled_by(error, CONDITION_FAILED)
}

/// Whether another transaction on the same items was under way.
fn met_another<R>(error: &SdkError<TransactWriteItemsError, R>) -> bool {
    was_cancelled_by(error, MET_ANOTHER)
}

fn was_cancelled_by<R>(error: &SdkError<TransactWriteItemsError, R>, code: &str) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code))
        }
        _ => false,
    }
}
