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
//!
//! The same goes for senders that wait for room. A thread without a hub, such as one of another runtime, registers
//! wakers and knocks at once; so does a core whose table is full. Both kinds mix freely.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use crate::gate::{Gate, Registered};
use crate::limits::{HUB_PORTS, HUB_SIDES};
use crate::sync::{Ordering, SharedArc, fence, per_thread};
use crate::{memory, slots};

/// One end of a channel, as far as waiting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Receiver,
    Sender,
}

/// The part of a channel that its ends share and that says who may go on.
pub(crate) trait Port: Send + Sync + 'static {
    /// Where `side` waits.
    fn gate(&self, side: Side) -> &Gate;

    /// Whether `side`, if it waits, has something to do. Asked on the thread where `side` was polled last.
    fn is_ready(&self, side: Side) -> bool;

    /// After something was published for `side` and a SeqCst fence: adds to `woken` who is to be woken. `slot` is that
    /// of the hub that published, `None` if it was a thread without one.
    fn knock(&self, side: Side, slot: Option<usize>, woken: &mut Vec<Waker>) {
        let _ = slot;
        woken.extend(self.gate(side).knock());
    }
}

/// A waiting end's answer to "may I sleep?".
#[must_use]
#[derive(Debug, PartialEq, Eq)]
enum Wait {
    /// It will be woken.
    Sleep,
    /// Something happened meanwhile.
    LookAgain,
}

/// What an end finds when it looks whether there is something to do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<R> {
    /// There was, and it is done.
    Done(R),
    Nothing,
    /// A message, or the end, that this core may not hear of yet (R50).
    Held,
}

impl<R> From<Option<R>> for Look<R> {
    #[inline]
    fn from(found: Option<R>) -> Self {
        found.map_or(Self::Nothing, Self::Done)
    }
}

impl<R> Look<R> {
    #[inline]
    pub(crate) fn map<S>(self, f: impl FnOnce(R) -> S) -> Look<S> {
        match self {
            Self::Done(result) => Look::Done(f(result)),
            Self::Nothing => Look::Nothing,
            Self::Held => Look::Held,
        }
    }
}

