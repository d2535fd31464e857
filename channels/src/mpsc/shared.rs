//! What the ends of a channel share.

use std::sync::PoisonError;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::gate::Gate;
use crate::hub::{self, Port, Side};
use crate::limits::{FOREIGN_LANE, SENDER_SPINS};
use crate::mpsc::credits::{Credits, Place};
use crate::mpsc::lane::{After, Lane, Stop, Tally};
use crate::mpsc::table::{Hints, Table};
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, SharedArc, fence, spin_loop, thread};

/// What waiting needs, whatever the messages are.
pub(super) struct Ends {
    pub(super) credits: Credits,
    pub(super) hints: CachePadded<Hints>,
    pub(super) tallies: Table<Tally>,
    pub(super) receiver: CachePadded<Gate>,
    /// How many senders there are.
    pub(super) senders: AtomicUsize,
}

impl Port for Ends {
    fn gate(&self, side: Side) -> &Gate {
        debug_assert_eq!(side, Side::Receiver, "senders stand in line, not at a gate");
        &self.receiver
    }

    fn is_ready(&self, side: Side) -> bool {
        debug_assert_eq!(side, Side::Receiver, "senders stand in line, not at a gate");
        let waits = |lane| self.tallies.get(lane).is_some_and(Tally::waits);
        self.hints.after(FOREIGN_LANE).any(waits) || self.credits.is_finished()
    }

    fn knock(&self, side: Side, slot: Option<usize>, woken: &mut Vec<Waker>) {
        match side {
            Side::Sender => self.credits.knock(woken),
            Side::Receiver => {
                // A core that was refused memory for its own lane has sent through the other.
                let lanes = slot.into_iter().chain([FOREIGN_LANE]);
                let mut posted = false;
                for lane in lanes {
                    posted |= self.tallies.get(lane).is_some_and(Tally::waits) && self.hints.post(lane);
                }
                if posted {
                    // SeqCst: pairs with the fence of whoever put a waker into the gate (R22).
                    fence(Ordering::SeqCst);
                }
                woken.extend(self.receiver.knock());
            }
        }
    }
}

impl Ends {
    /// For the receiver: it has looked at `lane` often enough and does so no more unless the lane is posted again.
    pub(super) fn withdraw(&self, lane: usize) {
        self.hints.withdraw(lane);
        // SeqCst: pairs with the fence before the sender's knock (R22).
        fence(Ordering::SeqCst);
        if self.tallies.get(lane).is_some_and(Tally::waits) {
            self.hints.post(lane);
        }
    }
}

/// Why the receiver got no message from a lane.
pub(super) enum Miss {
    /// None waits. How often that has been so since the last one.
    Empty(u8),
    /// There is one, which is not to be handed out yet.
    Held,
}

/// What waiting does not need.
pub(super) struct Shared<T> {
    pub(super) ends: SharedArc<Ends>,
    lanes: Table<Lane<T>>,
    /// Held by who writes to the lane of those without a hub.
    foreign: Mutex<()>,
}

impl<T> Shared<T> {
    pub(super) fn new(capacity: u32) -> Self {
        let ends = SharedArc::new(Ends {
            credits: Credits::new(capacity),
            hints: CachePadded::new(Hints::new()),
            tallies: Table::new(),
            receiver: CachePadded::new(Gate::new()),
            senders: AtomicUsize::new(1),
        });
        Self { ends, lanes: Table::new(), foreign: Mutex::new(()) }
    }

    /// Sends `message`, for which there is a place, after all that was sent through the same `trail`.
    #[inline]
    pub(super) fn push(&self, trail: &Trail, _place: Place, message: T) {
        let step = trail.step();
        if let Some(own) = hub::slot() {
            // SAFETY: no other thread has this slot. What those that had it before did happened before (R21).
            match unsafe { self.push_to(own, step.last, message, false) } {
                Ok(()) => step.to(own),
                Err(message) => self.push_foreign(step, message),
            }
        } else {
            self.push_foreign(step, message);
        }
    }

    #[cold]
    fn push_foreign(&self, step: Step<'_>, message: T) {
        let _lock = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: who writes to this lane holds the lock, and this slot is never given out.
        let sent = unsafe { self.push_to(FOREIGN_LANE, step.last, message, true) };
        assert!(sent.is_ok(), "it takes the memory that it needs");
        step.to(FOREIGN_LANE);
    }

