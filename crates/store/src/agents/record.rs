//! Writes and parses the items of the agents table.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{Agent, AgentId, Catalogue, Definition, Moment, Provider, Salt, TokenHash};

use super::{StoredAgent, TokenRecord, Webhook};
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
    format!("agent#{id}")
}

pub(super) fn token_key(hash: &TokenHash) -> String {
    format!("token#{}", hash.as_str())
}

pub(super) fn agent_item(record: &StoredAgent) -> Result<Item, StoreError> {
    let definition = serde_json::to_vec(record.agent.definition()).attempt("serialize the agent")?;
    let webhook = &record.webhook;
    let previous = webhook
        .previous
        .iter()
        .map(|(hash, until)| {
            AttributeValue::M(Item::from([
                ("hash".to_owned(), item::text(hash.as_str())),
                ("until".to_owned(), item::moment(*until)),
            ]))
        })
        .collect();
    let mut fields = Item::from(
        [
            ("id", item::text(agent_key(record.agent.id()))),
            ("v", item::number(agent_version(record))),
            ("agent_id", item::text(record.agent.id().to_string())),
            ("draft", item::bytes(blob::pack(&definition))),
            ("salt", item::bytes(record.salt.bytes().as_slice())),
            ("webhook_version", item::number(webhook.version)),
            ("imported", AttributeValue::Bool(webhook.imported)),
            ("hash", item::text(webhook.current.as_str())),
            ("previous", AttributeValue::L(previous)),
            ("created_at", item::moment(record.created_at)),
            ("updated_at", item::moment(record.updated_at)),
            ("revision", item::number(record.revision)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if !record.catalogue.is_empty() {
        let catalogue = serde_json::to_vec(&record.catalogue).attempt("serialize the list of documents")?;
        fields.insert("catalogue".to_owned(), item::bytes(blob::pack(&catalogue)));
    }
    Ok(fields)
}

pub(super) fn agent_record(found: &Item) -> Result<StoredAgent, StoreError> {
    let reader = ItemReader(found).require_version(AGENT_VERSION)?;
    let json = blob::unpack(reader.bytes("draft")?).ok_or_else(|| reader.damaged("draft"))?;
    let definition: Definition = serde_json::from_slice(&json).map_err(|_| reader.damaged("draft"))?;
    Ok(StoredAgent {
        agent: Agent::from_stored(agent_id(reader)?, definition),
        salt: salt(reader)?,
        webhook: Webhook {
            version: reader.count("webhook_version")?,
            imported: reader.flag("imported")?,
            current: TokenHash::from_stored(reader.text("hash")?.to_owned()),
            previous: previous(reader)?,
        },
        catalogue: catalogue(reader)?,
        created_at: reader.moment("created_at")?,
        updated_at: reader.moment("updated_at")?,
        revision: reader.number("revision")?,
    })
}

fn catalogue(reader: ItemReader<'_>) -> Result<Catalogue, StoreError> {
    if !reader.0.contains_key("catalogue") {
        return Ok(Catalogue::default());
    }
    let json = blob::unpack(reader.bytes("catalogue")?).ok_or_else(|| reader.damaged("catalogue"))?;
    serde_json::from_slice(&json).map_err(|_| reader.damaged("catalogue"))
}

fn previous(reader: ItemReader<'_>) -> Result<Vec<(TokenHash, Moment)>, StoreError> {
    let list = reader.0.get("previous").and_then(|list| list.as_l().ok());
    let entries = list.ok_or_else(|| reader.damaged("previous"))?;
    entries
        .iter()
        .map(|entry| {
            let entry = ItemReader(entry.as_m().map_err(|_| reader.damaged("previous"))?);
            Ok((TokenHash::from_stored(entry.text("hash")?.to_owned()), entry.moment("until")?))
        })
        .collect()
}

pub(super) fn token_item(record: &StoredAgent, hash: &TokenHash, until: Option<Moment>) -> Item {
    let mut item = Item::from(
        [
            ("id", item::text(token_key(hash))),
            ("v", item::number(TOKEN_VERSION)),
            ("hash", item::text(hash.as_str())),
            ("agent_id", item::text(record.agent.id().to_string())),
            ("salt", item::bytes(record.salt.bytes().as_slice())),
            ("enabled", AttributeValue::Bool(record.agent.definition().enabled)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(limit) = record.agent.definition().limits.triggers_per_minute {
        item.insert("triggers_per_minute".to_owned(), item::number(limit));
    }
    if let Some(until) = until {
        item.insert("until".to_owned(), item::moment(until));
        item.insert("expires_at".to_owned(), item::number(until.ttl_seconds()));
    }
    item
}

pub(super) fn token_record(reader: ItemReader<'_>) -> Result<TokenRecord, StoreError> {
    let reader = reader.require_version(TOKEN_VERSION)?;
    Ok(TokenRecord {
        agent_id: agent_id(reader)?,
        salt: salt(reader)?,
        enabled: reader.flag("enabled")?,
        until: reader.optional_moment("until")?,
        triggers_per_minute: match reader.0.contains_key("triggers_per_minute") {
            true => Some(reader.count("triggers_per_minute")?),
            false => None,
        },
    })
}

fn agent_id(reader: ItemReader<'_>) -> Result<AgentId, StoreError> {
    AgentId::parse(reader.text("agent_id")?).ok_or_else(|| reader.damaged("agent_id"))
}

fn salt(reader: ItemReader<'_>) -> Result<Salt, StoreError> {
    let bytes = reader.bytes("salt")?.try_into();
    bytes.map(Salt::new).map_err(|_| reader.damaged("salt"))
}
