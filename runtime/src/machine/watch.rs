//! Watching for stalls: a core that is in one poll for too long.
//!
//! No core reads a clock for this. It counts its polls and its turns in its own memory, with plain stores, and one thread for
//! each Machine, the *watcher*, times the counts. It looks a few times per threshold while some core is awake. When all
//! are asleep it rests, and the first core that wakes wakes it. So an idle Machine costs nothing at all, and a core pays a
//! store for each poll, and a fence and a load for each sleep. Between two looks a core may sleep and wake as it likes:
//! a watcher that has been woken stays up for at least one look.
//!
//! What else was weighed:
//!
//! - *Cores that watch each other* when they look at their clocks. No thread, but while one is stuck the others are asleep
//!   as a rule, for what they wait for is queued behind it; and a Machine of one core has nobody.
//! - *A timer of the system for each core*, on the thread's CPU clock. It is exact, but interrupts every busy core all the
//!   time, with `EINTR` for its calls, and does not see a poll that sleeps in one.
//! - *A watcher that never rests*, slow while all sleep. It keeps CPUs from sleeping for good, and whatever is slow enough not
//!   to be noticed comes too late for the first stall after a pause.
//! - *One watcher for the process.* It saves threads where there are several Machines, and needs a list of them under a lock,
//!   and callbacks of one Machine would hold up the others.
//!
//! **What counts.** A count that stands still proves that the core is in the same poll. It does not prove that the poll is
//! to blame: the thread may have no CPU, or the process may be stopped, or the whole virtual machine. So a stall is not timed
//! from its beginning to now, but adds up what was seen: for each time between two looks, what the thread has spent on a CPU or
//! in a call (see [`Times::spent_since`]), and nothing if the watcher itself came late, for then nobody was there to see
//! it. A look at the system's books is a few microseconds, and is taken only at cores that seem stuck.
//!
//! [`Times::spent_since`]: super::thread_times::Times::spent_since

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use multikernel_channels::doorbell::State;
use multikernel_channels::sync::{Arc, AtomicBool, Ordering, fence};

use crate::limits::LOOKS_PER_STALL;
use crate::machine::core_id::CoreId;
use crate::machine::mailbox::Mailbox;
use crate::machine::stack::{self, Stack};
use crate::machine::stall::Stall;
use crate::machine::thread_times::{ThreadId, Times};
use crate::machine::{Machine, pinning};
use crate::time::Instant;

/// What cores and their watcher share.
pub(crate) struct Watch {
    threshold: Duration,
    /// The threads of the cores, while they run. Locked by the core where it begins and ends, and by the watcher, which
    /// has the thread stay while it asks for its stack.
    seats: Box<[Mutex<Option<ThreadId>>]>,
    watcher: OnceLock<Thread>,
    /// All cores were asleep: the next one that wakes has to wake the watcher.
    is_resting: AtomicBool,
    is_over: AtomicBool,
}

impl Watch {
    pub(crate) fn new(threshold: Duration, cores: usize) -> Self {
        Self {
            threshold,
            seats: (0..cores).map(|_| Mutex::default()).collect(),
            watcher: OnceLock::new(),
            is_resting: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    fn seat(&self, core: usize) -> MutexGuard<'_, Option<ThreadId>> {
        self.seats[core].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calling thread is that core from now on.
    pub(crate) fn take_seat(&self, core: usize) {
        *self.seat(core) = Some(ThreadId::current());
        self.note_awake();
    }

    /// The calling thread is no core any more, and may end.
    pub(crate) fn leave_seat(&self, core: usize) {
        *self.seat(core) = None;
    }

    /// A core has woken, and its state word says so.
    #[inline]
    pub(crate) fn note_awake(&self) {
        // SeqCst: pairs with the fence in `rest`. Either this sees that the watcher rests, or that sees this core awake.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        if self.is_resting.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        // Acquire pairs with the Release in `rest`: the watcher's handle is there. One of those that wake at once does it.
        if self.is_resting.swap(false, Ordering::Acquire) {
            self.watcher.get().iter().for_each(|watcher| watcher.unpark());
        }
    }

    /// The last core has ended.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed); // ordered by the fence
        fence(Ordering::SeqCst); // pairs with the fence in `rest`: that sees the end, or this the handle
        self.watcher.get().iter().for_each(|watcher| watcher.unpark());
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) // by itself; who must not miss it fences or is unparked
    }

