//! The random bytes of an agent.

use std::fmt;

/// Random bytes of an agent. Task keys are derived from them and from idempotency keys.
#[derive(Clone)]
pub struct Salt([u8; 32]);

impl Salt {
    /// From 256 random bits.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As stored in a record.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
    }
}