/// Polls the end `side` of `port`: tries, and arranges to be woken if there is nothing to do.
#[inline]
pub(crate) fn poll_port<P: Port, R, L: Into<Look<R>>>(
    port: &SharedArc<P>,
    side: Side,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> L,
) -> Poll<R> {
    match attempt().into() {
        Look::Done(result) => return Poll::Ready(result),
        Look::Held => return come_back(cx),
        Look::Nothing => {}
    }
    if wait(port, side, cx.waker()) == Wait::LookAgain {
        if let Look::Done(result) = attempt().into() {
            drop(port.gate(side).forget()); // else the next message would wake us for nothing
            return Poll::Ready(result);
        }
        // Held, or somebody is about to wake a waker that we left earlier. To wait for them here could take long.
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

/// What there is may be handed out when this core knows more, and nobody will wake anybody for it (R52).
#[cold]
pub(crate) fn come_back<R>(cx: &mut Context<'_>) -> Poll<R> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[inline]
fn wait<P: Port>(port: &SharedArc<P>, side: Side, waker: &Waker) -> Wait {
    if Hub::with(|hub| hub.is_some_and(|hub| hub.watch(port, side, waker))) {
        return Wait::Sleep;
    }
    match port.gate(side).register(waker) {
        Registered::Yes if !port.is_ready(side) => Wait::Sleep,
        _ => Wait::LookAgain,
    }
}

/// After something was published for the end `side` of `port`: sees to it that it is woken if it waits.
#[inline]
pub(crate) fn notify<P: Port>(port: &SharedArc<P>, side: Side) {
    if !Hub::with(|hub| hub.is_some_and(|hub| hub.note(port, side))) {
        knock_at_once(&**port, side);
    }
}

/// Apart, so that what a core does for each message stays small.
#[inline(never)]
fn knock_at_once(port: &dyn Port, side: Side) {
    // SeqCst: pairs with the fence of whoever put a waker into the gate (R17).
    fence(Ordering::SeqCst);
    let mut woken = Vec::new();
    port.knock(side, Hub::with(|hub| hub.and_then(|hub| hub.slot.get())), &mut woken);
    woken.into_iter().for_each(Waker::wake);
}

/// The [slot](crate::slots) of the calling thread's hub, which no other thread has until the thread leaves the hub.
#[inline]
pub(crate) fn slot() -> Option<usize> {
    Hub::with(|hub| hub.and_then(Hub::slot))
}

/// Whether the calling thread is a core.
pub(crate) fn is_core() -> bool {
    Hub::with(|hub| hub.is_some())
}

/// Does now what this thread's core has put off: a task looked for an answer to what it has just sent.
#[inline]
pub(crate) fn hurry() {
    Hub::with(|hub| {
        if let Some(hub) = hub
            && hub.noted.get() != 0
        {
            hub.knock_and_wake();
        }
    });
}

per_thread! {
    static CURRENT: *const Hub = std::ptr::null()
}

/// Numbers hubs. Not through the door: nothing but uniqueness hangs on it.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

/// What the calling thread, a core, knows of its channels.
pub struct Hub {
    id: u64,
    /// Which ports have a place, apart from the places because they are searched all the time.
    addresses: [Cell<Option<NonNull<()>>>; HUB_PORTS],
    /// The places searched for last, where most searches end: a task that talks uses one channel each way.
    recent: [Cell<usize>; 2],
    places: [Place; HUB_PORTS],
    /// A bit for each side of each place: it waits, and its waker is here.
    watched: Cell<u32>,
    /// A bit for each side of each place: something was published for it since the last knock.
    noted: Cell<u32>,
    /// A bit for each side of each place: its waker went from here to the gate when the core prepared to park.
    asleep: Cell<u32>,
    /// Where the search for a place to reuse goes on.
    hand: Cell<usize>,
    /// This hub's number among those of the process, from the first time it is asked for until the thread leaves.
    slot: Cell<Option<usize>>,
}

#[derive(Default)]
struct Place {
    port: RefCell<Option<SharedArc<dyn Port>>>,
    wakers: [Cell<Option<Waker>>; HUB_SIDES],
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

fn bit(place: usize, side: Side) -> u32 {
    1 << (place * HUB_SIDES + side as usize)
}

impl Hub {
    /// The hub of a core that has not begun yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            addresses: Default::default(),
            recent: Default::default(),
            places: Default::default(),
            watched: Cell::new(0),
            noted: Cell::new(0),
            asleep: Cell::new(0),
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
        let Some(place) = self.place(port) else { return false };
        let old = self.places[place].wakers[side as usize].replace(Some(waker.clone()));
        self.watched.set(self.watched.get() | bit(place, side));
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
        let Some(place) = self.place(port) else { return false };
        let bit = bit(place, side);
        self.noted.set(self.noted.get() | bit);
        if self.watched.get() & bit != 0 {
            self.wake_here(place, side, bit);
        }
        true
    }

    /// Wakes who waits on this very core. Not instead of the knock: the end may have moved to another thread meanwhile.
    #[inline(never)]
    fn wake_here(&self, place: usize, side: Side, bit: u32) {
        self.watched.set(self.watched.get() & !bit);
        let waker = self.places[place].wakers[side as usize].take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// The place of `port`, which gets one if it has none and one can be had.
    #[inline]
    fn place<P: Port>(&self, port: &SharedArc<P>) -> Option<usize> {
        let address = NonNull::from(&**port).cast::<()>();
        let mut recent = self.recent.iter().map(Cell::get);
        let found = recent.find(|place| self.addresses[*place].get() == Some(address));
        found.or_else(|| self.other_place(address, port))
    }

    #[inline(never)]
    fn other_place<P: Port>(&self, address: NonNull<()>, port: &SharedArc<P>) -> Option<usize> {
        let found = self.addresses.iter().position(|at| at.get() == Some(address));
        let place = found.or_else(|| self.new_place(address, SharedArc::clone(port) as _))?;
        self.recent[1].set(self.recent[0].replace(place));
        Some(place)
    }

    #[cold]
    fn new_place(&self, address: NonNull<()>, port: SharedArc<dyn Port>) -> Option<usize> {
        let free = self.free_place().or_else(|| {
            self.knock_and_wake();
            self.free_place()
        })?;
        self.hand.set(free + 1);
        self.addresses[free].set(Some(address));
        // What was here goes last: it may hold a waker, and so run code of users.
        let _old = self.places[free].port.replace(Some(port));
        Some(free)
    }

    /// A place in which nobody waits and nothing is owed, the one used longest ago if many are alike.
    fn free_place(&self) -> Option<usize> {
        let busy = self.watched.get() | self.noted.get();
        let both = |place: usize| bit(place, Side::Receiver) | bit(place, Side::Sender);
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
            if port.is_ready(side) || port.gate(side).watcher() != self.id {
                self.watched.set(self.watched.get() & !bit);
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
        for (address, place) in self.addresses.iter().zip(&self.places) {
            address.set(None);
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
