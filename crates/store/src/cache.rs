//! A small cache of records that rarely change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Most records kept; reaching it empties the cache.
const CAPACITY: usize = 1024;

/// Values remembered for a fixed time after they were read.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    keep_for: Duration,
    /// By the wall clock: the monotonic one may stand still while Lambda freezes the
    /// process, and a disabled agent would be remembered for longer than promised.
    entries: Mutex<HashMap<K, (SystemTime, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(keep_for: Duration) -> Self {
        Self { keep_for, entries: Mutex::default() }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = entries.get(key)?;
        read_at.elapsed().is_ok_and(|age| age < self.keep_for).then(|| value.clone())
    }

    pub(crate) fn put(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, (SystemTime::now(), value));
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
