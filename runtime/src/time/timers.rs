//! One core's timers: a wheel of wakers.
//!
//! **Invariant:** nothing in here clones, drops or wakes a waker, so no user code runs while a core's timers are
//! borrowed. Each method hands out the wakers that it replaces or removes, and the caller drops or wakes them once it
//! has let go of the borrow.

use std::collections::HashMap;
use std::mem;
use std::task::Waker;

use super::wheel::{Key, Wheel};
use super::{Duration, Instant};

/// Names a sleep that was registered by message, for a thread that is not this core. Unique in the process.
pub(super) type GuestId = std::num::NonZeroU64;

struct Waiter {
    waker: Waker,
    guest: Option<GuestId>,
}

/// One core's timer wheel and the wakers of its sleeps.
pub(crate) struct Timers {
    /// Where the wheel counts from.
    origin: Instant,
    /// When time was last advanced.
    present: Instant,
    /// Whether sleeps end at their very deadlines: since the clock was stopped for the first time.
    exact: bool,
    wheel: Wheel<Waiter>,
    /// Whoever registers by message cannot be told the key, so these are found by their own name.
    guests: HashMap<GuestId, Key>,
}

impl Timers {
    /// Timers that begin at `origin`, by the clock that is to be theirs.
    pub(crate) fn new(origin: Instant) -> Timers {
        Timers { origin, present: origin, exact: false, wheel: Wheel::new(), guests: HashMap::new() }
    }

    /// From here on a sleep ends at its deadline, not at the end of the tick: for a clock that is stopped.
    pub(crate) fn be_exact(&mut self) {
        self.exact = true;
    }

    /// When to call [`advance`](Self::advance) next: when the next sleep ends, or now and then a little earlier.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let expiry = if self.exact { self.wheel.next_deadline() } else { self.wheel.next_expiry() };
        let expiry = Duration::from_nanos(expiry?);
        Some(self.origin.saturating_add(expiry))
    }

    /// Moves time to `now` and hands over the waker of each sleep that has ended.
    pub(crate) fn advance(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        self.present = self.present.max(now);
        let nanos = self.nanos(self.present);
        let fire = |waiter: Waiter| {
            if let Some(guest) = waiter.guest {
                self.guests.remove(&guest);
            }
            woken.push(waiter.waker);
        };
        if self.exact { self.wheel.advance_exactly(nanos, fire) } else { self.wheel.advance(nanos, fire) }
    }

    /// How many sleeps are registered.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Forgets every sleep, for shutdown. A sleep that is polled afterwards registers anew.
    pub(crate) fn clear(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.wheel.len());
        self.wheel.clear(|waiter| wakers.push(waiter.waker));
        self.guests.clear();
        wakers
    }

    /// Whether `deadline` had passed at the last `advance`. True stays true; false says nothing about the present.
    pub(super) fn has_passed(&self, deadline: Instant) -> bool {
        deadline <= self.present
    }

    /// Whether `deadline` comes within `span` after the last `advance`.
    pub(super) fn is_near(&self, deadline: Instant, span: Duration) -> bool {
        deadline.saturating_duration_since(self.present) <= span
    }

    pub(super) fn register(&mut self, deadline: Instant, waker: Waker) -> Key {
        self.wheel.insert(self.nanos(deadline), Waiter { waker, guest: None })
    }

    pub(super) fn cancel(&mut self, key: Key) -> Option<Waker> {
        self.wheel.cancel(key).map(|waiter| waiter.waker)
    }

    /// Moves a sleep to another deadline. Nothing happens when it has ended: its task has been woken, and will poll.
    pub(super) fn reschedule(&mut self, key: Key, deadline: Instant) {
        self.wheel.reschedule(key, self.nanos(deadline));
    }

    /// Whom the sleep will wake, while it has not ended.
    pub(super) fn waker(&self, key: Key) -> Option<&Waker> {
        self.wheel.get(key).map(|waiter| &waiter.waker)
    }

    /// Exchanges the waker of a sleep that has not ended, and gives back the one that is not needed.
    pub(super) fn replace_waker(&mut self, key: Key, waker: Waker) -> Waker {
        match self.wheel.get_mut(key) {
            Some(waiter) => mem::replace(&mut waiter.waker, waker),
            None => waker,
        }
    }

    /// Registers a sleep under a name of its own, in place of the one of that name if there is one.
    pub(super) fn register_guest(
        &mut self,
        guest: GuestId,
        deadline: Instant,
        waker: Waker,
    ) -> Option<Waker> {
        let key = self.wheel.insert(self.nanos(deadline), Waiter { waker, guest: Some(guest) });
        let old = self.guests.insert(guest, key)?;
        self.cancel(old)
    }

    pub(super) fn cancel_guest(&mut self, guest: GuestId) -> Option<Waker> {
        let key = self.guests.remove(&guest)?;
        self.cancel(key)
    }

    /// On the wheel's scale, whose ends stand for all that lies beyond.
    fn nanos(&self, instant: Instant) -> u64 {
        instant.nanos_since(self.origin)
    }
}
