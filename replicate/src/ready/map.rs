//! A map.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::{self, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::mem;

use super::deadlines::Deadlines;
use super::map_command::{MapCommand, MapRefusal, Op};
use super::plan::{Effect, Plan};
use crate::{StateMachine, Time};

/// A map with a replica on every core. A lookup is that of the [`HashMap`] of the standard library, and nothing else.
///
/// For that, keys and values lie in the table of each replica, and a command is cloned into each. What is dear to clone belongs
/// into an [`Arc`](std::sync::Arc), at the price of one more cache line per lookup.
///
/// # Entries with a deadline
///
/// The home proposes an expiry when the first deadline has passed. All replicas drop the same entries when that commits, at one
/// version. So an entry may still be read for a time after its deadline, and it is never gone on one core and there on another
/// that is as far.
///
/// # Refusals
///
/// [`insert_if_absent`](Map::insert_if_absent) is refused where the key is there, or will be if what is undecided commits. A map
/// [with a limit](Map::with_capacity_limit) refuses what would be one entry too many. Such a command fails on every core or on none.
/// An insert that is announced comes to nothing where it might take the room or the key of a proposal in the same round.
///
/// ```
/// use multikernel_replicate::StateMachine;
/// use multikernel_replicate::ready::{Map, MapRefusal};
///
/// let mut map = Map::new();
/// let (ada, bob) = (Map::insert_if_absent("desk", "ada"), Map::insert_if_absent("desk", "bob"));
/// map.prepare(&ada).unwrap();
/// assert_eq!(map.get("desk"), None, "readers see what is committed");
/// assert_eq!(map.prepare(&bob), Err(MapRefusal::Present { key: "desk" }));
/// map.commit(&ada);
/// assert_eq!(map.get("desk"), Some(&"ada"));
/// ```
pub struct Map<K, V, S = RandomState> {
    entries: HashMap<K, V, S>,
    deadlines: Deadlines<K, S>,
    plan: Plan<K>,
    limit: Option<usize>,
    version: u64,
}

/// A [`Map`] as a core that joins gets it.
///
/// ```
/// use multikernel_replicate::StateMachine;
/// use multikernel_replicate::ready::Map;
///
/// let map: Map<u32, u32> = Map::with_capacity_limit(8);
/// let joined = Map::<u32, u32>::restore(&map.snapshot()).unwrap();
/// assert_eq!(joined.limit(), Some(8));
/// ```
#[derive(Clone, Debug)]
pub struct MapSnapshot<K, V> {
    entries: Vec<(K, V)>,
    deadlines: Vec<(Time, K)>,
    limit: Option<usize>,
    version: u64,
}

/// The entries of a [`Map`], in an order that differs from core to core.
///
/// ```
/// use multikernel_replicate::ready::Map;
///
/// let map: Map<u32, u32> = Map::new();
/// assert_eq!(map.iter().len(), 0);
/// ```
pub type Iter<'a, K, V> = hash_map::Iter<'a, K, V>;

impl<K, V> Map<K, V> {
    /// An empty map.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    ///
    /// assert!(Map::<u32, u32>::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty map that refuses to have more entries than that.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::{Map, MapRefusal};
    ///
    /// let mut map = Map::with_capacity_limit(1);
    /// map.prepare(&Map::insert(1, "one")).unwrap();
    /// assert_eq!(map.prepare(&Map::insert(2, "two")), Err(MapRefusal::Full { limit: 1 }));
    /// ```
    #[must_use]
    pub fn with_capacity_limit(limit: usize) -> Self {
        Self::default().limited_to(limit)
    }
}

