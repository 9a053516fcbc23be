//! An agent as it is stored, with its webhook, and what a trigger reads of it.

use domain::agent::{ModelConfig, RefusedParts, RequestPart};
use domain::{Agent, AgentId, Catalogue, Moment, Salt, TokenHash};
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct StoredAgent {
    pub agent: Agent,
    /// Task keys are hashes of this salt and the caller's idempotency key.
    pub salt: Salt,
    pub webhook: Webhook,
    /// The list of its documents.
    pub catalogue: Catalogue,
    pub created_at: Moment,
    pub updated_at: Moment,
    /// Counts updates, so that concurrent updates cannot overwrite each other.
    pub revision: u64,
    /// What its model's server does not accept.
    pub refused: Refused,
}

/// What the server of a model has refused in earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Which model and schema it was ([`domain::agent::ModelConfig::fingerprint`]).
    pub by: String,
    pub parts: RefusedParts,
}

impl Refused {
    /// The parts that this model has refused with this schema of answers.
    pub fn parts_of(&self, model: &ModelConfig, schema: Option<&Value>) -> RefusedParts {
        match !self.parts.is_empty() && self.by == model.fingerprint(schema) {
            true => self.parts.clone(),
            false => RefusedParts::new(),
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.parts
            .iter()
            .map(|part| part.as_str().to_owned())
            .collect()
    }

    /// Ignores names of a later release.
    pub(super) fn from_names(by: String, names: &[String]) -> Self {
        let parts = names.iter().filter_map(|name| RequestPart::parse(name));
        Self {
            by,
            parts: parts.collect(),
        }
    }
}

/// The tokens of an agent's webhook.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Counts rotations; a derived token depends on it.
    pub version: u32,
    /// The token was imported from another system, so it cannot be derived.
    pub imported: bool,
    pub current: TokenHash,
    /// Earlier tokens, each with the time until which it is valid.
    pub previous: Vec<(TokenHash, Moment)>,
}

impl Webhook {
    /// Excludes expired tokens, because another agent may have imported one since.
    pub(super) fn valid_at(&self, now: Moment) -> impl Iterator<Item = &TokenHash> {
        let previous = self.previous.iter().filter(move |(_, until)| now < *until);
        previous.map(|(hash, _)| hash).chain([&self.current])
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &TokenHash> {
        self.previous
            .iter()
            .map(|(hash, _)| hash)
            .chain([&self.current])
    }
}

/// What a trigger needs to know about a token.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    pub agent_id: AgentId,
    /// Task keys are hashes of this salt and the caller's idempotency key.
    pub salt: Salt,
    /// Whether the agent accepts triggers.
    pub enabled: bool,
    /// When a rotated token expires.
    pub until: Option<Moment>,
    /// `None` means no limit.
    pub triggers_per_minute: Option<u32>,
}

impl TokenRecord {
    pub(super) fn is_valid_at(&self, now: Moment) -> bool {
        self.enabled && self.until.is_none_or(|until| now < until)
    }
}
