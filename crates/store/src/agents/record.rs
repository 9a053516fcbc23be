//! Writes and parses the items of the agents table.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{Agent, AgentId, Catalogue, Definition, Moment, Provider, Salt, TokenHash};

use super::attributes::{
    AGENT_ID, AGENT_PREFIX, CATALOGUE, CREATED_AT, DRAFT, ENABLED, EXPIRES_AT, HASH, ID, IMPORTED,
    PREVIOUS, REFUSED_BY, REFUSED_PARTS, REVISION, SALT, TOKEN_PREFIX, TRIGGERS_PER_MINUTE, UNTIL,
    UPDATED_AT, VERSION, WEBHOOK_VERSION,
};
use super::stored_agent::{Refused, StoredAgent, TokenRecord, Webhook};
use crate::error::StoreAttempt;
use crate::item::{self, Item, ItemReader};
use crate::{StoreError, blob};

/// The newest version of an agent's record that this release can read.
const AGENT_VERSION: u64 = 2;
/// The newest version of a token's record that this release can read. Release 0.1.0
/// ignores `triggers_per_minute`, which was added later.
const TOKEN_VERSION: u64 = 1;

/// Returns the record version for an agent. It is 2 for settings that release 0.1.0 cannot
/// parse, would ignore (tools) or would delete at the next update (documents). All other
/// agents are stored as version 1, which 0.1.0 can read.
fn agent_version(record: &StoredAgent) -> u64 {
    let definition = record.agent.definition();
    let limits = &definition.limits;
    let known_limits = limits.max_concurrent_runs.is_none()
        && limits.triggers_per_minute.is_none()
        && limits.has_default_tokens();
    let known_model = definition.model.as_ref().is_none_or(|model| {
        matches!(model.provider, Provider::Openai | Provider::Extractive) && model.price.is_none()
    });
    let is_known = known_limits
        && known_model
        && definition.output_schema.is_none()
        && definition.tools.is_empty()
        && record.catalogue.is_empty();
    if is_known { 1 } else { AGENT_VERSION }
}

pub(super) fn agent_key(id: AgentId) -> String {
    format!("{AGENT_PREFIX}{id}")
}

pub(super) fn token_key(hash: &TokenHash) -> String {
    format!("{TOKEN_PREFIX}{}", hash.as_str())
}

