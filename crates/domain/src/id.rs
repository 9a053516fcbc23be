//! Task and agent ids.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::{IdempotencyKey, Moment, Salt};

/// A task's id: a UUIDv7 (RFC 9562 section 5.7). Its timestamp is the task's creation time.
/// Its other 74 bits are the [`TaskKey`] under which the task is stored. Ids sort by creation
/// time, also as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Uuid);

/// The part of a task id by which the task is stored. It is random, or derived from the
/// caller's idempotency key so that the same key finds the same item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey([u8; 10]);

impl TaskId {
    pub fn new(at: Moment, key: TaskKey) -> Self {
        let mut bytes = [0; 16];
        let (time, rest) = bytes.split_at_mut(6);
        let millis = at.millis().to_be_bytes();
        time.copy_from_slice(millis.split_at(2).1);
        rest.copy_from_slice(&key.0);
        Self(Uuid::from_bytes(bytes))
    }

    /// Parses an id in its hyphenated form, in upper or lower case. `None` for any text that
    /// this product does not generate.
    pub fn parse(text: &str) -> Option<Self> {
        let uuid = Uuid::try_parse(text).ok()?;
        let ours = text.len() == 36
            && uuid.get_version_num() == 7
            && uuid.get_variant() == uuid::Variant::RFC4122;
        ours.then_some(Self(uuid))
    }

    /// A lower bound, as text, of the ids of all tasks created at `at` or later.
    pub fn floor(at: Moment) -> String {
        Uuid::from_u128(u128::from(at.millis()) << 80)
            .hyphenated()
            .to_string()
    }

    /// The last text that sorts before this id.
    pub fn preceding(self) -> String {
        Uuid::from_u128(self.0.as_u128().saturating_sub(1))
            .hyphenated()
            .to_string()
    }

    pub fn created_at(self) -> Moment {
        let mut millis = [0; 8];
        millis
            .split_at_mut(2)
            .1
            .copy_from_slice(self.0.as_bytes().split_at(6).0);
        Moment::from_millis(u64::from_be_bytes(millis))
    }

    pub fn key(self) -> TaskKey {
        let mut key = [0; 10];
        key.copy_from_slice(self.0.as_bytes().split_at(6).1);
        TaskKey(key)
    }
}

impl TaskKey {
    /// Index shards per agent. DynamoDB accepts 1,000 writes a second per index key, and an
    /// index that is full also limits writes to the table.
    pub const SHARDS: u8 = 4;

    /// From 80 random bits. Six of them are replaced by the UUID's version and variant.
    pub const fn random(entropy: [u8; 10]) -> Self {
        let mut key = entropy;
        key[0] = (key[0] & 0x0f) | 0x70;
        key[2] = (key[2] & 0x3f) | 0x80;
        Self(key)
    }

    /// The key for this agent and idempotency key. It is an HMAC under the agent's salt, so
    /// that a caller who knows the idempotency key cannot calculate the task's id.
    pub fn derived(salt: &Salt, key: &IdempotencyKey) -> Self {
        // HMAC takes keys of any length (RFC 2104 section 2).
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt.bytes()) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(key.as_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        let mut entropy = [0; 10];
        entropy.copy_from_slice(digest.split_at(10).0);
        Self::random(entropy)
    }

    /// The index shard of the task. Uniformly distributed, because the key is random.
    pub const fn shard(self) -> u8 {
        self.0[9] % Self::SHARDS
    }

