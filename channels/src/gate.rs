//! Where one end of a channel waits for the other.
//!
//! A [`Gate`] holds at most one waker: that of the task in which its one waiting end was polled last. Any thread may
//! knock. Rules R16 to R18 say why no knock is lost.
//!
//! ```text
//!   ┌──────┐  register, demote    ┌────────┐
//!   │ OPEN │ ───────────────────▶ │ LOCKED │      LOCKED lasts for a move of a waker and no longer. Nobody waits
//!   └──────┘                      └────────┘      for it to end.
//!       ▲                           │    ▲
//!       │ done: emptied      filled │    │ knock, register, demote
//!       │ (by knock)                ▼    │
//!       │                         ┌────────┐
//!       └──────────────────────── │   ON   │
//!                                 └────────┘
//! ```

use std::task::Waker;

use crate::sync::{AtomicU32, AtomicU64, Ordering, UnsafeCell, fence};

/// Nobody waits here, or its core watches the channel itself.
const OPEN: u32 = 0;
/// The waker in the cell is to be woken.
const ON: u32 = 1;
/// Somebody is at the cell.
const LOCKED: u32 = 2;

/// One waiting end's place to wait.
#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicU32,
    /// The hub whose core watches for the waiting end, 0 if none does. Written by the thread that polls that end.
    watcher: AtomicU64,
    /// Touched by whoever took `word` to `LOCKED`, until it leaves it (R16).
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the cell, the only field that is not, is accessed by one thread at a time: the one that moved `word` to
// `LOCKED` (R16). Wakers may be sent, dropped and woken anywhere.
unsafe impl Sync for Gate {}

/// What became of a registration.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Registered {
    /// The next knock wakes it. Who wants to sleep looks at the channel once more first (R17).
    Yes,
    /// Not now: somebody is at the cell, most likely to wake the waker that was left here before.
    Busy,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(OPEN), watcher: AtomicU64::new(0), waker: UnsafeCell::new(None) }
    }

    /// The hub that watches for the waiting end. Exact on that hub's own thread, as long as the end is polled there;
    /// elsewhere a hint.
    #[inline]
    pub(crate) fn watcher(&self) -> u64 {
        self.watcher.load(Ordering::Relaxed) // a hint: what must be certain looks under the lock
    }

    /// The waiting end: `hub` watches from now on. A waker left from earlier would cost every sender a wake for
    /// nothing, so it goes.
    #[inline]
    pub(crate) fn watch(&self, hub: u64) -> Option<Waker> {
        // Relaxed: read by this thread and, in `demote`, by an exchange, which reads the latest (R18).
        self.watcher.store(hub, Ordering::Relaxed);
        if self.word.load(Ordering::Relaxed) == ON { self.take() } else { None }
    }

    /// The waiting end goes, or gives up waiting: its task is not to be kept by the other end.
    pub(crate) fn forget(&self) -> Option<Waker> {
        self.watcher.store(0, Ordering::Relaxed); // as above; a core that watches still finds out that it is out of date
        self.take()
    }

    /// The waiting end, where no core watches for it: `waker` is to be woken by the next knock. Fences, so that the
    /// caller's next look at the channel is the one of R17.
    pub(crate) fn register(&self, waker: &Waker) -> Registered {
        let Some(_) = self.lock() else { return Registered::Busy };
        self.watcher.store(0, Ordering::Relaxed); // ours to write: we are the waiting end
        let _old = self.fill(waker.clone());
        // SeqCst: pairs with the fence before `knock` (R17).
        fence(Ordering::SeqCst);
        Registered::Yes
    }

    /// The core that watches, before it sleeps: from here on `waker` is to be woken by the next knock. If that cannot
    /// be, `waker` is added to `woken`, and so is a waker that was in its place. The caller fences before it looks at
    /// the channel again.
    pub(crate) fn demote(&self, hub: u64, waker: Waker, woken: &mut Vec<Waker>) {
        let Some(before) = self.lock() else {
            return woken.push(waker); // perhaps a knock for an older waker of ours is under way
        };
        // An exchange, so that it cannot undo the store of an end that has just moved to another core (R18).
        if self.watcher.compare_exchange(hub, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.unlock(before);
            return woken.push(waker);
        }
        woken.extend(self.fill(waker));
    }

    /// Takes the cell, and says what the word was. `None` if somebody else is there.
    fn lock(&self) -> Option<u32> {
        let mut before = self.word.load(Ordering::Relaxed);
        while before != LOCKED {
            // Acquire: pairs with the Release in `unlock`; the accesses to the cell before that come before ours.
            match self.word.compare_exchange(before, LOCKED, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(before),
                Err(now) => before = now,
            }
        }
        None
    }

    fn unlock(&self, to: u32) {
        // Release: pairs with the Acquire in `lock` and `take`.
        self.word.store(to, Ordering::Release);
    }

    /// Under the lock, which ends here: leaves `waker` for the next knock. Returns whose place it took.
    fn fill(&self, waker: Waker) -> Option<Waker> {
        // SAFETY: the callers hold the lock (R16).
        let old = self.waker.with_mut(|cell| unsafe { (*cell).replace(waker) });
        self.unlock(ON);
        old
    }

    /// The other end, after it has published something and fenced: who is to be woken, if anyone.
    ///
    /// If somebody is at the cell, nobody has to be: who comes to wait there fences and looks after that (R17), and a
    /// second knock would only wake the same one.
    #[inline]
    pub(crate) fn knock(&self) -> Option<Waker> {
        // Relaxed: the fence before orders it after the publication.
        if self.word.load(Ordering::Relaxed) == ON { self.take() } else { None }
    }

    #[cold]
    fn take(&self) -> Option<Waker> {
        // Acquire: as in `lock`. A failure is somebody else's success, at the cell or in emptying it.
        self.word.compare_exchange(ON, LOCKED, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: we hold the lock (R16).
        let waker = self.waker.with_mut(|cell| unsafe { (*cell).take() });
        self.unlock(OPEN);
        waker
    }
}
