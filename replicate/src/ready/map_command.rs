//! What is asked of a map, and why it is refused.

use std::error::Error;
use std::fmt;
use std::slice;

use super::map::Map;
use super::plan::Effect;
use crate::Time;

/// A change of a [`Map`].
///
/// ```
/// use multikernel_replicate::ready::{Map, MapCommand};
///
/// let swap: MapCommand<u32, &str> = Map::batch([Map::remove(1), Map::insert(2, "two")]);
/// assert_eq!(swap, Map::batch([Map::remove(1), Map::batch([Map::insert(2, "two")])]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapCommand<K, V>(pub(super) What<K, V>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What<K, V> {
    /// One step, without an allocation.
    One(Op<K, V>),
    Batch(Vec<Op<K, V>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op<K, V> {
    Insert { key: K, value: V, deadline: Option<Time>, only_if_absent: bool },
    Remove { key: K },
    Expire { up_to: Time },
}

/// Why a [`Map`] does not accept a command.
///
/// ```
/// use multikernel_replicate::ready::MapRefusal;
///
/// assert_eq!(MapRefusal::<u32>::Full { limit: 8 }.to_string(), "the map has a limit of 8 entries");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapRefusal<K> {
    /// A key is there that should be absent.
    Present {
        /// The first such key of the command.
        key: K,
    },
    /// There would be too many entries.
    Full {
        /// How many there may be.
        limit: usize,
    },
}

impl<K, V> Map<K, V> {
    /// Puts an entry in, over one that is there. The entry has no deadline, whatever the old one had.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, "one"));
    /// map.commit(&Map::insert(1, "uno"));
    /// assert_eq!(map.get(&1), Some(&"uno"));
    /// ```
    #[must_use]
    pub const fn insert(key: K, value: V) -> MapCommand<K, V> {
        MapCommand::put(key, value, None, false)
    }

    /// Puts an entry in that is dropped some time after the deadline, by the clock of the home.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    /// use multikernel_replicate::{StateMachine, Time};
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert_until("key", 1, Time(50)));
    /// assert_eq!((map.next_due(), map.on_due(Time(49))), (Some(Time(50)), None));
    /// let expiry = map.on_due(Time(50)).unwrap();
    /// assert_eq!(map.get("key"), Some(&1), "what the home proposes has to commit first");
    /// map.commit(&expiry);
    /// assert_eq!((map.get("key"), map.next_due()), (None, None));
    /// ```
    #[must_use]
    pub const fn insert_until(key: K, value: V, deadline: Time) -> MapCommand<K, V> {
        MapCommand::put(key, value, Some(deadline), false)
    }

    /// Puts an entry in, or is refused if the key is there.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert_if_absent(1, "one"));
    /// assert!(map.prepare(&Map::insert_if_absent(1, "uno")).is_err());
    /// ```
    #[must_use]
    pub const fn insert_if_absent(key: K, value: V) -> MapCommand<K, V> {
        MapCommand::put(key, value, None, true)
    }

    /// Puts an entry in that is dropped some time after the deadline, or is refused if the key is there. An entry that is late but
    /// not yet dropped is there.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    /// use multikernel_replicate::{StateMachine, Time};
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert_if_absent_until(1, "one", Time(50)));
    /// assert_eq!(map.deadline(&1), Some(Time(50)));
    /// assert!(map.prepare(&Map::insert_if_absent_until(1, "uno", Time(60))).is_err());
    /// ```
    #[must_use]
    pub const fn insert_if_absent_until(key: K, value: V, deadline: Time) -> MapCommand<K, V> {
        MapCommand::put(key, value, Some(deadline), true)
    }

    /// Takes an entry out, if it is there.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, "one"));
    /// map.commit(&Map::remove(1));
    /// assert_eq!(map.get(&1), None);
    /// ```
    #[must_use]
    pub const fn remove(key: K) -> MapCommand<K, V> {
        MapCommand(What::One(Op::Remove { key }))
    }

    /// Drops all entries whose deadline is not after that time. The home proposes this by itself.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    /// use multikernel_replicate::{StateMachine, Time};
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert_until(1, "one", Time(50)));
    /// map.commit(&Map::insert_until(2, "two", Time(60)));
    /// map.commit(&Map::expire(Time(50)));
    /// assert!(!map.contains_key(&1) && map.contains_key(&2));
    /// ```
    #[must_use]
    pub const fn expire(up_to: Time) -> MapCommand<K, V> {
        MapCommand(What::One(Op::Expire { up_to }))
    }

    /// All of these one after the other as one command: if one of them is refused, none is done, on any core. An expiry among them
    /// makes no room for those behind it.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, "one"));
    /// let both = Map::batch([Map::insert(2, "two"), Map::insert_if_absent(1, "uno")]);
    /// assert!(map.prepare(&both).is_err(), "so there is no two either");
    /// assert_eq!(map.len(), 1);
    /// ```
    #[must_use]
    pub fn batch(commands: impl IntoIterator<Item = MapCommand<K, V>>) -> MapCommand<K, V> {
        let mut ops = Vec::new();
        for command in commands {
            match command.0 {
                What::One(op) => ops.push(op),
                What::Batch(more) => ops.extend(more),
            }
        }
        MapCommand(What::Batch(ops))
    }
}

impl<K, V> MapCommand<K, V> {
    const fn put(key: K, value: V, deadline: Option<Time>, only_if_absent: bool) -> Self {
        Self(What::One(Op::Insert { key, value, deadline, only_if_absent }))
    }

    pub(super) fn ops(&self) -> &[Op<K, V>] {
        match &self.0 {
            What::One(op) => slice::from_ref(op),
            What::Batch(ops) => ops,
        }
    }

    /// How many steps it has in a plan.
    pub(super) fn steps(&self) -> usize {
        self.ops().iter().filter(|op| op.effect().is_some()).count()
    }
}

impl<K, V> Op<K, V> {
    /// What it does to which key. An expiry is not about keys.
    pub(super) const fn effect(&self) -> Option<(&K, Effect)> {
        match self {
            Self::Insert { key, only_if_absent: true, .. } => Some((key, Effect::PutIfAbsent)),
            Self::Insert { key, .. } => Some((key, Effect::Put)),
            Self::Remove { key } => Some((key, Effect::Remove)),
            Self::Expire { .. } => None,
        }
    }
}

impl<K: fmt::Debug> fmt::Display for MapRefusal<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present { key } => write!(f, "the key {key:?} is there"),
            Self::Full { limit } => write!(f, "the map has a limit of {limit} entries"),
        }
    }
}

impl<K: fmt::Debug> Error for MapRefusal<K> {}