    /// # Safety
    /// No other thread writes to `lane`: what any did before happened before this.
    #[inline]
    unsafe fn push_to(&self, lane: usize, last: Option<usize>, message: T, needed: bool) -> Result<(), T> {
        let Some(queue) = self.lanes.get(lane).or_else(|| self.make(lane, needed)) else {
            return Err(message);
        };
        let after = last.filter(|last| *last != lane).and_then(|last| self.after(last));
        // SAFETY: of the caller.
        unsafe { queue.push(message, after, needed)? };
        self.ends.hints.post(lane);
        Ok(())
    }

    #[cold]
    fn make(&self, lane: usize, needed: bool) -> Option<&Lane<T>> {
        let tally = || self.ends.tallies.put(lane, Tally::new());
        // SAFETY: lanes are used through `self`, which has the table of tallies.
        let queue = unsafe { Lane::new(self.ends.credits.capacity(), needed, tally)? };
        Some(self.lanes.put(lane, queue))
    }

    /// What has to be taken before a message whose sender sent through `last` before (R24).
    #[cold]
    fn after(&self, last: usize) -> Option<After> {
        let until = self.ends.tallies.get(last)?.unread()?;
        Some(After { lane: last, until })
    }

    /// Takes the next message of `lane`, or one that comes before it in another, unless `holds`.
    ///
    /// # Safety
    /// The caller is the channel's receiver, or there is none any more and the caller has the channel to itself.
    #[inline]
    pub(super) unsafe fn pop(&self, lane: usize, holds: impl Fn() -> bool) -> Result<T, Miss> {
        let mut lane = lane;
        loop {
            // SAFETY: of the caller.
            match unsafe { self.lane(lane).pop(|after| self.has_passed(after), &holds) } {
                Ok(message) => {
                    self.ends.credits.took();
                    return Ok(message);
                }
                Err(Stop::Empty(misses)) => return Err(Miss::Empty(misses)),
                Err(Stop::Held) => return Err(Miss::Held),
                // This ends: what a message waits for was sent before it (R24).
                Err(Stop::After(by)) => lane = by,
            }
        }
    }

    /// A lane that has been posted, or that a message waits for.
    #[inline]
    fn lane(&self, lane: usize) -> &Lane<T> {
        self.lanes.get(lane).expect("a lane is there before anyone hears of it")
    }

    #[cold]
    fn has_passed(&self, after: After) -> bool {
        after.has_passed(self.ends.tallies.get(after.lane).expect("it came before its lane"))
    }

    /// The lanes that are there.
    pub(super) fn lanes(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(|(lane, _)| lane)
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        for (_, queue) in self.lanes.iter() {
            // SAFETY: no end is left, and the lanes go next.
            unsafe { queue.empty() };
        }
    }
}

/// Through which lane a sender sent last, so that the order of its messages survives when it moves (R24).
pub(super) struct Trail(AtomicU32);

/// It has sent nothing.
const NOWHERE: u32 = u32::MAX;
/// A thread is sending through it.
const BUSY: u32 = u32::MAX - 1;

impl Trail {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(NOWHERE))
    }

    /// Where the last message went, once no other thread is sending.
    #[inline]
    fn step(&self) -> Step<'_> {
        let mut last = self.0.load(Ordering::Relaxed);
        let mut spins = 0;
        loop {
            // Acquire: pairs with the Release in `Step::to`, so that the last message has been sent.
            let taken = |last| self.0.compare_exchange(last, BUSY, Ordering::Acquire, Ordering::Relaxed);
            if last != BUSY && taken(last).is_ok() {
                break;
            }
            if spins < SENDER_SPINS {
                spins += 1;
                spin_loop();
            } else {
                thread::yield_now();
            }
            last = self.0.load(Ordering::Relaxed);
        }
        Step { trail: self, last: (last != NOWHERE).then_some(last as usize) }
    }

    /// Another that begins where this one is.
    pub(super) fn fork(&self) -> Self {
        let Step { trail, last } = self.step();
        let last = last.map_or(NOWHERE, |last| last as u32);
        trail.0.store(last, Ordering::Release); // as in `to`
        Self(AtomicU32::new(last))
    }
}

/// A sender that is sending.
struct Step<'a> {
    trail: &'a Trail,
    last: Option<usize>,
}

impl Step<'_> {
    /// The message went through `lane`.
    #[inline]
    fn to(self, lane: usize) {
        // Release: pairs with the Acquire in `Trail::step`.
        self.trail.0.store(lane as u32, Ordering::Release);
    }
}
