//! Names of cores, and sets of them.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::host::{self, Host};
use crate::limits::MAX_CORES;

const WORDS: usize = MAX_CORES / 64;

/// A core of a Machine: its number, from 0.
///
/// ```
/// use multikernel_replicate::CoreId;
///
/// let core = CoreId::new(1);
/// assert_eq!(core.to_string(), "core 1");
/// assert!(CoreId::new(0) < core);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(u16);

impl CoreId {
    /// The core with this number. Whether there is one is found out where the id is used; there are never more than
    /// [`MAX_CORES`].
    ///
    /// ```
    /// # use multikernel_replicate::CoreId;
    /// let (first, second) = (CoreId::new(0), CoreId::new(1));
    /// assert_ne!(first, second);
    /// ```
    #[must_use]
    pub const fn new(index: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "MAX_CORES fits")]
        Self(if index < MAX_CORES { index as u16 } else { u16::MAX })
    }

    /// The core's number, from 0 to the number of cores less one.
    ///
    /// ```
    /// # use multikernel_replicate::CoreId;
    /// let served = [17, 4]; // by each core
    /// assert_eq!(served[CoreId::new(1).index()], 4);
    /// ```
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The core that this is called on.
    ///
    /// # Panics
    ///
    /// On a thread that is not a core; [`try_current`](Self::try_current) does not.
    ///
    /// ```should_panic
    /// multikernel_replicate::CoreId::current(); // `main` is no core here
    /// ```
    #[must_use]
    pub fn current() -> Self {
        Self::try_current().expect("CoreId::current must be called on a core of a multikernel runtime")
    }

    /// The core that this is called on, or `None` elsewhere.
    ///
    /// A log line from code that may run anywhere:
    /// ```
    /// # use multikernel_replicate::CoreId;
    /// fn log(line: &str) {
    ///     match CoreId::try_current() {
    ///         Some(core) => println!("[{core}] {line}"),
    ///         None => println!("[elsewhere] {line}"),
    ///     }
    /// }
    /// log("starting");
    /// # assert!(CoreId::try_current().is_none());
    /// ```
    #[must_use]
    pub fn try_current() -> Option<Self> {
        host::with(|host| host.map(Host::core))
    }
}

impl fmt::Debug for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {}", self.0)
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
pub struct CoreSet {
    /// Words up to the last that is not zero: most Machines need one, and sets are looked through all the time.
    used: usize,
    words: [u64; WORDS],
}

impl CoreSet {
    /// No core.
    pub const EMPTY: Self = Self { used: 0, words: [0; WORDS] };

    /// One core.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::only(CoreId::new(3)).len(), 1);
    /// ```
    #[must_use]
    pub const fn only(core: CoreId) -> Self {
        Self::EMPTY.with(core)
    }

    /// The cores below that number.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::below(2), [0, 1].into_iter().map(CoreId::new).collect());
    /// ```
    #[must_use]
    pub fn below(number: usize) -> Self {
        (0..number).map(CoreId::new).collect()
    }

    /// Whether the core is in it.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert!(CoreSet::below(2).contains(CoreId::new(1)));
    /// assert!(!CoreSet::below(2).contains(CoreId::new(2)));
    /// ```
    #[must_use]
    pub const fn contains(&self, core: CoreId) -> bool {
        core.index() < MAX_CORES && self.words[core.index() / 64] & (1 << (core.index() % 64)) != 0
    }

    /// Puts a core in. Says whether it is new.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// let mut cores = CoreSet::EMPTY;
    /// assert!(cores.insert(CoreId::new(5)) && !cores.insert(CoreId::new(5)));
    /// ```
    pub const fn insert(&mut self, core: CoreId) -> bool {
        let is_new = !self.contains(core);
        let at = core.index() / 64;
        self.words[at] |= 1 << (core.index() % 64);
        if self.used <= at {
            self.used = at + 1;
        }
        is_new
    }

    /// Takes a core out. Says whether it was there.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// let mut cores = CoreSet::below(1);
    /// assert!(cores.remove(CoreId::new(0)) && !cores.remove(CoreId::new(0)));
    /// ```
    pub const fn remove(&mut self, core: CoreId) -> bool {
        let was_there = self.contains(core);
        if was_there {
            self.words[core.index() / 64] &= !(1 << (core.index() % 64));
            self.trim();
        }
        was_there
    }

