//! Whether an alarm may start what is due now.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::claims::{Claim, Claims};
use crate::policy::Policy;
use crate::{CoreId, Time};

/// One core's part in one timer, but for the waiting.
///
/// Only its core's thread touches it; that its parts are atomic is for the sake of the wakers that alarms are. So every ordering
/// is relaxed.
pub struct Gate {
    /// How many undecided changes may end it, or move it to another core.
    holds: AtomicU32,
    /// It became due meanwhile.
    is_due: AtomicBool,
    /// It is no business of this core any more.
    is_over: AtomicBool,
}

impl Gate {
    /// It is held, if that there is such a timer is not decided.
    pub fn new(is_held: bool) -> Self {
        let (is_due, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { holds: AtomicU32::new(is_held.into()), is_due, is_over }
    }

    /// Starts nothing until it is [released](Self::release).
    pub fn hold(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// Undoes one [`hold`](Self::hold). Says whether something became due meanwhile, which is to be claimed now.
    #[must_use]
    pub fn release(&self) -> bool {
        let is_last = self.holds.fetch_sub(1, Ordering::Relaxed) == 1;
        is_last && self.is_due.swap(false, Ordering::Relaxed)
    }

    /// Starts nothing any more.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether it has [ended](Self::end).
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Claims what is due for the core `me`, if this may start something. `next` says when it is due again. What is claimed must
    /// be started before anything else happens on this core: one that dies before has not claimed it.
    pub fn claim<P: Policy>(
        &self,
        claims: &Claims,
        me: CoreId,
        now: Time,
        next: impl FnOnce(Time) -> Time,
    ) -> Claim {
        if self.is_over() {
            return Claim::Over;
        }
        if self.holds.load(Ordering::Relaxed) > 0 {
            self.is_due.store(true, Ordering::Relaxed);
            return Claim::Held;
        }
        claims.claim::<P>(me, now, next)
    }
}
