//! What a core counts for its [figures](crate::machine::figures), in plain memory, and when it publishes them.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::Core;
use crate::limits::{LONG_POLL, RUN_DELAY_PAUSE};
use crate::machine::figures::Sums;
use crate::task::Home;
use crate::time::Instant;

pub(super) struct Tally {
    busy: Cell<u64>,
    pub(super) parks: Cell<u64>,
    pub(super) delay: Cell<u32>,
    /// How many wakes there had been at a certain time. When there have been as many polls, the task that was woken last
    /// has waited since then. This times one wake a turn, by clocks that were read anyway.
    probe: Cell<(u64, Instant)>,
    run_delay: RunDelay,
    /// The clock as it was read last, and when the core began.
    now: Cell<Instant>,
    born: Instant,
    /// In nanoseconds.
    asleep: Cell<u64>,
}

impl Tally {
    /// On the core's own thread.
    pub(super) fn new() -> Self {
        Self {
            busy: Cell::new(0),
            parks: Cell::new(0),
            delay: Cell::new(0),
            probe: Cell::new((0, Instant::system())),
            run_delay: RunDelay::new(),
            now: Cell::new(Instant::system()),
            born: Instant::system(),
            asleep: Cell::new(0),
        }
    }

    /// The core has polled tasks from `started` to `now`. Returns how long a task that is queued now will wait for its poll, as
    /// far as one can tell: nothing if the queue is empty, else as long as the turn took, or a wake that is being timed.
    pub(super) fn note_turn(&self, home: &Home, started: Instant, now: Instant) -> u32 {
        let spent = now.saturating_duration_since(started);
        self.busy.set(self.busy.get() + spent.as_nanos() as u64);
        self.now.set(now);
        let (wakes, polls) = home.wakes_and_polls();
        let (awaited, since) = self.probe.get();
        let waited = now.saturating_duration_since(since);
        let is_new = polls >= awaited;
        if is_new {
            self.probe.set((wakes, now));
        }
        let delay = match (wakes == polls, is_new) {
            (true, _) => Duration::ZERO,
            (false, true) => spent,
            (false, false) => spent.max(waited),
        };
        self.run_delay.look(now);
        let delay = u32::try_from(delay.as_nanos()).unwrap_or(u32::MAX);
        self.delay.set(delay);
        delay
    }

    /// The time, as old as the last turn with polls, or the last sleep.
    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// The core has slept, since it was read what the time is.
    pub(super) fn woke(&self) {
        let now = Instant::system();
        let slept = now.saturating_duration_since(self.now.replace(now));
        self.asleep.set(self.asleep.get() + slept.as_nanos() as u64);
    }

    /// Whether a poll that ends `now`, and `took` so long, would not have been long but for other processes that had the CPU.
    pub(super) fn had_no_cpu(&self, now: Instant, took: Duration) -> bool {
        let before = self.run_delay.nanos.get();
        self.run_delay.read(now);
        let lost = self.run_delay.nanos.get().saturating_sub(before);
        took.saturating_sub(Duration::from_nanos(lost)) < LONG_POLL
    }

    /// In which the core did not sleep, in nanoseconds.
    fn awake(&self) -> u64 {
        let all = self.now.get().saturating_duration_since(self.born).as_nanos() as u64;
        all.saturating_sub(self.asleep.get())
    }
}

/// For how long the thread was ready to run and did not, as the scheduler counts it. Reading that is a system call, and rare.
struct RunDelay {
    /// The system may not tell, or may not let us ask.
    source: Option<File>,
    last: Cell<Instant>,
    nanos: Cell<u64>,
}

impl RunDelay {
    fn new() -> Self {
        let source = File::open("/proc/thread-self/schedstat").ok();
        Self { source, last: Cell::new(Instant::system()), nanos: Cell::new(0) }
    }

    fn look(&self, now: Instant) {
        if now.saturating_duration_since(self.last.get()) >= RUN_DELAY_PAUSE {
            self.read(now);
        }
    }

    fn read(&self, now: Instant) {
        self.last.set(now);
        self.nanos.set(self.ask().unwrap_or(self.nanos.get()));
    }

    /// The second of three numbers.
    #[cold]
    fn ask(&self) -> Option<u64> {
        let mut text = [0; 64];
        let length = self.source.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(&text[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

impl Core {
    /// Lets others see what was counted.
    pub(crate) fn publish(&self) {
        // A future may look at these figures within a turn of the driver, when it is woken there.
        let Ok(reactor) = self.resources.reactor.try_borrow() else { return };
        let driver = reactor.counts();
        let (wakes, polls) = self.home.wakes_and_polls();
        let (mail_in, mail_out) = self.home.mail();
        self.home.mailbox().figures.publish(&Sums {
            busy: self.tally.busy.get(),
            awake: self.tally.awake(),
            polls: polls - self.home.sent(),
            run_delay: self.tally.run_delay.nanos.get(),
            wakes,
            spawned: self.home.spawned(),
            tasks: self.home.pending(),
            queue: u32::try_from(wakes - polls).unwrap_or(u32::MAX),
            delay: self.tally.delay.get(),
            parks: self.tally.parks.get(),
            moved: self.home.sent(),
            mail_in,
            mail_out,
            batches: driver.batches,
            submissions: driver.submissions,
            events: driver.events,
        });
    }
}