    const fn trim(&mut self) {
        while self.used > 0 && self.words[self.used - 1] == 0 {
            self.used -= 1;
        }
    }

    fn used(&self) -> &[u64] {
        &self.words[..self.used]
    }

    /// Whether no core is in it.
    ///
    /// ```
    /// use multikernel_replicate::CoreSet;
    ///
    /// assert!(CoreSet::EMPTY.is_empty() && !CoreSet::below(1).is_empty());
    /// ```
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many cores are in it.
    ///
    /// ```
    /// use multikernel_replicate::CoreSet;
    ///
    /// assert_eq!(CoreSet::below(70).len(), 70);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.used().iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The lowest core.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::only(CoreId::new(65)).first(), Some(CoreId::new(65)));
    /// assert_eq!(CoreSet::EMPTY.first(), None);
    /// ```
    #[must_use]
    pub fn first(&self) -> Option<CoreId> {
        let at = self.used().iter().position(|word| *word != 0)?;
        Some(CoreId::new(at * 64 + self.words[at].trailing_zeros() as usize))
    }

    /// The cores from the lowest up.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// let cores: CoreSet = [65, 2].into_iter().map(CoreId::new).collect();
    /// assert_eq!(cores.iter().map(CoreId::index).collect::<Vec<_>>(), [2, 65]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = CoreId> + use<'_> {
        let mut words = self.used().iter().enumerate();
        let (mut at, mut word) = (0, 0);
        std::iter::from_fn(move || {
            while word == 0 {
                (at, word) = words.next().map(|(at, word)| (at, *word))?;
            }
            let bit = word.trailing_zeros() as usize;
            word &= word - 1;
            Some(CoreId::new(at * 64 + bit))
        })
    }

    /// Takes all out.
    ///
    /// ```
    /// use multikernel_replicate::CoreSet;
    ///
    /// let mut cores = CoreSet::below(9);
    /// cores.clear();
    /// assert_eq!(cores, CoreSet::EMPTY);
    /// ```
    pub fn clear(&mut self) {
        self.words[..self.used].fill(0);
        self.used = 0;
    }

    /// Takes out what is in the other.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// let mut cores = CoreSet::below(3);
    /// cores.subtract(&CoreSet::below(2));
    /// assert_eq!(cores, CoreSet::only(CoreId::new(2)));
    /// ```
    pub fn subtract(&mut self, other: &Self) {
        self.words[..self.used].iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
        self.trim();
    }

    /// What is in either.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// let [a, b] = [0, 1].map(CoreId::new);
    /// assert_eq!(CoreSet::only(a).union(CoreSet::only(b)), CoreSet::below(2));
    /// ```
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.used = self.used.max(other.used);
        self.words[..self.used].iter_mut().zip(other.words).for_each(|(word, other)| *word |= other);
        self
    }

    /// What is in both.
    ///
    /// ```
    /// use multikernel_replicate::CoreSet;
    ///
    /// assert_eq!(CoreSet::below(2).intersection(CoreSet::below(5)), CoreSet::below(2));
    /// ```
    #[must_use]
    pub fn intersection(mut self, other: Self) -> Self {
        self.words[..self.used].iter_mut().zip(other.words).for_each(|(word, other)| *word &= other);
        self.trim();
        self
    }

    /// What is in this and not in the other.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::below(3).minus(CoreSet::below(2)), CoreSet::only(CoreId::new(2)));
    /// ```
    #[must_use]
    pub fn minus(mut self, other: Self) -> Self {
        self.subtract(&other);
        self
    }

    /// This with one core more.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::below(2).with(CoreId::new(2)), CoreSet::below(3));
    /// ```
    #[must_use]
    pub const fn with(mut self, core: CoreId) -> Self {
        self.insert(core);
        self
    }

    /// This with one core less.
    ///
    /// ```
    /// use multikernel_replicate::{CoreId, CoreSet};
    ///
    /// assert_eq!(CoreSet::below(3).without(CoreId::new(2)), CoreSet::below(2));
    /// ```
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
        for (at, word) in self.used().iter().enumerate().filter(|(_, word)| **word != 0) {
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
