//! Where loans come back to. It knows nothing of what is lent.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::task::Waker;

use crossbeam_utils::CachePadded;

use crate::gate::Gate;
use crate::hub::{Port, Side, notify};
use crate::inbox::{Closed, Inbox, Link, Linked};
use crate::sync::{Ordering, SharedArc, UnsafeCell, per_thread};

/// What each lent object begins with.
#[repr(C)]
pub(super) struct Header {
    link: Link,
}

// SAFETY: `repr(C)`, and the link comes first.
unsafe impl Linked for Header {}

impl Header {
    pub(super) fn new() -> Self {
        Self { link: Link::new() }
    }
}

/// The part of a pool that its loans know.
pub(super) struct Home {
    /// The thread that the pool is on.
    thread: u64,
    gate: Gate,
    /// What was dropped elsewhere, or while somebody waits.
    returns: CachePadded<Inbox<Header>>,
    /// Touched on the home thread only (R36).
    local: UnsafeCell<Local>,
}

/// What only the home thread knows.
struct Local {
    free: Vec<NonNull<Header>>,
    /// Those who wait, in the order in which they came; the first waits at the gate (R37).
    waiting: VecDeque<(u64, Waker)>,
    /// The number of who waits next.
    next: u64,
    is_open: bool,
}

// SAFETY: `local`, the only field that is not, is touched on one thread alone, the home thread: by loans after they have
// seen that they are there, and by the pool, which cannot leave it (R36). What its pointers lead to is the pool's
// business.
unsafe impl Sync for Home {}
// SAFETY: the last owner may be anywhere, but by then the pool has closed and `local` holds no objects.
unsafe impl Send for Home {}

impl Port for Home {
    fn gate(&self, _: Side) -> &Gate {
        &self.gate
    }

    fn is_ready(&self, _: Side) -> bool {
        !self.returns.is_empty()
    }
}

/// Numbers threads. Not through the door: nothing but uniqueness hangs on it.
static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

per_thread! {
    static HERE: u64 = 0
}

/// A number that no other thread of this process has or will have.
fn here() -> u64 {
    HERE.with(|here| {
        if here.get() == 0 {
            here.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        here.get()
    })
}

/// What is to be done with an object that came back.
#[must_use]
pub(super) enum Returned {
    /// The pool has it.
    Kept,
    /// There is no pool any more: free it.
    ToFree,
}

impl Home {
    /// For a pool on this thread, of `count` objects.
    pub(super) fn new(count: usize) -> SharedArc<Self> {
        let free = Vec::with_capacity(count);
        SharedArc::new(Self {
            thread: here(),
            gate: Gate::new(),
            returns: CachePadded::new(Inbox::new()),
            local: UnsafeCell::new(Local { free, waiting: VecDeque::new(), next: 0, is_open: true }),
        })
    }

    /// Calls `f`, which must not run code of users, with what only this thread knows.
    ///
    /// # Safety
    /// This is the home thread.
    #[inline]
    unsafe fn local<R>(&self, f: impl FnOnce(&mut Local) -> R) -> R {
        // SAFETY: no other thread comes here, and on this one `f` does not (R36).
        self.local.with_mut(|local| f(unsafe { &mut *local }))
    }

    /// Takes `object` back if this is the home thread and nobody waits. `None` if it has to be [sent](Self::send_back).
    ///
    /// # Safety
    /// The object has been lent by the pool of this home, and is used no more.
    #[inline]
    pub(super) unsafe fn take_back(&self, object: NonNull<Header>) -> Option<Returned> {
        if self.thread != here() {
            return None;
        }
        let keep = |local: &mut Local| {
            if !local.is_open {
                return Some(Returned::ToFree);
            }
            local.waiting.is_empty().then(|| {
                local.free.push(object);
                Returned::Kept
            })
        };
        // SAFETY: this is the home thread.
        unsafe { self.local(keep) }
    }

    /// Sends `object` home. It may be freed by the time of return, so the reference to the home is another than its own.
    ///
    /// # Safety
    /// The object has been lent by the pool of this home, is used no more, and may go to the home thread.
    pub(super) unsafe fn send_back(this: &SharedArc<Self>, object: NonNull<Header>) -> Returned {
        // SAFETY: it is in no queue while it is lent; the rest is said by the caller.
        match unsafe { this.returns.push(object) } {
            Ok(()) => {
                notify(this, Side::Receiver);
                Returned::Kept
            }
            Err(Closed) => Returned::ToFree,
        }
    }

    /// Puts a new object among those that are free.
    ///
    /// # Safety
    /// This is the home thread.
    pub(super) unsafe fn add(&self, object: NonNull<Header>) {
        // SAFETY: said by the caller.
        unsafe { self.local(|local| local.free.push(object)) }
    }

    /// An object that is free.
    ///
    /// # Safety
    /// This is the home thread.
    #[inline]
    pub(super) unsafe fn grab(&self) -> Option<NonNull<Header>> {
        let grab = |local: &mut Local| {
            if local.free.is_empty() {
                // SAFETY: the home thread alone takes.
                local.free.extend(unsafe { self.returns.take() });
            }
            local.free.pop()
        };
        // SAFETY: said by the caller.
        unsafe { self.local(grab) }
    }

    /// Closes, and hands out all that is here. What comes later is refused.
    ///
    /// # Safety
    /// This is the home thread.
    pub(super) unsafe fn close(&self) -> Vec<NonNull<Header>> {
        let close = |local: &mut Local| {
            local.is_open = false;
            // SAFETY: the home thread alone closes.
            local.free.extend(unsafe { self.returns.close() });
            std::mem::take(&mut local.free)
        };
        // SAFETY: said by the caller.
        let free = unsafe { self.local(close) };
        drop(self.gate.forget());
        free
    }

    /// Whether it is the turn of who waits as `number`, or of somebody who begins to wait.
    ///
    /// # Safety
    /// This is the home thread.
    #[inline]
    pub(super) unsafe fn is_next(&self, number: Option<u64>) -> bool {
        // SAFETY: said by the caller.
        let first = unsafe { self.local(|local| local.waiting.front().map(|(first, _)| *first)) };
        first.is_none() || first == number
    }

    /// Leaves `waker` for when it is the turn of `number`; without a number, at the end of the queue, and gives one.
    ///
    /// # Safety
    /// This is the home thread.
    pub(super) unsafe fn queue(&self, number: Option<u64>, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let queue = |local: &mut Local| {
            if let Some(number) = number
                && let Some(place) = local.waiting.iter_mut().find(|(waits, _)| *waits == number)
            {
                return (number, Some(std::mem::replace(&mut place.1, waker)));
            }
            local.next += 1;
            local.waiting.push_back((local.next, waker));
            (local.next, None)
        };
        // SAFETY: said by the caller.
        let (number, old) = unsafe { self.local(queue) };
        drop(old);
        number
    }

    /// Takes `number` out of the queue. If it was first, the next is woken, to wait at the gate (R37).
    ///
    /// # Safety
    /// This is the home thread.
    pub(super) unsafe fn leave(&self, number: u64) {
        let leave = |local: &mut Local| {
            let place = local.waiting.iter().position(|(waits, _)| *waits == number)?;
            let gone = local.waiting.remove(place);
            // It leaves its waker anew when it is polled.
            let next = local.waiting.front_mut().filter(|_| place == 0);
            let next = next.map(|(_, waker)| std::mem::replace(waker, Waker::noop().clone()));
            Some((gone, next))
        };
        // SAFETY: said by the caller.
        if let Some((_gone, Some(next))) = unsafe { self.local(leave) } {
            next.wake();
        }
    }
}
