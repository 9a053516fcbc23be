//! The attributes and keys of the agents table. Attributes of every table are in `item.rs`.

pub(super) use crate::item::{EXPIRES_AT, ID, VERSION};

/// The keys of the items, each followed by an agent's id, a token's hash or a secret's name.
pub(super) const AGENT_PREFIX: &str = "agent#";
pub(super) const TOKEN_PREFIX: &str = "token#";
pub(super) const SECRET_PREFIX: &str = "secret#";

// An agent.
pub(super) const AGENT_ID: &str = "agent_id";
/// The definition as JSON.
pub(super) const DRAFT: &str = "draft";
pub(super) const SALT: &str = "salt";
pub(super) const WEBHOOK_VERSION: &str = "webhook_version";
pub(super) const IMPORTED: &str = "imported";
pub(super) const CATALOGUE: &str = "catalogue";
pub(super) const HASH: &str = "hash";
/// A list of maps with [`HASH`] and [`UNTIL`].
pub(super) const PREVIOUS: &str = "previous";
pub(super) const CREATED_AT: &str = "created_at";
pub(super) const UPDATED_AT: &str = "updated_at";
/// What the model's server has refused: a set of names, and which model and schema it was.
pub(super) const REFUSED_PARTS: &str = "refused_parts";
pub(super) const REFUSED_BY: &str = "refused_by";

// A token has `agent_id`, `salt` and `hash` too.
pub(super) const ENABLED: &str = "enabled";
pub(super) const UNTIL: &str = "until";
pub(super) const TRIGGERS_PER_MINUTE: &str = "triggers_per_minute";

/// The name of a stored secret.
pub(super) const NAME: &str = "name";

/// Counts the updates of an agent, or of a page of the audit log.
pub(crate) const REVISION: &str = "revision";

// A page of the audit log.
pub(crate) const PAGE: &str = "page";
pub(crate) const ENTRIES: &str = "entries";

/// Demands that the item does not exist.
pub(crate) fn absent_condition() -> String {
    format!("attribute_not_exists({ID})")
}

/// Demands that no other request has written the item since its revision `:read`.
pub(crate) fn unchanged_condition() -> String {
    format!("{REVISION} = :read")
}

/// Demands that the token is not one of an agent other than `:agent`. Another agent may have
/// imported a token since it expired here.
pub(super) fn own_token_condition() -> String {
    format!("{} OR {AGENT_ID} = :agent", absent_condition())
}
