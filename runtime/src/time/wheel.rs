//! A hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987).
//!
//! Pure: time is a `u64` of nanoseconds since an origin that the caller chooses, and only [`Wheel::advance`] moves it.
//!
//! A deadline is rounded up to a tick, so nothing fires early and nothing is later than one tick plus the time until
//! the next `advance`. Read as digits in base 64, a tick is filed by the highest digit in which it differs from the
//! present: that digit's place is the level, its value the slot. Two facts follow, and everything here uses them:
//!
//! - every entry of a level is due before every entry of the level above, and within a level lower slots are due
//!   first, so the first occupied slot of the lowest occupied level holds the next entry to fire;
//! - time that stays before the start of that slot changes no entry's place.
//!
//! When time reaches a slot above level 0, its entries are filed again, at lower levels: at most once per level.

use std::num::NonZeroU64;

/// A tick is 2^18 ns, about 262 us.
const TICK_BITS: u32 = 18;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
/// Every deadline has a slot, even the last nanosecond rounded up: no clamping, no overflow list.
const _: () = assert!(LEVELS as u32 * SLOT_BITS + TICK_BITS > u64::BITS);

/// No entry: the end of the free list, or an empty slot.
const NIL: u32 = u32::MAX;
/// How many entries of one slot [`Wheel::next_expiry`] looks at before it settles for the start of the slot.
const LOOK: usize = 16;
/// A slab no longer than this is never trimmed.
const KEEP: usize = 256;
/// How many places one `advance` gives back at most, so that no timer waits for the memory of others.
const GIVE_BACK: usize = 1024;

/// Names one entry of one wheel. Never reused: when the entry has gone, the key finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    ticket: NonZeroU64,
    index: u32,
}

impl Key {
    pub(super) fn into_parts(self) -> (u64, u32) {
        (self.ticket.get(), self.index)
    }

    /// Of a key that was taken apart. Nothing, if `ticket` is zero.
    pub(super) fn from_parts(ticket: u64, index: u32) -> Option<Self> {
        Some(Self { ticket: NonZeroU64::new(ticket)?, index })
    }
}

/// One place in the slab. Occupied: a member of its slot's ring. Vacant: a member of the free list, whose
/// ends have no neighbour; the first one's `prev` may be anything.
struct Entry<T> {
    /// Of the occupant; `None` when vacant.
    ticket: Option<NonZeroU64>,
    deadline: u64,
    next: u32,
    prev: u32,
    /// Level and slot as one number, an index into `Wheel::heads`.
    slot: u16,
    payload: Option<T>,
}

/// The wheel. `T` is what each entry carries and what comes out when it fires.
pub(super) struct Wheel<T> {
    /// Nanoseconds: what the last `advance` said.
    now: u64,
    /// One bit for each level that has entries.
    levels: u8,
    /// For each level, one bit for each slot that has entries.
    occupied: [u64; LEVELS],
    /// The oldest entry of each slot; the rest hang on it in a doubly linked ring, so its `prev` is the newest.
    heads: [u32; LEVELS * SLOTS],
    entries: Vec<Entry<T>>,
    /// The first vacant place, the next one to be taken.
    free: u32,
    /// The last vacant place, if there is one.
    free_last: u32,
    /// Places from here on are taken only when no other is vacant, so that the end of the slab empties.
    ceiling: u32,
    len: usize,
    /// The greatest `len` since the last trim.
    peak: usize,
    /// How many entries there have ever been. Never wraps: one a nanosecond for 584 years.
    tickets: u64,
    /// When to ask next whether the slab is too long: when as many tickets more have been issued as it had places.
    trim_at: u64,
}

impl<T> Wheel<T> {
    pub(super) fn new() -> Self {
        Wheel {
            now: 0,
            levels: 0,
            occupied: [0; LEVELS],
            heads: [NIL; LEVELS * SLOTS],
            entries: Vec::new(),
            free: NIL,
            free_last: NIL,
            ceiling: NIL,
            len: 0,
            peak: 0,
            tickets: 0,
            trim_at: 0,
        }
    }

    /// What the last `advance` said.
    #[cfg(test)]
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Files `payload` to fire at the first `advance` past `deadline`, also when that is already over.
    pub(super) fn insert(&mut self, deadline: u64, payload: T) -> Key {
        self.tickets += 1;
        let ticket = NonZeroU64::new(self.tickets).expect("tickets start at 1");
        if self.free >= self.ceiling {
            self.find_place();
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.ticket = Some(ticket);
        entry.deadline = deadline;
        entry.payload = Some(payload);
        self.len += 1;
        self.peak = self.peak.max(self.len);
        self.link(index, self.now >> TICK_BITS);
        Key { ticket, index }
    }

    /// Takes the entry out. `None` when it has fired or was cancelled before.
    pub(super) fn cancel(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.unlink(key.index);
        self.vacate(key.index)
    }

    /// Moves the entry to another deadline; its key stays valid. False when it has gone.
    pub(super) fn reschedule(&mut self, key: Key, deadline: u64) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        self.unlink(key.index);
        self.entries[key.index as usize].deadline = deadline;
        self.link(key.index, self.now >> TICK_BITS);
        true
    }