impl<K, V, S> Map<K, V, S> {
    /// The same map, refusing to have more entries than that. For maps with a hasher of their own, which begin as
    /// [`default`](Default::default).
    ///
    /// ```
    /// use std::hash::{BuildHasherDefault, DefaultHasher};
    ///
    /// use multikernel_replicate::ready::Map;
    ///
    /// type Fixed = BuildHasherDefault<DefaultHasher>;
    /// let map = Map::<u32, u32, Fixed>::default().limited_to(8);
    /// assert_eq!(map.limit(), Some(8));
    /// ```
    #[must_use]
    pub fn limited_to(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// How many entries there may be.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    ///
    /// assert_eq!(Map::<u32, u32>::new().limit(), None);
    /// ```
    #[must_use]
    pub const fn limit(&self) -> Option<usize> {
        self.limit
    }

    /// How many entries there are.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, "one"));
    /// assert_eq!(map.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// assert!(map.is_empty());
    /// map.commit(&Map::insert(1, "one"));
    /// assert!(!map.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many commands have been applied. The same on every core; it is not the version of the Machine.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, "one"));
    /// map.commit(&Map::remove(1));
    /// assert_eq!(map.version(), 2);
    /// ```
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The entries, in an order that differs from core to core. What is to be the same everywhere must not depend on it.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert(1, 10));
    /// map.commit(&Map::insert(2, 20));
    /// assert_eq!(map.iter().map(|(key, value)| key + value).sum::<i32>(), 33); // whatever the order
    /// ```
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.entries.iter()
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Map<K, V, S> {
    /// The value of a key.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert("one".to_owned(), 1));
    /// assert_eq!(map.get("one"), Some(&1));
    /// ```
    #[must_use]
    #[inline]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// Whether a key is there.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Map;
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert("one".to_owned(), 1));
    /// assert!(map.contains_key("one"));
    /// ```
    #[must_use]
    #[inline]
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.entries.contains_key(key)
    }

    /// The deadline of an entry, if it has one.
    ///
    /// ```
    /// use multikernel_replicate::ready::Map;
    /// use multikernel_replicate::{StateMachine, Time};
    ///
    /// let mut map = Map::new();
    /// map.commit(&Map::insert_until("a", 1, Time(50)));
    /// map.commit(&Map::insert("b", 2));
    /// assert_eq!((map.deadline("a"), map.deadline("b")), (Some(Time(50)), None));
    /// ```
    #[must_use]
    pub fn deadline<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Time>
    where
        K: Borrow<Q>,
    {
        self.deadlines.of(key)
    }
}

impl<K: Clone + Eq + Hash, V: Clone, S: BuildHasher> Map<K, V, S> {
    /// Adds a step to the plan, or refuses it. Counts with all steps of the plan: they commit, if this one does. An expiry is
    /// left out, which can only make room.
    fn plan_op(&mut self, op: &Op<K, V>) -> Result<(), MapRefusal<K>> {
        let Some((key, effect)) = op.effect() else { return Ok(()) };
        let hash = self.entries.hasher().hash_one(key);
        // Where nothing depends on it, nobody looks.
        let matters = self.limit.is_some() || effect == Effect::PutIfAbsent;
        let was_there =
            matters && self.plan.fate(hash, key).unwrap_or_else(|| self.entries.contains_key(key));
        if was_there && effect == Effect::PutIfAbsent {
            return Err(MapRefusal::Present { key: key.clone() });
        }
        let is_there = effect != Effect::Remove;
        if let Some(limit) = self.limit
            && is_there
            && !was_there
            && self.entries.len().saturating_add_signed(self.plan.growth()) >= limit
        {
            return Err(MapRefusal::Full { limit });
        }
        let growth = if matters { isize::from(is_there) - isize::from(was_there) } else { 0 };
        self.plan.add(hash, key.clone(), effect, growth);
        Ok(())
    }

    fn plan(&mut self, command: &MapCommand<K, V>) -> Result<(), MapRefusal<K>> {
        self.plan.forget();
        let planned = command.ops().iter().try_for_each(|op| self.plan_op(op));
        if planned.is_ok() {
            self.plan.keep();
        }
        planned
    }