    /// The watcher waits until a core wakes, if all are asleep. Whether it has.
    fn rest(&self, cores: &[Arc<Mailbox>]) -> bool {
        self.is_resting.store(true, Ordering::Release); // pairs with the Acquire in `wake`
        fence(Ordering::SeqCst); // pairs with the fences in `note_awake` and `end`
        if self.any_awake(cores) {
            self.is_resting.store(false, Ordering::Relaxed); // who has seen it only unparks once too often
            return false;
        }
        while self.is_resting.load(Ordering::Relaxed) && !self.is_over() {
            thread::park();
        }
        true
    }

    fn any_awake(&self, cores: &[Arc<Mailbox>]) -> bool {
        let mut awake =
            cores.iter().filter(|core| !matches!(core.doorbell.state(), State::Parked | State::Rung));
        awake.any(|core| self.seat(core.index as usize).is_some())
    }
}

/// Starts the thread that watches, if the Machine wants one. It ends with the last core.
pub(crate) fn start(machine: &Arc<Machine>, name: &str) -> Option<JoinHandle<()>> {
    machine.watch.as_ref()?;
    let machine = machine.clone();
    let started = thread::Builder::new().name(format!("{name}-watch")).spawn(move || run(&machine));
    started.map_err(|error| tracing::warn!(%error, "nobody watches for stalls: no thread can be had")).ok()
}

fn run(machine: &Arc<Machine>) {
    let watch = machine.watch.as_ref().expect("it was there when this thread was started");
    let _ = watch.watcher.set(thread::current()); // once
    // It has inherited the mask of the thread that starts it, which may be a core.
    if let Err(error) = pinning::unpin_current_thread() {
        tracing::warn!(%error, "the thread that watches for stalls stays on the CPU of the core that started it");
    }
    let period = watch.threshold / LOOKS_PER_STALL;
    let mut watcher = Watcher {
        watch,
        cores: &machine.cores,
        seen: machine.cores.iter().map(|_| Seen::nothing()).collect(),
        last: Instant::system(),
    };
    while !watch.is_over() {
        thread::park_timeout(period);
        let now = Instant::system();
        let elapsed = now.saturating_duration_since(watcher.last);
        watcher.last = now;
        watcher.look(now, witnessed(elapsed, period), &|stall| machine.hooks.stalled(stall));
        if watch.rest(&machine.cores) {
            watcher.last = Instant::system();
        }
    }
    watcher.seen.iter_mut().zip(&machine.cores).for_each(|(seen, core)| seen.forget(core));
}

/// How much of the time since the last look counts. A watcher that comes late has not run, and perhaps nobody has.
fn witnessed(elapsed: Duration, period: Duration) -> Duration {
    if elapsed <= 2 * period { elapsed } else { Duration::ZERO }
}

/// The watcher's own.
struct Watcher<'a> {
    watch: &'a Watch,
    cores: &'a [Arc<Mailbox>],
    seen: Box<[Seen]>,
    /// When it has looked.
    last: Instant,
}

/// What a core had counted at the last look.
struct Seen {
    /// None: it was not at work, or blocked on purpose.
    progress: Option<Progress>,
    /// When it was first seen to have counted that.
    since: Instant,
    /// Since the second look that found the same.
    suspicion: Option<Suspicion>,
}

/// A core that changes none of these is in one poll, or in one other step of its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    ticks: u32,
    polls: u32,
}

impl Progress {
    fn of(core: &Mailbox) -> Option<Self> {
        let is_at_work = core.doorbell.state() == State::Running && !core.load.blocks();
        is_at_work.then(|| Self { ticks: core.doorbell.ticks(), polls: core.load.polls() })
    }
}

