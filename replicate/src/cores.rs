//! Names of cores, and sets of them.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::limits::MAX_CORES;

const WORDS: usize = MAX_CORES / 64;

/// The number of a core, below [`MAX_CORES`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(u16);

impl CoreId {
    /// The core with that number.
    ///
    /// # Panics
    ///
    /// If the number is not below [`MAX_CORES`].
    #[must_use]
    pub const fn new(number: usize) -> Self {
        assert!(number < MAX_CORES, "a Machine has at most MAX_CORES cores");
        #[expect(clippy::cast_possible_truncation, reason = "MAX_CORES fits")]
        Self(number as u16)
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A set of cores, of fixed size and copied by value.
///
/// ```
/// use multikernel_replicate::{CoreId, CoreSet};
///
/// let cores: CoreSet = [2, 0].into_iter().map(CoreId::new).collect();
/// assert_eq!(cores.first(), Some(CoreId::new(0)));
/// assert_eq!(cores.without(CoreId::new(0)).iter().collect::<Vec<_>>(), [CoreId::new(2)]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreSet([u64; WORDS]);

impl CoreSet {
    /// No core.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// One core.
    #[must_use]
    pub const fn only(core: CoreId) -> Self {
        let mut words = [0; WORDS];
        words[core.index() / 64] = 1 << (core.index() % 64);
        Self(words)
    }

    /// The cores below that number.
    #[must_use]
    pub fn below(number: usize) -> Self {
        (0..number).map(CoreId::new).collect()
    }

    /// Whether the core is in it.
    #[must_use]
    pub const fn contains(&self, core: CoreId) -> bool {
        self.0[core.index() / 64] & (1 << (core.index() % 64)) != 0
    }

    /// Puts a core in. Says whether it is new.
    pub const fn insert(&mut self, core: CoreId) -> bool {
        let is_new = !self.contains(core);
        self.0[core.index() / 64] |= 1 << (core.index() % 64);
        is_new
    }

    /// Takes a core out. Says whether it was there.
    pub const fn remove(&mut self, core: CoreId) -> bool {
        let was_there = self.contains(core);
        self.0[core.index() / 64] &= !(1 << (core.index() % 64));
        was_there
    }

    /// Whether no core is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many cores are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The lowest core.
    #[must_use]
    pub fn first(&self) -> Option<CoreId> {
        self.iter().next()
    }

    /// The cores from the lowest up.
    pub fn iter(&self) -> impl Iterator<Item = CoreId> + use<> {
        let words = self.0;
        let mut at = 0;
        let mut word = words[0];
        std::iter::from_fn(move || {
            while word == 0 {
                at += 1;
                word = *words.get(at)?;
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(CoreId::new(at * 64 + bit))
        })
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= other);
        self
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn minus(mut self, other: Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word &= !other);
        self
    }

    /// This with one core more.
    #[must_use]
    pub const fn with(mut self, core: CoreId) -> Self {
        self.insert(core);
        self
    }

    /// This with one core less.
    #[must_use]
    pub const fn without(mut self, core: CoreId) -> Self {
        self.remove(core);
        self
    }
}

impl Default for CoreSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Hash for CoreSet {
    /// Most sets are small: only words that hold something count, each with its place.
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (at, word) in self.0.iter().enumerate().filter(|(_, word)| **word != 0) {
            state.write_usize(at);
            state.write_u64(*word);
        }
        state.write_u8(0xff);
    }
}

impl FromIterator<CoreId> for CoreSet {
    fn from_iter<I: IntoIterator<Item = CoreId>>(cores: I) -> Self {
        let mut set = Self::EMPTY;
        cores.into_iter().for_each(|core| {
            set.insert(core);
        });
        set
    }
}

impl fmt::Debug for CoreSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    fn set(numbers: &BTreeSet<usize>) -> CoreSet {
        numbers.iter().copied().map(CoreId::new).collect()
    }

    fn numbers(set: CoreSet) -> Vec<usize> {
        set.iter().map(CoreId::index).collect()
    }

    proptest! {
        #[test]
        fn a_core_set_is_a_set(
            a in proptest::collection::btree_set(0..MAX_CORES, 0..20),
            b in proptest::collection::btree_set(0..MAX_CORES, 0..20),
        ) {
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(numbers(x), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(x.union(y)), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(x.intersection(y)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(x.minus(y)), a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!((x.len(), x.is_empty()), (a.len(), a.is_empty()));
            for core in a.iter().copied().map(CoreId::new) {
                prop_assert!(x.contains(core) && !x.without(core).contains(core));
                prop_assert_eq!(x.without(core).with(core), x);
            }
        }
    }
}