pub(super) fn agent_item(record: &StoredAgent) -> Result<Item, StoreError> {
    let definition =
        serde_json::to_vec(record.agent.definition()).attempt("serialize the agent")?;
    let webhook = &record.webhook;
    let previous = webhook
        .previous
        .iter()
        .map(|(hash, until)| {
            AttributeValue::M(Item::from([
                (HASH.to_owned(), item::text(hash.as_str())),
                (UNTIL.to_owned(), item::moment(*until)),
            ]))
        })
        .collect();
    let mut fields = Item::from(
        [
            (ID, item::text(agent_key(record.agent.id()))),
            (VERSION, item::number(agent_version(record))),
            (AGENT_ID, item::text(record.agent.id().to_string())),
            (DRAFT, item::bytes(blob::pack(&definition))),
            (SALT, item::bytes(record.salt.bytes().as_slice())),
            (WEBHOOK_VERSION, item::number(webhook.version)),
            (IMPORTED, AttributeValue::Bool(webhook.imported)),
            (HASH, item::text(webhook.current.as_str())),
            (PREVIOUS, AttributeValue::L(previous)),
            (CREATED_AT, item::moment(record.created_at)),
            (UPDATED_AT, item::moment(record.updated_at)),
            (REVISION, item::number(record.revision)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if !record.catalogue.is_empty() {
        let catalogue =
            serde_json::to_vec(&record.catalogue).attempt("serialize the list of documents")?;
        fields.insert(CATALOGUE.to_owned(), item::bytes(blob::pack(&catalogue)));
    }
    if !record.refused.parts.is_empty() {
        fields.extend(refused_fields(&record.refused));
    }
    Ok(fields)
}

pub(super) fn refused_fields(refused: &Refused) -> [(String, AttributeValue); 2] {
    [
        (REFUSED_BY.to_owned(), item::text(refused.by.as_str())),
        (
            REFUSED_PARTS.to_owned(),
            AttributeValue::Ss(refused.names()),
        ),
    ]
}

fn refused(reader: ItemReader<'_>) -> Refused {
    let by = reader.0.get(REFUSED_BY).and_then(|by| by.as_s().ok());
    let names = reader
        .0
        .get(REFUSED_PARTS)
        .and_then(|names| names.as_ss().ok());
    match (by, names) {
        (Some(by), Some(names)) => Refused::from_names(by.clone(), names),
        _ => Refused::default(),
    }
}

pub(super) fn agent_record(found: &Item) -> Result<StoredAgent, StoreError> {
    let reader = ItemReader(found).require_version(AGENT_VERSION)?;
    let json = blob::unpack(reader.bytes(DRAFT)?).ok_or_else(|| reader.damaged(DRAFT))?;
    let definition: Definition =
        serde_json::from_slice(&json).map_err(|_| reader.damaged(DRAFT))?;
    Ok(StoredAgent {
        agent: Agent::from_stored(agent_id(reader)?, definition),
        salt: salt(reader)?,
        webhook: Webhook {
            version: reader.count(WEBHOOK_VERSION)?,
            imported: reader.flag(IMPORTED)?,
            current: TokenHash::from_stored(reader.text(HASH)?.to_owned()),
            previous: previous(reader)?,
        },
        catalogue: catalogue(reader)?,
        created_at: reader.moment(CREATED_AT)?,
        updated_at: reader.moment(UPDATED_AT)?,
        revision: reader.number(REVISION)?,
        refused: refused(reader),
    })
}

fn catalogue(reader: ItemReader<'_>) -> Result<Catalogue, StoreError> {
    if !reader.0.contains_key(CATALOGUE) {
        return Ok(Catalogue::default());
    }
    let json = blob::unpack(reader.bytes(CATALOGUE)?).ok_or_else(|| reader.damaged(CATALOGUE))?;
    serde_json::from_slice(&json).map_err(|_| reader.damaged(CATALOGUE))
}

fn previous(reader: ItemReader<'_>) -> Result<Vec<(TokenHash, Moment)>, StoreError> {
    let list = reader.0.get(PREVIOUS).and_then(|list| list.as_l().ok());
    let entries = list.ok_or_else(|| reader.damaged(PREVIOUS))?;
    entries
        .iter()
        .map(|entry| {
            let entry = ItemReader(entry.as_m().map_err(|_| reader.damaged(PREVIOUS))?);
            Ok((
                TokenHash::from_stored(entry.text(HASH)?.to_owned()),
                entry.moment(UNTIL)?,
            ))
        })
        .collect()
}

pub(super) fn token_item(record: &StoredAgent, hash: &TokenHash, until: Option<Moment>) -> Item {
    let mut item = Item::from(
        [
            (ID, item::text(token_key(hash))),
            (VERSION, item::number(TOKEN_VERSION)),
            (HASH, item::text(hash.as_str())),
            (AGENT_ID, item::text(record.agent.id().to_string())),
            (SALT, item::bytes(record.salt.bytes().as_slice())),
            (
                ENABLED,
                AttributeValue::Bool(record.agent.definition().enabled),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(limit) = record.agent.definition().limits.triggers_per_minute {
        item.insert(TRIGGERS_PER_MINUTE.to_owned(), item::number(limit));
    }
    if let Some(until) = until {
        item.insert(UNTIL.to_owned(), item::moment(until));
        item.insert(EXPIRES_AT.to_owned(), item::number(until.ttl_seconds()));
    }
    item
}

pub(super) fn token_record(reader: ItemReader<'_>) -> Result<TokenRecord, StoreError> {
    let reader = reader.require_version(TOKEN_VERSION)?;
    Ok(TokenRecord {
        agent_id: agent_id(reader)?,
        salt: salt(reader)?,
        enabled: reader.flag(ENABLED)?,
        until: reader.optional_moment(UNTIL)?,
        triggers_per_minute: match reader.0.contains_key(TRIGGERS_PER_MINUTE) {
            true => Some(reader.count(TRIGGERS_PER_MINUTE)?),
            false => None,
        },
    })
}

fn agent_id(reader: ItemReader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text(AGENT_ID)?).ok_or_else(|| reader.damaged(AGENT_ID))
}

fn salt(reader: ItemReader<'_>) -> Result<Salt, StoreError> {
    let bytes = reader.bytes(SALT)?.try_into();
    bytes.map(Salt::new).map_err(|_| reader.damaged(SALT))
}