    /// What the entry carries, while it has neither fired nor been cancelled.
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.ticket == Some(key.ticket) { entry.payload.as_ref() } else { None }
    }

    /// As [`get`](Self::get).
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.ticket == Some(key.ticket) { entry.payload.as_mut() } else { None }
    }

    /// When to call `advance` next: exactly when the next entry fires, or earlier when that entry is far off and
    /// shares its slot with many. An `advance` to that time fires entries or files them closer.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        let (level, slot, start) = self.first_slot()?;
        let tick = if level == 0 { start } else { self.first_tick(level * SLOTS + slot).unwrap_or(start) };
        // Only the last tick of all can saturate, and time cannot reach that one.
        Some(tick.saturating_mul(1 << TICK_BITS))
    }

    /// Moves time to `now` (never back) and hands every entry that is due to `fire`: in the order of their ticks, and
    /// within a tick as they were filed, except that a detour through higher levels may put one behind.
    pub(super) fn advance(&mut self, now: u64, mut fire: impl FnMut(T)) {
        let now = now.max(self.now);
        let until = now >> TICK_BITS;
        while let Some((level, slot, start)) = self.first_slot()
            && start <= until
        {
            // Every step starts from an exact tick, so that entries file themselves relative to it.
            self.now = self.now.max(start << TICK_BITS);
            let mut index = self.take_slot(level, slot);
            while index != NIL {
                let next = self.entries[index as usize].next;
                if level == 0 {
                    self.vacate(index).into_iter().for_each(&mut fire);
                } else {
                    self.link_again(index, start);
                }
                index = next;
            }
        }
        self.now = now;
        if self.entries.len() > KEEP {
            self.trim();
        }
    }

    /// The very deadline of the next entry to fire. Walks a slot, however many share it.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let (level, slot, _) = self.first_slot()?;
        let head = self.heads[level * SLOTS + slot];
        let (mut index, mut first) = (head, u64::MAX);
        loop {
            let entry = &self.entries[index as usize];
            first = first.min(entry.deadline);
            index = entry.next;
            if index == head {
                return Some(first);
            }
        }
    }

    /// As [`advance`](Self::advance), but an entry whose deadline has come does not wait for the end of its tick.
    pub(super) fn advance_exactly(&mut self, now: u64, mut fire: impl FnMut(T)) {
        self.advance(now, &mut fire);
        let present = self.now >> TICK_BITS;
        // Whatever else is due is of the tick that has begun, and that tick's slot is the first one now.
        let Some((level, slot, _)) = self.first_slot().filter(|(_, _, start)| *start <= present + 1) else {
            return;
        };
        let mut index = self.take_slot(level, slot);
        while index != NIL {
            let Entry { next, deadline, .. } = self.entries[index as usize];
            if deadline <= self.now {
                self.vacate_rarely(index).into_iter().for_each(&mut fire);
            } else {
                self.link_again(index, present);
            }
            index = next;
        }
    }

    /// Empties the wheel. Time stays.
    pub(super) fn clear(&mut self, mut give: impl FnMut(T)) {
        self.levels = 0;
        self.occupied = [0; LEVELS];
        self.heads = [NIL; LEVELS * SLOTS];
        self.free = NIL;
        self.len = 0;
        for entry in std::mem::take(&mut self.entries) {
            entry.payload.into_iter().for_each(&mut give);
        }
    }
}

/// Rounds a deadline up to a tick that is not over when `present` is the present one.
#[inline]
fn tick_of(deadline: u64, present: u64) -> u64 {
    deadline.div_ceil(1 << TICK_BITS).max(present)
}

impl<T> Wheel<T> {
    /// The next place to be taken is none, or one at the end of a slab that is too long.
    #[cold]
    fn find_place(&mut self) {
        if self.free == NIL {
            return self.grow();
        }
        // Two at a time are passed over: in the end, all places further down come first.
        for _ in 0..2 {
            let first = self.free;
            if first < self.ceiling || first == self.free_last {
                return;
            }
            self.free = self.entries[first as usize].next;
            self.append_vacant(first);
        }
    }

    /// Adds a vacant place to a slab that has none.
    fn grow(&mut self) {
        let index = self.entries.len() as u32;
        assert!(index != NIL, "a core cannot hold four billion timers");
        self.entries.push(Entry { ticket: None, deadline: 0, next: NIL, prev: NIL, slot: 0, payload: None });
        (self.free, self.free_last) = (index, index);
    }