    /// Whether a command can be done now, before what is undecided and without harm to that.
    fn can_precede(&mut self, command: &MapCommand<K, V>) -> bool {
        // What a refused or panicking prepare has left here is not there on other cores.
        self.plan.forget();
        let undecided = mem::take(&mut self.plan);
        let can_be_done = self.plan(command).is_ok();
        self.plan = undecided;
        if !can_be_done || self.plan.len() == 0 {
            return can_be_done;
        }
        let puts = || {
            let effects = command.ops().iter().filter_map(Op::effect);
            effects.filter(|(_, effect)| *effect != Effect::Remove).map(|(key, _)| key)
        };
        // Each undecided step may need room of its own.
        let needed = self.entries.len() + self.plan.len() + puts().count();
        let has_room = puts().next().is_none() || self.limit.is_none_or(|limit| needed <= limit);
        let hash = |key| self.entries.hasher().hash_one(key);
        has_room && !puts().any(|key| self.plan.relies_on(hash(key), key))
    }

    fn apply(&mut self, op: &Op<K, V>) {
        match op {
            Op::Insert { key, value, deadline, .. } => {
                self.entries.insert(key.clone(), value.clone());
                self.deadlines.set(key, *deadline);
            }
            Op::Remove { key } => {
                self.entries.remove(key);
                self.deadlines.set(key, None);
            }
            Op::Expire { up_to } => {
                while let Some(key) = self.deadlines.pop(*up_to) {
                    self.entries.remove(&key);
                }
            }
        }
    }
}

impl<K, V, S> StateMachine for Map<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Default + 'static,
{
    type Command = MapCommand<K, V>;
    type Refusal = MapRefusal<K>;
    type Snapshot = MapSnapshot<K, V>;
    const VETO: bool = false;

    fn prepare(&mut self, command: &MapCommand<K, V>) -> Result<(), MapRefusal<K>> {
        self.plan(command)
    }

    fn commit(&mut self, command: &MapCommand<K, V>) {
        self.plan.decide(command.steps());
        command.ops().iter().for_each(|op| self.apply(op));
        self.version += 1;
    }

    fn commit_announced(&mut self, command: &MapCommand<K, V>) {
        if self.can_precede(command) {
            command.ops().iter().for_each(|op| self.apply(op));
            self.version += 1;
        }
    }

    fn abort(&mut self, command: &MapCommand<K, V>) {
        self.plan.undo(command.steps());
    }

    fn snapshot(&self) -> MapSnapshot<K, V> {
        MapSnapshot {
            entries: self.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            deadlines: self.deadlines.iter().map(|(time, key)| (time, key.clone())).collect(),
            limit: self.limit,
            version: self.version,
        }
    }

    fn restore(snapshot: &MapSnapshot<K, V>) -> Result<Self, MapRefusal<K>> {
        let mut map = Self { limit: snapshot.limit, version: snapshot.version, ..Self::default() };
        map.entries.extend(snapshot.entries.iter().cloned());
        for (time, key) in &snapshot.deadlines {
            map.deadlines.set(key, Some(*time));
        }
        Ok(map)
    }

    fn digest(&self) -> Option<u64> {
        let first = self.deadlines.first().map_or(0, |time| time.0);
        let parts = [self.entries.len() as u64, self.deadlines.len() as u64, first, self.version];
        Some(
            parts
                .into_iter()
                .fold(0, |sum, part| (sum ^ part).wrapping_mul(0x0100_0000_01b3).rotate_left(29)),
        )
    }

    fn next_due(&self) -> Option<Time> {
        self.deadlines.first()
    }

    fn on_due(&self, now: Time) -> Option<MapCommand<K, V>> {
        self.deadlines.first().filter(|time| *time <= now).map(|_| Map::expire(now))
    }
}

impl<K, V, S: Default> Default for Map<K, V, S> {
    fn default() -> Self {
        let (entries, deadlines) = (HashMap::default(), Deadlines::default());
        Self { entries, deadlines, plan: Plan::default(), limit: None, version: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Map<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.entries).finish()
    }
}

impl<'a, K, V, S> IntoIterator for &'a Map<K, V, S> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
