//! One receiver's lane: a bounded queue in which the newest message takes the place of the oldest.
//!
//! A lane for `capacity` messages has that many slots, and two cells more than slots. Each slot has a cell, and so has
//! each end. A cell changes hands only when an end exchanges its own for the one in a slot, so whoever holds a cell has
//! it alone, and nobody waits for anybody (R40 to R43).
//!
//! ```text
//!   LaneWriter ── spare ──▶ ┌────────┬────────┬────────┐ ◀── spare ── LaneReader
//!     exchanges whatever    │ lap, c │ lap, c │ 0,   c │   exchanges what it expects,
//!     is there              └────────┴────────┴────────┘   or the newest
//! ```

use crossbeam_utils::CachePadded;

use super::Counts;
use crate::epoch;
use crate::gate::Gate;
use crate::hub::{Look, Port, Side};
use crate::sync::{Arc, AtomicBool, AtomicU64, AtomicUsize, Ordering, SharedArc, UnsafeCell};

/// What both ends share beside the messages.
pub(crate) struct LanePort {
    /// A word for each slot: the number of its cell in the low bits; above them the lap of the message in that cell,
    /// counted from one, or zero if there is none (R41).
    slots: Box<[AtomicU64]>,
    /// How many bits of a word are the number of the cell.
    cell_bits: u32,
    counts: Arc<Counts>,
    /// The receiver is gone. Written once.
    gone: AtomicBool,
    /// On a line of its own: written when the receiver goes to sleep, read after each message.
    waiting: CachePadded<Waiting>,
}

struct Waiting {
    gate: Gate,
    /// Where the receiver last looked and found nothing.
    slot: AtomicUsize,
}

/// Where in a lane a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    slot: usize,
    lap: u64,
}

impl Position {
    /// That of the message with the number `sequence`.
    pub(super) fn of(sequence: u64, capacity: usize) -> Self {
        let capacity = capacity as u64;
        // The remainder is less than a length, so it fits.
        Self { slot: (sequence % capacity) as usize, lap: sequence / capacity + 1 }
    }

    /// That of the message after this one. Division would take longer than all else.
    #[inline]
    pub(super) fn next(self, capacity: usize) -> Self {
        let slot = self.slot + 1;
        if slot < capacity { Self { slot, ..self } } else { Self { slot: 0, lap: self.lap + 1 } }
    }

    /// The number of the message.
    pub(super) fn sequence(self, capacity: usize) -> u64 {
        (self.lap - 1) * capacity as u64 + self.slot as u64
    }
}

impl LanePort {
    fn new(capacity: usize, counts: Arc<Counts>) -> Self {
        // The cells with the first numbers are in the slots; `capacity` is the writer's and `capacity + 1` the reader's.
        Self {
            slots: (0..capacity as u64).map(AtomicU64::new).collect(),
            cell_bits: usize::BITS - (capacity + 1).leading_zeros(),
            counts,
            gone: AtomicBool::new(false),
            waiting: CachePadded::new(Waiting { gate: Gate::new(), slot: AtomicUsize::new(0) }),
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) // a late look costs a message that nobody reads
    }

    /// The receiver goes. Its task is not to be kept by the senders.
    pub(super) fn go(&self) {
        self.gone.store(true, Ordering::Relaxed); // as above
        drop(self.waiting.gate.forget());
    }

    #[inline]
    fn word(&self, lap: u64, cell: usize) -> u64 {
        lap << self.cell_bits | cell as u64
    }

    #[inline]
    fn lap(&self, word: u64) -> u64 {
        word >> self.cell_bits
    }

    #[inline]
    fn cell(&self, word: u64) -> usize {
        (word & ((1 << self.cell_bits) - 1)) as usize // it came from a `usize`
    }
}

impl Port for LanePort {
    /// Only the receiver waits.
    fn gate(&self, _: Side) -> &Gate {
        &self.waiting.gate
    }

    fn is_ready(&self, _: Side) -> bool {
        // Relaxed, both: asked for a hint, or after the fence of R17.
        let slot = self.waiting.slot.load(Ordering::Relaxed);
        self.lap(self.slots[slot].load(Ordering::Relaxed)) != 0 || self.counts.is_closed()
    }
}