    /// The first occupied slot of the lowest occupied level, and its first tick.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let above = (level + 1) * SLOT_BITS;
        let base = (self.now >> TICK_BITS) >> above << above;
        Some((level as usize, slot as usize, base | (u64::from(slot) << (level * SLOT_BITS))))
    }

    /// The earliest tick in a slot, unless that takes more than a short walk.
    fn first_tick(&self, slot: usize) -> Option<u64> {
        let head = self.heads[slot];
        let mut index = head;
        let mut first = u64::MAX;
        for _ in 0..LOOK {
            let entry = &self.entries[index as usize];
            first = first.min(tick_of(entry.deadline, self.now >> TICK_BITS));
            index = entry.next;
            if index == head {
                return Some(first);
            }
        }
        None
    }

    /// Files an entry behind the others of its slot, seen from the tick `present`.
    #[inline(always)]
    fn link(&mut self, index: u32, present: u64) {
        let tick = tick_of(self.entries[index as usize].deadline, present);
        let level = (((tick ^ present) | (SLOTS as u64 - 1)).ilog2() / SLOT_BITS) as usize;
        let digit = (tick >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
        let slot = level * SLOTS + digit;
        let head = self.heads[slot];
        let last = if head == NIL {
            self.heads[slot] = index;
            self.occupied[level] |= 1 << digit;
            self.levels |= 1 << level;
            index
        } else {
            let last = std::mem::replace(&mut self.entries[head as usize].prev, index);
            self.entries[last as usize].next = index;
            last
        };
        let entry = &mut self.entries[index as usize];
        entry.slot = slot as u16;
        entry.prev = last;
        entry.next = if head == NIL { index } else { head };
    }

    /// As [`link`](Self::link), kept out of line: inserting is what has to be quick.
    #[inline(never)]
    fn link_again(&mut self, index: u32, present: u64) {
        self.link(index, present);
    }

    #[inline(always)]
    fn unlink(&mut self, index: u32) {
        let Entry { next, prev, slot, .. } = self.entries[index as usize];
        let slot = usize::from(slot);
        if next == index {
            self.mark_empty(slot / SLOTS, slot % SLOTS);
            return;
        }
        self.entries[prev as usize].next = next;
        self.entries[next as usize].prev = prev;
        if self.heads[slot] == index {
            self.heads[slot] = next;
        }
    }

    #[inline]
    fn mark_empty(&mut self, level: usize, digit: usize) {
        self.heads[level * SLOTS + digit] = NIL;
        self.occupied[level] &= !(1 << digit);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Empties a slot and returns its entries as a list that ends in `NIL`.
    fn take_slot(&mut self, level: usize, digit: usize) -> u32 {
        let head = self.heads[level * SLOTS + digit];
        self.mark_empty(level, digit);
        let last = self.entries[head as usize].prev;
        self.entries[last as usize].next = NIL;
        head
    }

    /// As [`vacate`](Self::vacate), kept out of line.
    #[inline(never)]
    fn vacate_rarely(&mut self, index: u32) -> Option<T> {
        self.vacate(index)
    }

    /// Makes the place of an unlinked entry vacant.
    #[inline(always)]
    fn vacate(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.ticket = None;
        let payload = entry.payload.take();
        self.len -= 1;
        if index >= self.ceiling && self.free != NIL {
            self.append_vacant(index);
            return payload;
        }
        entry.next = self.free;
        match self.free {
            NIL => self.free_last = index,
            first => self.entries[first as usize].prev = index,
        }
        self.free = index;
        payload
    }

    /// Puts a vacant place behind the others, of which there are some.
    #[inline(never)]
    fn append_vacant(&mut self, index: u32) {
        let last = std::mem::replace(&mut self.free_last, index);
        self.entries[last as usize].next = index;
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next) = (last, NIL);
    }

    /// Gives memory back after a burst, a little at a time: as much as was in use at once of late stays, the rest goes, as soon
    /// as its last occupants have left.
    fn trim(&mut self) {
        if self.tickets >= self.trim_at {
            self.ceiling = self.peak.max(KEEP) as u32;
            self.peak = self.len;
            self.trim_at = self.tickets + self.entries.len() as u64;
        }
        for _ in 0..GIVE_BACK {
            let last = self.entries.len().saturating_sub(1);
            if last < self.ceiling as usize || self.entries[last].ticket.is_some() {
                break;
            }
            self.take_vacant(last as u32);
            self.entries.pop();
        }
        let few = self.entries.len().max(KEEP);
        if self.entries.capacity() > 3 * few {
            self.entries.shrink_to(2 * few);
        }
    }

    /// Takes a place out of the free list.
    fn take_vacant(&mut self, index: u32) {
        let Entry { next, prev, .. } = self.entries[index as usize];
        if self.free == index {
            self.free = next;
        } else {
            self.entries[prev as usize].next = next;
        }
        if self.free_last == index {
            self.free_last = prev; // meaningless if there is none left, as `free` tells
        } else {
            self.entries[next as usize].prev = prev;
        }
    }

    /// How many entries fit without an allocation.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}
