//! What a core does for the channels whose ends are polled on it.
//!
//! Between threads that know nothing of each other a channel costs a fence for each message, so that a receiver that
//! goes to sleep is not missed, and a wake through the runtime for each time it slept. Cores can do better. A [`Hub`] is the
//! table, one for each core, of the few channels that its tasks have used last:
//!
//! - **Watching.** A receiver that finds nothing does not leave its waker with the channel. It leaves it in its core's
//!   hub, and the core looks at the channel itself: at each look at its inbox, and all the time while it polls before
//!   parking. Its senders then write their message and nothing else. Only before it sleeps does the core put the
//!   wakers where senders find them.
//! - **Knocking later.** A sender on a core does not fence and look for a sleeper after each message. It notes the
//!   channel in its core's hub, and the core does it for all of them at once, with one fence, a few polls later at the
//!   latest and in any case before it parks.
//! - **Lingering.** A receiver that finds nothing may look for a microsecond more within its poll.
//!
//! The same goes for senders that wait for room. A thread without a hub, such as one of another runtime, registers
//! wakers and knocks at once; so does a core whose table is full. Both kinds mix freely.

mod linger;
mod port;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::task::Waker;

use self::linger::Pace;
pub(crate) use self::port::{Look, Port, Side, come_back, hurry, is_core, notify, poll_port, slot};
use crate::limits::{HUB_PORTS, HUB_SIDES};
use crate::sync::{Ordering, SharedArc, fence, per_thread};
use crate::{memory, slots};

per_thread! {
    static CURRENT: *const Hub = std::ptr::null()
}

/// Numbers hubs. Not through the door: nothing but uniqueness hangs on it.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// What the calling thread, a core, knows of its channels.
pub struct Hub {
    id: u64,
    /// Which ports have a place, apart from the places because they are searched all the time.
    addresses: [Cell<*const ()>; HUB_PORTS],
    /// The two searched for last, where most searches end: a task that talks uses one channel each way.
    recent: [Recent; 2],
    places: [Place; HUB_PORTS],
    /// A bit for each side of each place: it waits, and its waker is here.
    watched: Cell<u32>,
    /// A bit for each side of each place: something was published for it since the last knock.
    noted: Cell<u32>,
    /// A bit for each side of each place: its waker went from here to the gate when the core prepared to park.
    asleep: Cell<u32>,
    /// A bit for each side of each place: the last time, something came so soon that to linger pays.
    paying: Cell<u32>,
    /// Somebody has lingered and found something since the core asked last.
    lingered: Cell<bool>,
    /// Whether the core has nothing else to do.
    is_free: Cell<fn() -> bool>,
    /// Where the search for a place to reuse goes on.
    hand: Cell<usize>,
    /// This hub's number among those of the process, from the first time it is asked for until the thread leaves.
    slot: Cell<Option<usize>>,
}

/// A port that has a place, and the bit of its receiver.
struct Recent {
    address: Cell<*const ()>,
    receiver: Cell<u32>,
}

impl Recent {
    fn clear(&self) {
        self.address.set(std::ptr::null());
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self { address: Cell::new(std::ptr::null()), receiver: Cell::new(0) }
    }
}

#[derive(Default)]
struct Place {
    port: RefCell<Option<SharedArc<dyn Port>>>,
    wakers: [Cell<Option<Waker>>; HUB_SIDES],
    pace: Pace,
}

/// The bits in `bits`, as places and sides.
fn each(mut bits: u32) -> impl Iterator<Item = (usize, Side, u32)> {
    std::iter::from_fn(move || {
        let lowest = bits.checked_sub(1).map(|less| bits & !less)?;
        bits &= !lowest;
        let number = lowest.trailing_zeros() as usize;
        let side = if number.is_multiple_of(HUB_SIDES) { Side::Receiver } else { Side::Sender };
        Some((number / HUB_SIDES, side, lowest))
    })
}

/// The place that has this bit.
fn place(bit: u32) -> usize {
    bit.trailing_zeros() as usize / HUB_SIDES
}

fn both(place: usize) -> u32 {
    bit(place, Side::Receiver) | bit(place, Side::Sender)
}

fn bit(place: usize, side: Side) -> u32 {
    1 << (place * HUB_SIDES + side as usize)
}