/// The messages, and what else both ends share.
struct Lane<M> {
    port: SharedArc<LanePort>,
    cells: Box<[UnsafeCell<Option<M>>]>,
}

// SAFETY: a cell is touched only by the end that holds it, and changes hands with Release and Acquire (R40), so no
// access is concurrent. Messages move between threads, which is what `M: Send` allows; no `&M` is seen by two of them.
unsafe impl<M: Send> Sync for Lane<M> {}

impl<M> Lane<M> {
    /// Calls `f` with what is in `cell`.
    ///
    /// # Safety
    /// The caller is the end that holds the cell.
    #[inline]
    unsafe fn with_cell<R>(&self, cell: usize, f: impl FnOnce(&mut Option<M>) -> R) -> R {
        // SAFETY: the caller holds the cell, so nobody else touches it, and this end does so here only; `f` cannot get
        // at the lane.
        self.cells[cell].with_mut(|content| f(unsafe { &mut *content }))
    }
}

/// A lane for at most `capacity` messages, of which the first will be `next`.
pub(super) fn lane<M>(
    capacity: usize,
    next: Position,
    counts: &Arc<Counts>,
) -> (LaneWriter<M>, LaneReader<M>) {
    let port = SharedArc::new(LanePort::new(capacity, Arc::clone(counts)));
    let cells = (0..capacity + 2).map(|_| UnsafeCell::new(None)).collect();
    let lane = Arc::new(Lane { port, cells });
    let writer = LaneWriter { lane: Arc::clone(&lane), spare: capacity, is_filled: false };
    (writer, LaneReader { lane, spare: capacity + 1, next })
}

/// The senders' end of a lane.
pub(super) struct LaneWriter<M> {
    lane: Arc<Lane<M>>,
    /// The cell that this end holds.
    spare: usize,
    /// Whether there is something in it: for the next post, or left from one that a panic prevented.
    is_filled: bool,
}

impl<M> LaneWriter<M> {
    pub(super) fn port(&self) -> &SharedArc<LanePort> {
        &self.lane.port
    }

    /// Prepares `message` to be posted.
    pub(super) fn fill(&mut self, message: M) {
        // To look at a cell that is empty would be to wait for the cache of whoever emptied it.
        if self.is_filled {
            // SAFETY: `spare` is ours.
            drop(unsafe { self.lane.with_cell(self.spare, Option::take) });
        }
        // SAFETY: `spare` is ours, and it is empty, so that nothing is lost by writing over it.
        unsafe { self.lane.with_cell(self.spare, |content| std::ptr::write(content, Some(message))) };
        self.is_filled = true;
    }

    /// Hands over what was filled in. Returns the message in whose place it came, if the reader had not taken it.
    pub(super) fn post(&mut self, position: Position) -> Option<M> {
        let port = &self.lane.port;
        let word = port.word(position.lap, self.spare);
        // Release: our message to the reader, pairs with its Acquire. Acquire: the cell that we get, pairs with the
        // Release of the reader, if it has emptied it, or of the sender that filled it (R40).
        let old = port.slots[position.slot].swap(word, Ordering::AcqRel);
        self.spare = port.cell(old);
        self.is_filled = false;
        if port.lap(old) == 0 {
            return None; // nor look at this one
        }
        // SAFETY: it has been ours since the exchange.
        unsafe { self.lane.with_cell(self.spare, Option::take) }
    }
}

/// Why nothing was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is nothing.
    Nothing,
    /// So many messages have been lost. The next take begins after them.
    Lagged(u64),
    /// There is something, which is not to be handed out yet.
    Held,
}

/// The receiver's end of a lane.
pub(crate) struct LaneReader<M> {
    lane: Arc<Lane<M>>,
    /// The cell that this end holds. Empty.
    spare: usize,
    /// Where the message to take next will be.
    next: Position,
}

impl<M> LaneReader<M> {
    pub(crate) fn port(&self) -> &SharedArc<LanePort> {
        &self.lane.port
    }

    /// The number of the message to take next.
    pub(crate) fn next(&self) -> u64 {
        self.next.sequence(self.lane.port.slots.len())
    }

