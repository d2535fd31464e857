//! What a core publishes about its work: for whoever watches, and for whoever places tasks.
//!
//! A core counts in plain memory of its own and copies the sums here once a turn, with plain stores: nothing on its way
//! through a task knows that it is watched. No other thread ever writes these lines, so reading them costs their owner one
//! cache miss a turn, at most.

use multikernel_channels::sync::{AtomicU32, AtomicU64, Ordering};

/// One core's figures. The first cache line is what placement asks for, the second what only people do.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Figures {
    busy: AtomicU64,
    awake: AtomicU64,
    polls: AtomicU64,
    run_delay: AtomicU64,
    wakes: AtomicU64,
    spawned: AtomicU64,
    tasks: AtomicU32,
    queue: AtomicU32,
    delay: AtomicU32,
    rest: Rest,
}

#[repr(C, align(64))]
#[derive(Default)]
struct Rest {
    parks: AtomicU64,
    unparks: AtomicU64,
    moved: AtomicU64,
    mail_in: AtomicU64,
    mail_out: AtomicU64,
    batches: AtomicU64,
    submissions: AtomicU64,
    events: AtomicU64,
}

/// The same in plain numbers. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// In which tasks were polled.
    pub(crate) busy: u64,
    /// In which the core did not sleep.
    pub(crate) awake: u64,
    pub(crate) polls: u64,
    /// For which the thread could have run and had no CPU, if the system tells.
    pub(crate) run_delay: u64,
    /// Times that a task entered the run queue.
    pub(crate) wakes: u64,
    pub(crate) spawned: u64,
    /// Not complete yet.
    pub(crate) tasks: u32,
    /// In the run queue.
    pub(crate) queue: u32,
    /// How long a task that is queued now waits for its poll, about.
    pub(crate) delay: u32,
    pub(crate) parks: u64,
    /// Tasks handed over to other cores.
    pub(crate) moved: u64,
    pub(crate) mail_in: u64,
    pub(crate) mail_out: u64,
    pub(crate) batches: u64,
    pub(crate) submissions: u64,
    pub(crate) events: u64,
}

impl Figures {
    /// The owner's. All orderings are relaxed: these are figures, and nothing hangs on them.
    pub(crate) fn publish(&self, sums: &Sums) {
        self.busy.store(sums.busy, Ordering::Relaxed);
        self.awake.store(sums.awake, Ordering::Relaxed);
        self.polls.store(sums.polls, Ordering::Relaxed);
        self.run_delay.store(sums.run_delay, Ordering::Relaxed);
        self.wakes.store(sums.wakes, Ordering::Relaxed);
        self.spawned.store(sums.spawned, Ordering::Relaxed);
        self.tasks.store(sums.tasks, Ordering::Relaxed);
        self.queue.store(sums.queue, Ordering::Relaxed);
        self.delay.store(sums.delay, Ordering::Relaxed);
        self.rest.parks.store(sums.parks, Ordering::Relaxed);
        self.rest.moved.store(sums.moved, Ordering::Relaxed);
        self.rest.mail_in.store(sums.mail_in, Ordering::Relaxed);
        self.rest.mail_out.store(sums.mail_out, Ordering::Relaxed);
        self.rest.batches.store(sums.batches, Ordering::Relaxed);
        self.rest.submissions.store(sums.submissions, Ordering::Relaxed);
        self.rest.events.store(sums.events, Ordering::Relaxed);
    }

    /// The owner's, when it has slept: as often as it went to sleep. Not with the others, so that nobody takes a core for asleep
    /// until its turn is over. Relaxed, as they are.
    pub(crate) fn publish_unparks(&self, unparks: u64) {
        self.rest.unparks.store(unparks, Ordering::Relaxed);
    }

    /// Anybody's: how often the core has woken.
    pub(crate) fn unparks(&self) -> u64 {
        self.rest.unparks.load(Ordering::Relaxed)
    }

    /// Anybody's. Each figure is right by itself; two of them may be of different turns.
    pub(crate) fn read(&self) -> Sums {
        Sums {
            busy: self.busy.load(Ordering::Relaxed),
            awake: self.awake.load(Ordering::Relaxed),
            polls: self.polls.load(Ordering::Relaxed),
            run_delay: self.run_delay.load(Ordering::Relaxed),
            wakes: self.wakes.load(Ordering::Relaxed),
            spawned: self.spawned.load(Ordering::Relaxed),
            tasks: self.tasks.load(Ordering::Relaxed),
            queue: self.queue.load(Ordering::Relaxed),
            delay: self.delay.load(Ordering::Relaxed),
            parks: self.rest.parks.load(Ordering::Relaxed),
            moved: self.rest.moved.load(Ordering::Relaxed),
            mail_in: self.rest.mail_in.load(Ordering::Relaxed),
            mail_out: self.rest.mail_out.load(Ordering::Relaxed),
            batches: self.rest.batches.load(Ordering::Relaxed),
            submissions: self.rest.submissions.load(Ordering::Relaxed),
            events: self.rest.events.load(Ordering::Relaxed),
        }
    }
}
