//! When which entries of a map are to be dropped.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use crate::Time;

/// The entries that have a deadline, also in the order of those.
pub(super) struct Deadlines<K, S> {
    by_key: HashMap<K, (Time, u64), S>,
    by_time: BTreeMap<(Time, u64), K>,
    /// Distinguishes deadlines at one time. A replica made of a snapshot counts from its beginning: only the order
    /// matters.
    next: u64,
}

impl<K, S> Deadlines<K, S> {
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// In the order in which they are dropped.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Time, &K)> {
        self.by_time.iter().map(|((time, _), key)| (*time, key))
    }

    pub(super) fn first(&self) -> Option<Time> {
        self.iter().next().map(|(time, _)| time)
    }
}

impl<K: Eq + Hash, S: BuildHasher> Deadlines<K, S> {
    pub(super) fn of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Time>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).map(|(time, _)| *time)
    }
}

impl<K: Clone + Eq + Hash, S: BuildHasher> Deadlines<K, S> {
    pub(super) fn set(&mut self, key: &K, deadline: Option<Time>) {
        if !self.by_key.is_empty()
            && let Some(at) = self.by_key.remove(key)
        {
            self.by_time.remove(&at);
        }
        if let Some(time) = deadline {
            let at = (time, self.next);
            self.next += 1;
            self.by_key.insert(key.clone(), at);
            self.by_time.insert(at, key.clone());
        }
    }

    /// Takes out the first deadline, if it is not after that time.
    pub(super) fn pop(&mut self, up_to: Time) -> Option<K> {
        self.first().filter(|time| *time <= up_to)?;
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

impl<K, S: Default> Default for Deadlines<K, S> {
    fn default() -> Self {
        Self { by_key: HashMap::default(), by_time: BTreeMap::new(), next: 0 }
    }
}