    /// Takes the oldest message, or finds out how many are lost. Whatever it finds, it asks `holds` before it takes it.
    #[inline]
    pub(crate) fn take(&mut self, holds: impl Fn() -> bool) -> Result<M, Miss> {
        let port = &self.lane.port;
        let position = self.next;
        let slot = &port.slots[position.slot];
        // Acquire: pairs with the Release in `post`, for the message; if it is not the one expected, then for the
        // sender's older ones, which are there too (R43).
        let mut word = slot.load(Ordering::Acquire);
        if port.lap(word) == 0 {
            port.waiting.slot.store(position.slot, Ordering::Relaxed); // for `is_ready`, on this thread or under R17
            return Err(Miss::Nothing);
        }
        if port.lap(word) == position.lap {
            if holds() {
                return Err(Miss::Held);
            }
            // Release: the cell we give, which is empty, pairs with the Acquire in `post`. What we get has come with
            // the word, which is still the same (R41). Acquire: as above.
            match slot.compare_exchange(word, self.spare as u64, Ordering::Release, Ordering::Acquire) {
                Ok(_) => {
                    self.spare = port.cell(word);
                    self.next = position.next(port.slots.len());
                    // SAFETY: it has been ours since the exchange.
                    let message = unsafe { self.lane.with_cell(self.spare, Option::take) };
                    return Ok(message.expect("a word with a lap goes with a message (R41)"));
                }
                Err(now) => word = now, // lost; what came later is not taken for it (R42)
            }
        }
        Err(self.lag(Position { slot: position.slot, lap: port.lap(word) }, holds))
    }

    /// A message that came later was in the place of the next one.
    #[cold]
    fn lag(&mut self, later: Position, holds: impl Fn() -> bool) -> Miss {
        let port = &self.lane.port;
        let capacity = port.slots.len();
        // Acquire: pairs with the Release in `Turn::post`; what was posted by then is in the slots (R43).
        let posted = port.counts.posted.load(Ordering::Acquire).max(later.sequence(capacity) + 1);
        let oldest = posted - capacity as u64;
        let missed = oldest - self.next.sequence(capacity);
        if holds() {
            return Miss::Held; // to know what is lost is to have heard of what came after it
        }
        self.next = Position::of(oldest, capacity);
        Miss::Lagged(missed)
    }

    /// Takes whatever is in `slot`.
    fn take_any(&mut self, slot: usize) -> Option<M> {
        let port = &self.lane.port;
        // Relaxed: a look; the exchange acquires. Only this end empties slots, so what was seen, or later, is there.
        if port.lap(port.slots[slot].load(Ordering::Relaxed)) == 0 {
            return None;
        }
        // Acquire and Release: as in `take`.
        let word = port.slots[slot].swap(self.spare as u64, Ordering::AcqRel);
        self.spare = port.cell(word);
        // SAFETY: it has been ours since the exchange.
        unsafe { self.lane.with_cell(self.spare, Option::take) }
    }

    /// In a lane for one message: takes the newest, whatever was lost before (R47).
    #[inline]
    pub(crate) fn take_latest(&mut self) -> Look<M> {
        debug_assert_eq!(self.lane.port.slots.len(), 1);
        if epoch::is_prepared() { self.take_latest_unless_held() } else { self.take_any(0).into() }
    }

    /// The same, but takes what was there before it asked whether to hold, and nothing newer (R51).
    #[cold]
    fn take_latest_unless_held(&mut self) -> Look<M> {
        let port = &self.lane.port;
        loop {
            // Acquire: pairs with the Release in `post`. It is for the question, so not left to the exchange.
            let word = port.slots[0].load(Ordering::Acquire);
            if port.lap(word) == 0 {
                return Look::Nothing;
            }
            if epoch::holds() {
                return Look::Held;
            }
            // Release: as in `take`. What we get was acquired with the word, which is still the same (R41).
            let taken =
                port.slots[0].compare_exchange(word, self.spare as u64, Ordering::Release, Ordering::Relaxed);
            if taken.is_ok() {
                self.spare = port.cell(word);
                // SAFETY: it has been ours since the exchange.
                return unsafe { self.lane.with_cell(self.spare, Option::take) }.into();
            }
        }
    }
}

impl<M> Drop for LaneReader<M> {
    fn drop(&mut self) {
        // A message may hold what somebody waits for. One that comes now goes with the lane.
        for slot in 0..self.lane.port.slots.len() {
            drop(self.take_any(slot));
        }
    }
}
