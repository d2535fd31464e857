//! One core's part in one timer of the Machine: it waits with the core's own timers, and starts what is due as a task.
//!
//! While it waits it is no task: a core that has nothing but alarms is idle, and may retire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use multikernel_replicate::timers::{self, Claim, Gate};
use multikernel_replicate::{AnnounceError, CoreId, Sound, Time};

use super::plan::Plan;
use super::wheel::Key;
use super::{Instant, sleep};
use crate::context;
use crate::executor;
use crate::limits::TIMER_PAUSE;
use crate::task;

/// One core's replica of the timers of the Machine.
pub(super) type Timers = timers::Timers<Alarm>;

/// A change of them.
pub(super) type Order = timers::Order<Plan>;

/// Only its core's thread touches it; that its parts are atomic is for the sake of the waker that it is. So every ordering is
/// relaxed.
pub(super) struct Alarm {
    plan: Arc<Plan>,
    me: CoreId,
    gate: Gate,
    /// The key of its place among the core's timers, in parts.
    ticket: AtomicU64,
    index: AtomicU32,
}

impl timers::Alarm for Alarm {
    type Plan = Plan;

    fn start(plan: Arc<Plan>, me: CoreId, is_held: bool) -> Arc<Self> {
        let due = plan.due();
        let (ticket, index) = (AtomicU64::new(0), AtomicU32::new(0));
        let alarm = Arc::new(Self { plan, me, gate: Gate::new(is_held), ticket, index });
        alarm.wait_until(due);
        alarm
    }

    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn fall_due(self: &Arc<Self>) {
        self.forget_place();
        self.ring();
    }

    fn end(&self) {
        self.gate.end();
        self.forget_place();
    }
}

impl Alarm {
    fn forget_place(&self) {
        let ticket = self.ticket.swap(0, Ordering::Relaxed);
        if let Some(key) = Key::from_parts(ticket, self.index.load(Ordering::Relaxed)) {
            let _waker = context::with_core(|here| here.map(|here| here.timers.borrow_mut().cancel(key)));
        }
    }

    fn wait_until(self: &Arc<Self>, due: Instant) {
        self.forget_place();
        if due <= Instant::now() {
            return self.ring();
        }
        context::with_core(|here| {
            let Some(here) = here else { return };
            let waker = Waker::from(self.clone());
            let (ticket, index) = here.timers.borrow_mut().register(due, waker).into_parts();
            self.ticket.store(ticket, Ordering::Relaxed);
            self.index.store(index, Ordering::Relaxed);
        });
    }

    /// It is due, as far as the core's timers know. What this starts is a task, for it may be called within a commit.
    fn ring(self: &Arc<Self>) {
        executor::with(|core| {
            let Some(core) = core.filter(|_| !self.gate.is_over()) else { return };
            if core.home.is_shut() {
                // Nothing can start while the core is about to leave. It may be refused, and go on.
                return self.wait_until(Instant::now() + TIMER_PAUSE);
            }
            let this = self.clone();
            let task = task::spawn_at_home(&core.home, async move { this.fire() }, self.plan.at);
            drop(task);
        });
    }

    /// Claims what is due, and runs it in the same poll: a core that dies before that has not claimed it.
    fn fire(self: &Arc<Self>) {
        let now = Instant::now();
        let next = |due| self.plan.next(due, now);
        let is_mine = match self.gate.claim::<Sound>(&self.plan.claims, self.me, Time(now.as_nanos()), next) {
            Claim::Over => return,
            // It is released by the decision, but nobody rings a core for that which sleeps. It reads it when it wakes.
            Claim::Held => return self.wait_until(now + TIMER_PAUSE),
            Claim::Early(due) => return self.wait_until(Instant::from_nanos(due.0)),
            Claim::Last(is_mine) => {
                self.report();
                is_mine
            }
            Claim::Next(is_mine, due) => {
                self.wait_until(Instant::from_nanos(due.0));
                is_mine
            }
        };
        if is_mine {
            self.plan.run();
        }
    }

    /// Tells all cores that this one is done with the timer.
    fn report(self: &Arc<Self>) {
        if self.announce() {
            return;
        }
        let this = self.clone();
        crate::spawn_local(async move {
            while !this.announce() {
                sleep(TIMER_PAUSE).await;
            }
        });
    }

    /// False if this core has too much to announce already.
    fn announce(&self) -> bool {
        let done = Order::Done { id: self.plan.claims.id, by: self.me };
        !matches!(self.plan.object.announce(done), Err(AnnounceError::Full(_)))
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}