    /// Parses the result of [`Self::as_hex`].
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = (text.len() == 20).then_some(text)?;
        let number = u128::from_str_radix(digits, 16).ok()?;
        let mut key = [0; 10];
        key.copy_from_slice(number.to_be_bytes().split_at(6).1);
        (Self::random(key) == Self(key)).then_some(Self(key))
    }

    /// The id attribute of the task's item: 20 hexadecimal digits.
    pub fn as_hex(self) -> String {
        crate::hex::hex(&self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An agent's id: a UUIDv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentId(Uuid);

impl AgentId {
    /// From 128 random bits.
    pub const fn random(entropy: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(entropy).into_uuid())
    }

    /// Parses an id in its hyphenated form, in upper or lower case.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36)
            .then(|| Uuid::try_parse(text).ok().map(Self))
            .flatten()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_task_id_contains_its_time_and_its_key(millis in 0_u64..1 << 48, entropy: [u8; 10]) {
            let id = TaskId::new(Moment::from_millis(millis), TaskKey::random(entropy));
            prop_assert_eq!(id.created_at().millis(), millis);
            prop_assert_eq!(id.key(), TaskKey::random(entropy));
            prop_assert_eq!(TaskKey::from_hex(&id.key().as_hex()), Some(id.key()));
            prop_assert_eq!(TaskId::parse(&id.to_string()), Some(id));
            prop_assert_eq!(TaskId::parse(&id.to_string().to_uppercase()), Some(id));
        }

        #[test]
        fn ids_and_their_texts_sort_by_creation(at in 1_u64..1 << 48, key: [u8; 10], other: [u8; 10]) {
            let id = TaskId::new(Moment::from_millis(at), TaskKey::random(key));
            let earlier = TaskId::new(Moment::from_millis(at - 1), TaskKey::random(other));
            prop_assert!(earlier < id && earlier.to_string() < id.to_string());
            prop_assert!(TaskId::floor(id.created_at()) <= id.preceding());
            prop_assert!(earlier.to_string() < TaskId::floor(id.created_at()));
            prop_assert!(id.preceding() < id.to_string());
            prop_assert!(id.key().shard() < TaskKey::SHARDS);
        }

        #[test]
        fn no_text_makes_the_id_parser_panic(text: String) {
            let _ = TaskId::parse(&text);
            let _ = AgentId::parse(&text);
        }
    }

    #[test]
    fn only_a_hyphenated_uuid_of_version_7_is_a_task_id() {
        for invalid in [
            "",
            "deduplicated",
            "051dc3fa-82c5-49a7-9d0e-24427aa4a6fb",
            "018f3f3e00007abc8def0123456789ab",
            "{018f3f3e-0000-7abc-8def-0123456789ab}",
            "urn:uuid:018f3f3e-0000-7abc-8def-0123456789ab",
        ] {
            assert_eq!(TaskId::parse(invalid), None, "{invalid}");
        }
        assert!(TaskId::parse("018f3f3e-0000-7abc-8def-0123456789ab").is_some());
    }

    #[test]
    fn a_derived_task_key_has_74_uniform_bits() {
        const KEYS: u32 = 20_000;
        let salt = Salt::new([1; 32]);
        let mut seen = std::collections::HashSet::new();
        let mut ones = [0_u32; 80];
        for n in 0..KEYS {
            let key = IdempotencyKey::parse([n.to_string().as_bytes()])
                .unwrap()
                .unwrap();
            let TaskKey(bytes) = TaskKey::derived(&salt, &key);
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
            }
            assert!(seen.insert(bytes), "{n} has the task key of another");
        }
        let (fixed, free): (Vec<u32>, Vec<u32>) =
            ones.iter().partition(|count| [0, KEYS].contains(count));
        assert_eq!(
            (fixed.len(), free.len()),
            (6, 74),
            "version and variant are fixed, and nothing else"
        );
        // 6 standard deviations (71 each): a fair bit is that far out once in 500 million.
        assert!(
            free.iter().all(|count| count.abs_diff(KEYS / 2) <= 425),
            "{free:?}"
        );
    }

    #[test]
    fn an_idempotency_key_has_one_task_key_per_agent() {
        let key = IdempotencyKey::parse([b"order-42".as_slice()])
            .unwrap()
            .unwrap();
        let other = IdempotencyKey::parse([b"order-43".as_slice()])
            .unwrap()
            .unwrap();
        let (ours, theirs) = (Salt::new([1; 32]), Salt::new([2; 32]));
        assert_eq!(TaskKey::derived(&ours, &key), TaskKey::derived(&ours, &key));
        assert_ne!(
            TaskKey::derived(&ours, &key),
            TaskKey::derived(&ours, &other)
        );
        assert_ne!(
            TaskKey::derived(&ours, &key),
            TaskKey::derived(&theirs, &key)
        );
    }
}