struct Suspicion {
    /// What the thread had spent at the second, and at the last.
    first: Option<Times>,
    last: Option<Times>,
    /// What counts of the time since the second.
    counted: Duration,
    is_told: bool,
}

impl Seen {
    fn nothing() -> Self {
        Self { progress: None, since: Instant::system(), suspicion: None }
    }

    /// The core goes on, or is gone.
    fn forget(&mut self, core: &Mailbox) {
        if self.suspicion.take().is_some_and(|suspicion| suspicion.is_told) {
            core.load.set_stalled(false);
            tracing::info!(core = %name(core), lasted = ?self.since.system_elapsed(), "the core that was stuck goes on");
            stack::forget_names();
        }
        self.progress = None;
    }
}

fn report(stall: &Stall, why_no_stack: Option<String>) {
    tracing::warn!(
        core = %stall.core,
        lasted = ?stall.lasted,
        ran = stall.ran.map(debug),
        task = stall.task.map(display),
        stack = stall.stack.as_ref().map(display),
        no_stack = why_no_stack.map(display),
        "a core is stuck in one poll, and what is queued there waits"
    );
}

fn name(core: &Mailbox) -> CoreId {
    CoreId::new(core.index as usize)
}

impl Watcher<'_> {
    /// Looks at every core. Of the time since the last look, `seen` counts.
    fn look(&mut self, now: Instant, seen: Duration, tell: &dyn Fn(Stall)) {
        for index in 0..self.cores.len() {
            if let Some((stall, why_no_stack)) = self.look_at(index, now, seen) {
                let core = &self.cores[index];
                report(&stall, why_no_stack);
                tell(stall);
                if Progress::of(core) != self.seen[index].progress {
                    self.seen[index].forget(core); // not only at the next look: it may be placed upon again
                }
            }
        }
    }

    fn look_at(&mut self, index: usize, now: Instant, counts: Duration) -> Option<(Stall, Option<String>)> {
        let (core, seen) = (&self.cores[index], &mut self.seen[index]);
        let seat = self.watch.seat(index);
        let progress = Progress::of(core).filter(|_| seat.is_some());
        let (Some(thread), true) = (*seat, progress == seen.progress && progress.is_some()) else {
            drop(seat);
            seen.forget(core);
            (seen.progress, seen.since) = (progress, now);
            return None;
        };
        let times = thread.times();
        let Some(suspicion) = &mut seen.suspicion else {
            let counted = Duration::ZERO;
            seen.suspicion = Some(Suspicion { first: times, last: times, counted, is_told: false });
            return None;
        };
        suspicion.counted += match (times, suspicion.last) {
            (Some(times), Some(last)) => times.spent_since(last, counts),
            _ => counts,
        };
        suspicion.last = times;
        if suspicion.is_told || suspicion.counted < self.watch.threshold {
            return None;
        }
        suspicion.is_told = true;
        core.load.set_stalled(true);
        // SAFETY: the core's thread, which does not end while we hold its seat.
        let asked = unsafe { stack::of(thread) };
        // If it goes on meanwhile, it has told of something else.
        let asked = asked.and_then(|stack| match Progress::of(core) == progress {
            true => Ok(stack),
            false => Err("the core has just gone on".into()),
        });
        let (stack, why_none): (Option<Stack>, _) = match asked {
            Ok(stack) => (Some(stack), None),
            Err(why) => (None, Some(why)),
        };
        let stall = Stall {
            core: name(core),
            task: core.load.polled().filter(|_| core.load.is_in_polls()),
            since: seen.since,
            lasted: now.saturating_duration_since(seen.since),
            ran: times.zip(suspicion.first).map(|(times, first)| times.ran.saturating_sub(first.ran)),
            stack,
        };
        Some((stall, why_none))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_comes_late_has_seen_nothing() {
        let ms = Duration::from_millis;
        assert_eq!(witnessed(ms(26), ms(25)), ms(26));
        assert_eq!(witnessed(ms(3), ms(25)), ms(3)); // woken for nothing
        assert_eq!(witnessed(ms(51), ms(25)), ms(0));
        assert_eq!(witnessed(Duration::from_secs(3600), ms(25)), ms(0));
    }
}
