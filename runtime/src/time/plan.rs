//! What all cores know of one timer of the Machine: when, what, and whether it has been started.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::atomic::AtomicCell;
use multikernel_replicate::{CoreId, Replicated};

use super::replica::Timers;
use super::{Duration, Instant, MissedTickBehavior};
use crate::executor;
use crate::limits::CORES;
use crate::task::{self, quietly};

pub(super) type Once = Box<dyn FnOnce() + Send>;
pub(super) type Often = Box<dyn Fn() + Send + Sync>;

/// It has been started, and will not be again.
const STARTED: u64 = u64::MAX;

const _: () = assert!(AtomicCell::<Option<Box<Once>>>::is_lock_free(), "it is one pointer");

/// What is to run, and where.
pub(super) enum Kind {
    /// Once, on the owner. Boxed twice: then whoever takes it does so with one exchange.
    Once(AtomicCell<Option<Box<Once>>>),
    /// Once on each core. A bit for each that has started.
    Each { work: Option<Often>, started: Box<[AtomicU64; CORES.div_ceil(64)]> },
    /// Again and again, on whoever is the owner at the time.
    Every { work: Option<Often>, period: Duration },
}

/// One timer, the same for all cores. It outlives the core that armed it, and so does its claim.
pub(super) struct Plan {
    pub(super) id: u64,
    kind: Kind,
    /// When it is due next, in nanoseconds, or [`STARTED`]. Whoever moves this on starts what was due then.
    claim: AtomicU64,
    /// Where it was armed.
    pub(super) at: &'static Location<'static>,
    /// Where it is registered.
    pub(super) object: Replicated<Timers>,
}

/// What a claim has brought.
pub(super) enum Claim {
    /// It is not due yet.
    Early(Instant),
    /// Run it, if there is something; then nothing more is to be done here.
    Last(Option<Work>),
    /// Run it, if there is something; then wait until that time.
    Next(Option<Work>, Instant),
}

/// The right to run what is due, once.
pub(super) struct Work(Start);

enum Start {
    Once(Once),
    Often(Arc<Plan>),
}

impl Work {
    pub(super) fn run(self) {
        match self.0 {
            Start::Once(work) => work(),
            Start::Often(plan) => plan.run(),
        }
    }
}

impl Kind {
    pub(super) fn once(work: impl FnOnce() + Send + 'static) -> Self {
        Self::Once(AtomicCell::new(Some(Box::new(Box::new(work)))))
    }

    pub(super) fn each(work: impl Fn() + Send + Sync + 'static) -> Self {
        let started = Box::new([const { AtomicU64::new(0) }; CORES.div_ceil(64)]);
        Self::Each { work: Some(Box::new(work)), started }
    }

    pub(super) fn every(work: impl Fn() + Send + Sync + 'static, period: Duration) -> Self {
        Self::Every { work: Some(Box::new(work)), period }
    }
}

impl Plan {
    pub(super) fn new(
        due: Instant,
        kind: Kind,
        at: &'static Location<'static>,
        object: Replicated<Timers>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Relaxed: only uniqueness matters.
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, kind, claim: AtomicU64::new(due.as_nanos().min(STARTED - 1)), at, object }
    }

    /// Whether each core has a part of its own.
    pub(super) fn is_for_each(&self) -> bool {
        matches!(self.kind, Kind::Each { .. })
    }

    /// When it is due. The past, if it has been started for good.
    pub(super) fn due(&self) -> Instant {
        // Acquire: pairs with `claim`.
        match self.claim.load(Ordering::Acquire) {
            STARTED => Instant::from_nanos(0),
            due => Instant::from_nanos(due),
        }
    }

    /// Whether it is too late to say that it shall not run.
    pub(super) fn has_started(&self) -> bool {
        // Acquire, both: pairs with `claim`. What a core has claimed that is dead by now is seen.
        match &self.kind {
            Kind::Once(_) => self.claim.load(Ordering::Acquire) == STARTED,
            Kind::Each { started, .. } => started.iter().any(|word| word.load(Ordering::Acquire) != 0),
            Kind::Every { .. } => false,
        }
    }

    /// Claims what is due for the core `me`. Of all who do that for the same tick, one gets the work.
    pub(super) fn claim(self: &Arc<Self>, me: CoreId) -> Claim {
        let (due, now) = (self.due(), Instant::now());
        if due > now {
            return Claim::Early(due);
        }
        let often = |is_mine: bool| is_mine.then(|| Work(Start::Often(self.clone())));
        match &self.kind {
            Kind::Once(work) => {
                let taken = if self.move_on(due, STARTED) { work.take() } else { None };
                Claim::Last(taken.map(|work| Work(Start::Once(*work))))
            }
            Kind::Each { started, .. } => {
                let bit = 1 << (me.index() % 64);
                // AcqRel: pairs with itself and with `has_started`.
                let before = started[me.index() / 64].fetch_or(bit, Ordering::AcqRel);
                Claim::Last(often(before & bit == 0))
            }
            Kind::Every { period, .. } => {
                let next = MissedTickBehavior::Delay.next_tick(due, now, *period);
                let is_mine = self.move_on(due, next.as_nanos());
                Claim::Next(often(is_mine), self.due())
            }
        }
    }

    fn move_on(&self, from: Instant, to: u64) -> bool {
        // AcqRel and Acquire: pairs with itself, `due` and `has_started`.
        self.claim.compare_exchange(from.as_nanos(), to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn run(&self) {
        if let Kind::Each { work: Some(work), .. } | Kind::Every { work: Some(work), .. } = &self.kind {
            work();
        }
    }
}

impl Drop for Plan {
    /// The last reference may go where no code of users may run, as within a commit. So what they gave is dropped by a task.
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Once(work) => work.take().into_iter().for_each(|work| shed(work, self.at)),
            Kind::Each { work, .. } | Kind::Every { work, .. } => {
                work.take().into_iter().for_each(|work| shed(work, self.at));
            }
        }
    }
}

fn shed(work: impl Send + 'static, at: &'static Location<'static>) {
    executor::with(|core| match core {
        Some(core) => drop(task::spawn_at_home(&core.home, async move { drop(work) }, at)),
        None => quietly(|| drop(work)),
    });
}
