//! The clock of a Machine: the system's, until a test stops it.
//!
//! A Machine of one core may have its clock stopped. From then on it moves only when it is told to, or when the core has
//! nothing else to do: then it jumps to the next timer. Whoever reads the time pays one branch on a word that nobody
//! writes in a program that does not do this.
//!
//! **Holds.** The clock must not jump while somebody is at work whom the core does not see: a blocking call, or a guest
//! between its wake and the end of its poll. Each has a [`Hold`]. What such a party wants of the core it posts before it
//! lets go, so a core that finds no hold, and no mail after that, has seen all there is. Letting go rings a core that
//! sleeps, which looks for holds once more after it has said that it sleeps: one of the two sees the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::Instant;
use crate::context;
use crate::executor;
use crate::machine::mailbox::Mailbox;

/// Clocks in this process that have ever been stopped.
static BENT: AtomicUsize = AtomicUsize::new(0);

/// The clock runs.
const RUNS: u64 = 0;

/// Why a clock was not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No thread but a core or a guest has a clock to stop.
    NoMachine,
    /// The cores of a Machine share no clock, so it cannot be stopped for all of them at one point.
    ManyCores,
    Stopped,
    Runs,
}

impl Refusal {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Refusal::NoMachine => crate::machine::NO_MACHINE,
            Refusal::ManyCores => "time can be paused only in a runtime of one core",
            Refusal::Stopped => "time is paused already",
            Refusal::Runs => "time is not paused",
        }
    }
}

pub(crate) struct Clock {
    /// Where it stands, in nanoseconds, or [`RUNS`].
    stopped: AtomicU64,
    /// By how much it is ahead of the system's, in nanoseconds, while it runs.
    ahead: AtomicI64,
    /// It has been stopped at least once, and is counted in [`BENT`].
    bent: AtomicBool,
    holds: AtomicUsize,
    /// The only core, if there is only one.
    core: Option<Arc<Mailbox>>,
}

impl Clock {
    pub(crate) fn new(cores: &[Arc<Mailbox>]) -> Arc<Self> {
        let core = match cores {
            [core] => Some(core.clone()),
            _ => None,
        };
        Arc::new(Self {
            stopped: AtomicU64::new(RUNS),
            ahead: AtomicI64::new(0),
            bent: AtomicBool::new(false),
            holds: AtomicUsize::new(0),
            core,
        })
    }

    /// What this clock shows when the system's shows `system`.
    pub(crate) fn at(&self, system: Instant) -> Instant {
        // Acquire: pairs with the Release in `resume`, so that `ahead` is the one that belongs to it.
        match self.stopped.load(Ordering::Acquire) {
            RUNS => system.shifted(self.ahead.load(Ordering::Relaxed)),
            nanos => Instant::from_nanos(nanos),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        // Relaxed: whoever stops the clock elsewhere posts to the core afterwards.
        self.stopped.load(Ordering::Relaxed) != RUNS
    }

    /// Stops it where it is.
    pub(crate) fn pause(&self) -> Result<(), Refusal> {
        if self.core.is_none() {
            return Err(Refusal::ManyCores);
        }
        // Relaxed, both: what depends on the clock on another thread learns of it by a message.
        if !self.bent.swap(true, Ordering::Relaxed) {
            BENT.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.at(Instant::system()).as_nanos();
        let paused = self.stopped.compare_exchange(RUNS, now, Ordering::Relaxed, Ordering::Relaxed);
        paused.map(drop).map_err(|_| Refusal::Stopped)
    }

    /// Lets it run on from where it stands.
    pub(crate) fn resume(&self) -> Result<(), Refusal> {
        let nanos = self.stopped.load(Ordering::Relaxed);
        if nanos == RUNS {
            return Err(Refusal::Runs);
        }
        let ahead = nanos.wrapping_sub(Instant::system().as_nanos()).cast_signed();
        self.ahead.store(ahead, Ordering::Relaxed);
        // Release: pairs with the Acquire in `at`.
        self.stopped.store(RUNS, Ordering::Release);
        Ok(())
    }

    /// Moves it on while it is stopped: `to` maps where it stands to where it goes, never back.
    pub(crate) fn move_on(&self, to: impl Fn(Instant) -> Instant) -> Result<(), Refusal> {
        let step = |nanos| match nanos {
            RUNS => None,
            nanos => Some(to(Instant::from_nanos(nanos)).as_nanos().max(nanos)),
        };
        // Relaxed, both: as in `pause`.
        let moved = self.stopped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        moved.map(drop).map_err(|_| Refusal::Runs)
    }

    /// Keeps it from jumping.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        self.start_hold();
        Hold(self.clone())
    }

    pub(super) fn start_hold(&self) {
        // Relaxed: whoever begins has been woken or asked by somebody at work, in whose sight the clock does not jump.
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_hold(&self) {
        // Release: pairs with the Acquire in `is_held`.
        self.holds.fetch_sub(1, Ordering::Release);
        if self.is_stopped()
            && let Some(core) = &self.core
            && core.doorbell.must_ring()
        {
            core.ring();
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        // Acquire: pairs with the Release in `end_hold`; mail that was posted under the hold is seen after this.
        self.holds.load(Ordering::Acquire) > 0
    }

    /// Whether it can be stopped at all.
    pub(crate) fn can_stop(&self) -> bool {
        self.core.is_some()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if *self.bent.get_mut() {
            BENT.fetch_sub(1, Ordering::Relaxed); // as in `pause`
        }
    }
}

/// While it lives, the clock does not jump.
pub(crate) struct Hold(Arc<Clock>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.end_hold();
    }
}

/// What the calling thread's clock shows when the system's shows `system`.
#[inline]
pub(crate) fn at(system: Instant) -> Instant {
    // Relaxed: a plain load. A thread that has a clock of its own learns of its stop by a message, or is told by itself.
    if BENT.load(Ordering::Relaxed) == 0 { system } else { bent(system) }
}

/// Keeps the clock of the calling thread from jumping, if it may be stopped now.
pub(crate) fn hold() -> Option<Hold> {
    if BENT.load(Ordering::Relaxed) == 0 {
        return None; // as in `at`
    }
    executor::with(|core| match core {
        Some(core) => Some(core.machine.clock.hold()),
        None => Some(context::guest_machine()?.clock.hold()),
    })
}

#[cold]
fn bent(system: Instant) -> Instant {
    with(|clock| clock.map_or(system, |clock| clock.at(system)))
}

/// Calls `f` with the clock of the Machine that the calling thread is a core or a guest of.
fn with<R>(f: impl FnOnce(Option<&Clock>) -> R) -> R {
    executor::with(|core| match core {
        Some(core) => f(Some(&core.machine.clock)),
        None => f(context::guest_machine().as_ref().map(|machine| &*machine.clock)),
    })
}

/// Has the calling thread's clock changed by `change`.
///
/// # Panics
/// With what was refused.
#[track_caller]
pub(super) fn change(change: impl FnOnce(&Clock) -> Result<(), Refusal>) {
    let changed = with(|clock| clock.map_or(Err(Refusal::NoMachine), change));
    if let Err(refusal) = changed {
        panic!("{}", refusal.text());
    }
}
