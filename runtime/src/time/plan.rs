//! What all cores know of one timer of the Machine: when, what, and whether it has been started.

use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::atomic::AtomicCell;
use multikernel_replicate::timers::Claims;
use multikernel_replicate::{Replicated, Time};

use super::alarm::Timers;
use super::{Duration, Instant, MissedTickBehavior};
use crate::executor;
use crate::task::{self, quietly};

pub(super) type Once = Box<dyn FnOnce() + Send>;
pub(super) type Often = Box<dyn Fn() + Send + Sync>;

const _: () = assert!(AtomicCell::<Option<Box<Once>>>::is_lock_free(), "it is one pointer");

/// What is to run, and where.
pub(super) enum Kind {
    /// Once, on the owner. Boxed twice: then whoever takes it does so with one exchange.
    Once(AtomicCell<Option<Box<Once>>>),
    /// Once on each core.
    Each(Option<Often>),
    /// Again and again, on whoever is the owner at the time.
    Every { work: Option<Often>, period: Duration },
}

/// One timer, the same for all cores. It outlives the core that armed it, and so do its claims.
pub(super) struct Plan {
    pub(super) claims: Claims,
    kind: Kind,
    /// Where it was armed.
    pub(super) at: &'static Location<'static>,
    /// Where it is registered.
    pub(super) object: Replicated<Timers>,
}

impl Kind {
    pub(super) fn once(work: impl FnOnce() + Send + 'static) -> Self {
        Self::Once(AtomicCell::new(Some(Box::new(Box::new(work)))))
    }

    pub(super) fn each(work: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Each(Some(Box::new(work)))
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
        let claims = match kind {
            Kind::Once(_) => Claims::once,
            Kind::Each(_) => Claims::each,
            Kind::Every { .. } => Claims::every,
        };
        Self { claims: claims(id, Time(due.as_nanos())), kind, at, object }
    }

    /// When it is due. The past, if it has been started for good.
    pub(super) fn due(&self) -> Instant {
        Instant::from_nanos(self.claims.due().0)
    }

    /// When it is due again after that.
    pub(super) fn next(&self, due: Time, now: Instant) -> Time {
        match self.kind {
            Kind::Once(_) | Kind::Each(_) => due,
            Kind::Every { period, .. } => {
                let due = Instant::from_nanos(due.0);
                Time(MissedTickBehavior::Delay.next_tick(due, now, period).as_nanos())
            }
        }
    }

    /// Runs what has been claimed.
    pub(super) fn run(&self) {
        match &self.kind {
            Kind::Once(work) => work.take().into_iter().for_each(|work| work()),
            Kind::Each(work) | Kind::Every { work, .. } => work.iter().for_each(|work| work()),
        }
    }
}

impl AsRef<Claims> for Plan {
    fn as_ref(&self) -> &Claims {
        &self.claims
    }
}

impl Drop for Plan {
    /// The last reference may go where no code of users may run, as within a commit. So what they gave is dropped by a task.
    fn drop(&mut self) {
        match &mut self.kind {
            Kind::Once(work) => work.take().into_iter().for_each(|work| shed(work, self.at)),
            Kind::Each(work) | Kind::Every { work, .. } => {
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