impl Hub {
    /// The hub of a core that has not begun yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            addresses: std::array::from_fn(|_| Cell::new(std::ptr::null())),
            recent: Default::default(),
            places: Default::default(),
            watched: Cell::new(0),
            noted: Cell::new(0),
            asleep: Cell::new(0),
            paying: Cell::new(0),
            lingered: Cell::new(false),
            is_free: Cell::new(|| false),
            hand: Cell::new(0),
            slot: Cell::new(None),
        }
    }

    /// Makes this the calling thread's hub while `f` runs. Whoever calls this polls no task in `f` without calling
    /// [`scan`](Self::scan) and [`knock`](Self::knock) soon after, and sleeps only after
    /// [`prepare_park`](Self::prepare_park), a fence, and [`may_sleep`](Self::may_sleep).
    pub fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Leave<'a>(&'a Hub, *const Hub);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                CURRENT.with(|current| current.set(self.1));
                self.0.clear();
                self.0.slot.take().into_iter().for_each(slots::give_back);
                memory::core_ends();
            }
        }
        memory::core_begins();
        let _leave = Leave(self, CURRENT.with(|current| current.replace(self)));
        f()
    }

    /// Calls `f` with the calling thread's hub.
    #[inline]
    fn with<R>(f: impl FnOnce(Option<&Hub>) -> R) -> R {
        let hub = CURRENT.with(|current| current.get());
        // SAFETY: `enter` set it on this thread to a hub that is borrowed until `enter` has set it back, and the
        // reference does not outlive `f`, which returns before that.
        f(unsafe { hub.as_ref() })
    }

    /// An end that finds nothing may look for a little longer, within its poll, as long as `is_free` says that its core has
    /// nothing else to do. Without this none does.
    pub fn linger_while(&self, is_free: fn() -> bool) {
        self.is_free.set(is_free);
    }

    /// Whether an end has lingered, and found something, since the last question: more may be on its way.
    pub fn has_lingered(&self) -> bool {
        self.lingered.replace(false)
    }

    /// `None` if there are more hubs than slots.
    #[inline]
    fn slot(&self) -> Option<usize> {
        self.slot.get().or_else(|| {
            self.slot.set(slots::take());
            self.slot.get()
        })
    }

    /// Watches for `side` of `port`. False if there is no place left.
    #[inline]
    fn watch<P: Port>(&self, port: &SharedArc<P>, side: Side, waker: &Waker) -> bool {
        let Some(bit) = self.bit(port, side) else { return false };
        let old = self.places[place(bit)].wakers[side as usize].replace(Some(waker.clone()));
        self.watched.set(self.watched.get() | bit);
        let gate = port.gate(side);
        if gate.watcher() != self.id {
            drop(gate.watch(self.id));
        }
        drop(old); // code of users, so last
        true
    }

    /// Remembers to knock for `side` of `port`. Wakes it at once if it waits on this very core. False if there is no
    /// place left.
    #[inline]
    fn note<P: Port>(&self, port: &SharedArc<P>, side: Side) -> bool {
        let Some(bit) = self.bit(port, side) else { return false };
        self.noted.set(self.noted.get() | bit);
        if self.watched.get() & bit != 0 {
            self.wake_here(side, bit);
        }
        true
    }

    /// Wakes who waits on this very core. Not instead of the knock: the end may have moved to another thread meanwhile.
    #[inline(never)]
    fn wake_here(&self, side: Side, bit: u32) {
        self.watched.set(self.watched.get() & !bit);
        let waker = self.places[place(bit)].wakers[side as usize].take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The bit of `side` of `port`, which gets a place if it has none and one can be had.
    #[inline]
    fn bit<P: Port>(&self, port: &SharedArc<P>, side: Side) -> Option<u32> {
        let address = SharedArc::as_ptr(port).cast();
        let found = self.recent.iter().find(|recent| recent.address.get() == address);
        let receiver = match found {
            Some(recent) => recent.receiver.get(),
            None => self.other(address, port)?,
        };
        Some(receiver << side as u32)
    }

    #[inline(never)]
    fn other<P: Port>(&self, address: *const (), port: &SharedArc<P>) -> Option<u32> {
        let found = self.addresses.iter().position(|at| at.get() == address);
        let place = found.or_else(|| self.new_place(address, SharedArc::clone(port) as _))?;
        let [first, second] = &self.recent;
        second.receiver.set(first.receiver.replace(bit(place, Side::Receiver)));
        second.address.set(first.address.replace(address));
        Some(first.receiver.get())
    }

    #[cold]
    fn new_place(&self, address: *const (), port: SharedArc<dyn Port>) -> Option<usize> {
        let free = self.free_place().or_else(|| {
            self.knock_and_wake();
            self.free_place()
        })?;
        self.hand.set(free + 1);
        self.paying.set(self.paying.get() & !both(free));
        self.places[free].pace.reset();
        let before = self.addresses[free].replace(address);
        self.recent.iter().filter(|recent| recent.address.get() == before).for_each(Recent::clear);
        // What was here goes last: it may hold a waker, and so run code of users.
        let _old = self.places[free].port.replace(Some(port));
        Some(free)
    }

    /// A place in which nobody waits and nothing is owed, the one used longest ago if many are alike.
    fn free_place(&self) -> Option<usize> {
        let busy = self.watched.get() | self.noted.get();
        let mut from_hand = (self.hand.get()..).take(HUB_PORTS).map(|number| number % HUB_PORTS);
        from_hand.find(|place| busy & both(*place) == 0)
    }

    fn is_ready(&self, place: usize, side: Side) -> bool {
        self.places[place].port.borrow().as_ref().is_some_and(|port| port.is_ready(side))
    }

    /// Whether nothing is watched and nothing is owed.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.watched.get() | self.noted.get() == 0
    }

    /// Whether a channel that is watched has something for its waiting end. For polling before parking.
    #[inline]
    #[must_use]
    pub fn has_ready(&self) -> bool {
        each(self.watched.get()).any(|(place, side, _)| self.is_ready(place, side))
    }

    /// Looks at the channels that are watched, and adds to `woken` whoever has something to do.
    #[inline]
    pub fn scan(&self, woken: &mut Vec<Waker>) {
        for (place, side, bit) in each(self.watched.get()) {
            let port = self.places[place].port.borrow();
            let Some(port) = port.as_ref() else { continue };
            // An end that is polled elsewhere by now is not ours to watch. Its old waker is woken rather than dropped:
            // to be woken for nothing is always allowed.
            let is_ready = port.is_ready(side);
            if is_ready || port.gate(side).watcher() != self.id {
                self.watched.set(self.watched.get() & !bit);
                if is_ready && port.lingers(side) {
                    self.paying.set(self.paying.get() | bit);
                }
                woken.extend(self.places[place].wakers[side as usize].take());
            }
        }
    }

    /// Knocks where something was published since the last time, and adds to `woken` whoever slept there.
    #[inline]
    pub fn knock(&self, woken: &mut Vec<Waker>) {
        let noted = self.noted.replace(0);
        if noted != 0 {
            // SeqCst: pairs with the fence of whoever put a waker into one of the gates (R17).
            fence(Ordering::SeqCst);
            for (place, side, _) in each(noted) {
                if let Some(port) = self.places[place].port.borrow().as_ref() {
                    port.knock(side, self.slot.get(), woken);
                }
            }
        }
    }

    #[cold]
    fn knock_and_wake(&self) {
        let mut woken = Vec::new();
        self.knock(&mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The core is about to sleep: puts the wakers where senders find them (R19). Old wakers that are in the way are
    /// added to `woken`.
    ///
    /// Knocks first: a waker woken since the last time may have sent something. The caller fences next, and then asks
    /// [`may_sleep`](Self::may_sleep).
    pub fn prepare_park(&self, woken: &mut Vec<Waker>) {
        self.knock(woken);
        for (place, side, bit) in each(self.watched.get()) {
            let port = self.places[place].port.borrow();
            let (Some(port), Some(waker)) = (port.as_ref(), self.places[place].wakers[side as usize].take())
            else {
                continue;
            };
            port.gate(side).demote(self.id, waker, woken);
            self.watched.set(self.watched.get() & !bit);
            self.asleep.set(self.asleep.get() | bit);
        }
    }

    /// After [`prepare_park`](Self::prepare_park) and a fence: whether none of the channels has got something
    /// meanwhile. Adds to `woken` those that have.
    #[must_use]
    pub fn may_sleep(&self, woken: &mut Vec<Waker>) -> bool {
        for (place, side, _) in each(self.asleep.replace(0)) {
            if self.is_ready(place, side) {
                let port = self.places[place].port.borrow();
                woken.extend(port.as_ref().and_then(|port| port.gate(side).knock()));
            }
        }
        woken.is_empty()
    }

    /// The core ends: nobody is watched any more, and nothing is owed.
    fn clear(&self) {
        let mut woken = Vec::new();
        self.prepare_park(&mut woken);
        fence(Ordering::SeqCst); // R17
        let _ = self.may_sleep(&mut woken);
        self.recent.iter().for_each(Recent::clear);
        for (address, place) in self.addresses.iter().zip(&self.places) {
            address.set(std::ptr::null());
            drop(place.port.take());
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = (self.watched.get().count_ones(), self.noted.get().count_ones());
        f.debug_struct("Hub").field("watched", &counts.0).field("noted", &counts.1).finish_non_exhaustive()
    }
}
