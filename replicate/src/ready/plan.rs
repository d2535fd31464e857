//! What undecided commands will make of the keys of a map.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// What a step does to its key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Put,
    /// It was accepted because the key will be absent when its turn comes.
    PutIfAbsent,
    Remove,
}

/// One step of an undecided command: it puts a key in, or takes it out.
struct Step<K> {
    hash: u64,
    key: K,
    effect: Effect,
    /// By how much it lets the map grow.
    growth: isize,
    /// The step before it with that hash.
    before: Option<u64>,
}

/// The steps of all undecided commands, in order. They are decided from the front and undone from the back.
///
/// Code of users, which hashes and compares keys, runs only where nothing changes. So if it panics, what is left
/// over is the steps that are not kept, and they go with the next call.
pub(super) struct Plan<K> {
    steps: VecDeque<Step<K>>,
    /// The number of the step at the front.
    first: u64,
    /// The last step with a hash.
    latest: HashMap<u64, u64, BuildHasherDefault<AsIs>>,
    /// How many steps are of commands that were accepted.
    kept: usize,
    growth: isize,
}

impl<K> Plan<K> {
    /// How many steps are undecided.
    pub(super) fn len(&self) -> usize {
        self.kept
    }

    /// By how much all of them let the map grow, at most.
    pub(super) const fn growth(&self) -> isize {
        self.growth
    }

    fn step(&self, number: u64) -> Option<&Step<K>> {
        let at = number.checked_sub(self.first)?;
        self.steps.get(usize::try_from(at).ok()?)
    }

    /// The steps about a key, the last one first.
    fn steps_about(&self, hash: u64, key: &K) -> impl Iterator<Item = &Step<K>>
    where
        K: Eq,
    {
        let last = self.latest.get(&hash).and_then(|number| self.step(*number));
        let with_that_hash =
            std::iter::successors(last, |step| step.before.and_then(|number| self.step(number)));
        with_that_hash.filter(move |step| step.key == *key)
    }

    /// Whether the key will be there, if any step is about it.
    pub(super) fn fate(&self, hash: u64, key: &K) -> Option<bool>
    where
        K: Eq,
    {
        self.steps_about(hash, key).next().map(|step| step.effect != Effect::Remove)
    }

    /// Whether a step relies on the key's absence.
    pub(super) fn relies_on(&self, hash: u64, key: &K) -> bool
    where
        K: Eq,
    {
        self.steps_about(hash, key).any(|step| step.effect == Effect::PutIfAbsent)
    }

    /// Adds a step. It is forgotten again unless it is kept.
    pub(super) fn add(&mut self, hash: u64, key: K, effect: Effect, growth: isize) {
        let number = self.first + self.steps.len() as u64;
        let before = self.latest.insert(hash, number);
        self.steps.push_back(Step { hash, key, effect, growth, before });
        self.growth += growth;
    }

    /// The command whose steps were added is accepted.
    pub(super) fn keep(&mut self) {
        self.kept = self.steps.len();
    }

    /// Forgets steps that were not kept: their command was refused, or has panicked.
    pub(super) fn forget(&mut self) {
        while self.steps.len() > self.kept
            && let Some(step) = self.steps.pop_back()
        {
            self.growth -= step.growth;
            match step.before.filter(|before| *before >= self.first) {
                Some(before) => self.latest.insert(step.hash, before),
                None => self.latest.remove(&step.hash),
            };
        }
    }

    /// Undoes the last command, which had so many steps.
    pub(super) fn undo(&mut self, steps: usize) {
        self.forget();
        self.kept = self.kept.saturating_sub(steps);
        self.forget();
    }

    /// The first command is decided, which had so many steps.
    pub(super) fn decide(&mut self, steps: usize) {
        self.forget();
        for _ in 0..steps {
            let Some(step) = self.steps.pop_front() else { break };
            if self.latest.get(&step.hash) == Some(&self.first) {
                self.latest.remove(&step.hash);
            }
            self.growth -= step.growth;
            self.first += 1;
            self.kept -= 1;
        }
    }
}

impl<K> Default for Plan<K> {
    fn default() -> Self {
        Self { steps: VecDeque::new(), first: 0, latest: HashMap::default(), kept: 0, growth: 0 }
    }
}

/// What is hashed is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_what_is_decided() {
        let mut plan = Plan::default();
        for round in 0..3 {
            // Two keys with one hash, and one of them twice.
            for (hash, key) in [(1, 'a'), (1, 'b'), (2, 'c'), (1, 'a')] {
                plan.add(hash, key, Effect::Put, 1);
                plan.keep();
            }
            plan.add(2, 'd', Effect::Put, 1);
            assert_eq!((plan.len(), plan.growth()), (4, 5), "round {round}");
            plan.undo(1);
            plan.decide(2);
            assert_eq!((plan.fate(1, &'a'), plan.fate(2, &'c')), (None, Some(true)));
            plan.decide(1);
            assert!(plan.steps.is_empty() && plan.latest.is_empty() && plan.growth == 0 && plan.kept == 0);
        }
    }
}
