//! What a channel has for each lane, made when the lane is first used, and the hints that say which lanes to look at.

use std::array;
use std::ptr;

use crate::limits::{LANE_GROUPS, LANES_PER_GROUP};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A place for each lane. What is put there stays as long as the table.
pub(super) struct Table<L> {
    groups: [AtomicPtr<Group<L>>; LANE_GROUPS],
}

type Group<L> = [AtomicPtr<L>; LANES_PER_GROUP];

// SAFETY: a table owns what is in it and hands out shared references, from any thread.
unsafe impl<L: Send + Sync> Send for Table<L> {}
// SAFETY: as above.
unsafe impl<L: Send + Sync> Sync for Table<L> {}

impl<L> Table<L> {
    pub(super) fn new() -> Self {
        Self { groups: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    #[inline]
    pub(super) fn get(&self, lane: usize) -> Option<&L> {
        let place = self.group(lane / LANES_PER_GROUP)?[lane % LANES_PER_GROUP].load(Ordering::Acquire);
        // Acquire, here and in `group`: pairs with the Release of who put it there.
        // SAFETY: what is in a place came from a box and is freed only with the table, which is borrowed.
        unsafe { place.as_ref() }
    }

    #[inline]
    fn group(&self, number: usize) -> Option<&Group<L>> {
        // SAFETY: as in `get`.
        unsafe { self.groups[number].load(Ordering::Acquire).as_ref() }
    }

    /// Puts `value` into the place of `lane`, which is empty.
    ///
    /// Whoever calls this is the only one who does so for this lane, at any time: its core, or the holder of the lock
    /// of the shared lane. For a group that is not so.
    pub(super) fn put(&self, lane: usize, value: L) -> &L {
        let group =
            self.group(lane / LANES_PER_GROUP).unwrap_or_else(|| self.add_group(lane / LANES_PER_GROUP));
        let value = Box::into_raw(Box::new(value));
        // Release: pairs with the Acquire in `get`.
        let before = group[lane % LANES_PER_GROUP].swap(value, Ordering::Release);
        assert!(before.is_null(), "a lane is made once");
        // SAFETY: as in `get`.
        unsafe { &*value }
    }

    fn add_group(&self, number: usize) -> &Group<L> {
        let group: Group<L> = array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
        let group = Box::into_raw(Box::new(group));
        let place = &self.groups[number];
        // Release: pairs with the Acquire in `group`. Acquire: another core's group is used as `group` uses it.
        match place.compare_exchange(ptr::null_mut(), group, Ordering::Release, Ordering::Acquire) {
            // SAFETY: as in `get`.
            Ok(_) => unsafe { &*group },
            Err(theirs) => {
                // SAFETY: `group` came from a box just now and nobody else has seen it; `theirs` as in `get`.
                unsafe {
                    drop(Box::from_raw(group));
                    &*theirs
                }
            }
        }
    }

    /// All that is there, by lane.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &L)> {
        let groups = (0..LANE_GROUPS).filter(|number| self.group(*number).is_some());
        let lanes = groups.flat_map(|number| number * LANES_PER_GROUP..(number + 1) * LANES_PER_GROUP);
        lanes.filter_map(|lane| Some((lane, self.get(lane)?)))
    }
}

impl<L> Drop for Table<L> {
    fn drop(&mut self) {
        // Relaxed, both: nobody else has the table any more, and how we came to have it alone orders the rest.
        for group in
            self.groups.iter().map(|group| group.load(Ordering::Relaxed)).filter(|group| !group.is_null())
        {
            // SAFETY: it came from a box, and no reference is left.
            let group = unsafe { Box::from_raw(group) };
            for lane in group.iter().map(|lane| lane.load(Ordering::Relaxed)).filter(|lane| !lane.is_null()) {
                // SAFETY: as for the group.
                drop(unsafe { Box::from_raw(lane) });
            }
        }
    }
}

/// A bit for each lane: look there. Set by who sends, taken away by the receiver (R22).
pub(super) struct Hints {
    /// A bit for each word that was ever used.
    used: AtomicU32,
    words: [AtomicU64; LANE_GROUPS],
}

impl Hints {
    pub(super) fn new() -> Self {
        Self { used: AtomicU32::new(0), words: array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Sets the bit of `lane`. False if it was set as far as this thread can see.
    #[inline]
    pub(super) fn post(&self, lane: usize) -> bool {
        let (number, bit) = (lane / LANES_PER_GROUP, 1 << (lane % LANES_PER_GROUP));
        // Relaxed: the line stays with those who only look; an old value is what R22 is about.
        if self.words[number].load(Ordering::Relaxed) & bit != 0 {
            return false;
        }
        // Release, both: pair with the Acquire in `word`; who sees the bit finds the lane.
        self.words[number].fetch_or(bit, Ordering::Release);
        if self.used.load(Ordering::Relaxed) & 1 << number == 0 {
            self.used.fetch_or(1 << number, Ordering::Release);
        }
        true
    }

    /// Takes the bit of `lane` away.
    pub(super) fn withdraw(&self, lane: usize) {
        // Relaxed: a fence follows (R22).
        self.words[lane / LANES_PER_GROUP].fetch_and(!(1 << (lane % LANES_PER_GROUP)), Ordering::Relaxed);
    }

    /// The lanes whose bits are set, once round, `last` at the end.
    #[inline]
    pub(super) fn after(&self, last: usize) -> impl Iterator<Item = usize> {
        let used = self.used.load(Ordering::Acquire); // pairs with the Release in `post`
        let (first, bit) = (last / LANES_PER_GROUP, last % LANES_PER_GROUP);
        let later = (u64::MAX << bit) << 1;
        (0..=LANE_GROUPS).flat_map(move |step| {
            let number = (first + step) % LANE_GROUPS;
            let which = match step {
                0 => later,
                LANE_GROUPS => !later,
                _ => u64::MAX,
            };
            let mut bits = if used & 1 << number == 0 { 0 } else { self.word(number) & which };
            std::iter::from_fn(move || {
                let lowest = bits.trailing_zeros() as usize;
                bits &= bits.checked_sub(1)?;
                Some(number * LANES_PER_GROUP + lowest)
            })
        })
    }

    #[inline]
    fn word(&self, number: usize) -> u64 {
        self.words[number].load(Ordering::Acquire) // pairs with the Release in `post`
    }
}
