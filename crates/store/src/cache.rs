//! A small cache of records that rarely change.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The maximum number of records. A full cache is emptied.
const CAPACITY: usize = 1024;

/// A cache whose values expire a fixed time after they were read.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    ttl: Duration,
    /// Uses the wall clock. The monotonic clock may stop while Lambda freezes the process,
    /// and a disabled agent would stay cached for longer than documented.
    entries: Mutex<HashMap<K, (SystemTime, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            entries: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = entries.get(key)?;
        read_at
            .elapsed()
            .is_ok_and(|age| age < self.ttl)
            .then(|| value.clone())
    }

    pub(crate) fn put(&self, key: K, value: V) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CAPACITY {
            entries.clear();
        }
        entries.insert(key, (SystemTime::now(), value));
    }

    /// Changes a cached value. It expires when it would have expired without the change.
    pub(crate) fn change(&self, key: &K, change: impl FnOnce(&mut V)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = entries.get_mut(key) {
            change(value);
        }
    }

    pub(crate) fn clear(&self) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
