//! A core's timers, by a clock that runs or one that a test has stopped.

use super::Core;
use crate::driver::Wait;
use crate::time::{Instant, clock};

impl Core {
    pub(super) fn fire_timers(&self) {
        let due = self.resources.timers.borrow().next_deadline();
        let agreement_due = self.seat.next_deadline();
        if due.is_none() && agreement_due.is_none() {
            return;
        }
        let system = Instant::system();
        let now = clock::at(system);
        if due.is_some_and(|due| due <= now) {
            self.wake_from(|core, woken| core.timers.borrow_mut().advance(now, woken));
        }
        if agreement_due.is_some_and(|due| due <= system) {
            self.seat.tick(system);
        }
    }

    /// A task has moved the clock.
    pub(crate) fn fire_local_timers(&self) {
        self.wake_from(|core, woken| core.timers.borrow_mut().advance(Instant::now(), woken));
    }

    /// The clock is stopped, and nothing keeps it from jumping: it does, unless a last look finds something to do. False if
    /// there is no timer to jump to.
    pub(super) fn jump(&self) -> bool {
        let next = self.resources.timers.borrow().next_deadline();
        let Some(next) = next.filter(|_| !self.machine.clock.is_held()) else { return false };
        // After the look at the holds: mail posted under one is seen.
        self.drive(Wait::No);
        self.deliver();
        if !self.home.has_runnable() && self.machine.clock.move_on(|_| next).is_ok() {
            self.fire_local_timers();
        }
        true
    }

    /// Until the next timer, or until others are to know that this core is free for them. While the clock is stopped, none comes by waiting.
    pub(super) fn longest_wait(&self, longest: Wait) -> Wait {
        let system = Instant::system();
        let timer =
            self.resources.timers.borrow().next_deadline().filter(|_| !self.machine.clock.is_stopped());
        let timer = timer.map(|at| at.saturating_duration_since(clock::at(system)));
        let agreement = self.seat.next_deadline().map(|at| at.saturating_duration_since(system));
        let reserved = self.stays_reserved(system);
        match (timer.into_iter().chain(agreement).chain(reserved).min(), longest) {
            (_, Wait::No) => Wait::No,
            (Some(next), Wait::Forever) => Wait::For(next),
            (Some(next), Wait::For(most)) => Wait::For(next.min(most)),
            (None, longest) => longest,
        }
    }

    /// Whether a stopped clock has a timer to jump to, and nobody keeps it from that any more.
    pub(super) fn may_jump(&self) -> bool {
        let clock = &self.machine.clock;
        clock.is_stopped() && !clock.is_held() && self.resources.timers.borrow().next_deadline().is_some()
    }
}
