//! One core's part in one timer of the Machine: it waits with the core's own timers, and starts what is due as a task.
//!
//! While it waits it is no task: a core that has nothing but alarms is idle, and may retire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use multikernel_replicate::{AnnounceError, CoreId};

use super::plan::{Claim, Plan};
use super::replica::Order;
use super::wheel::Key;
use super::{Instant, sleep};
use crate::context;
use crate::executor;
use crate::limits::TIMER_PAUSE;
use crate::task;

/// Only its core's thread touches it; that its parts are atomic is for the sake of the waker that it is. So every ordering is
/// relaxed.
pub(super) struct Alarm {
    plan: Arc<Plan>,
    me: CoreId,
    /// How many undecided changes may end it, or move it to another core.
    holds: AtomicU32,
    /// It became due meanwhile.
    is_due: AtomicBool,
    /// It is no business of this core any more.
    is_over: AtomicBool,
    /// The key of its place among the core's timers, in parts.
    ticket: AtomicU64,
    index: AtomicU32,
}

impl Alarm {
    /// Waits on this core, `me`. It is held, if that is not decided.
    pub(super) fn start(plan: Arc<Plan>, me: CoreId, is_held: bool) -> Arc<Self> {
        let due = plan.due();
        let alarm = Arc::new(Self {
            plan,
            me,
            holds: AtomicU32::new(is_held.into()),
            is_due: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            ticket: AtomicU64::new(0),
            index: AtomicU32::new(0),
        });
        alarm.wait_until(due);
        alarm
    }

    /// Starts nothing until it is [released](Self::release).
    pub(super) fn hold(&self) {
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// Undoes one [`hold`](Self::hold). What became due meanwhile starts now.
    pub(super) fn release(self: &Arc<Self>) {
        let is_last = self.holds.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && self.is_due.swap(false, Ordering::Relaxed) {
            self.forget_place();
            self.ring();
        }
    }

    /// Starts nothing any more.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.forget_place();
    }

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
            let Some(core) = core.filter(|_| !self.is_over.load(Ordering::Relaxed)) else { return };
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
        if self.is_over.load(Ordering::Relaxed) {
            return;
        }
        if self.holds.load(Ordering::Relaxed) > 0 {
            self.is_due.store(true, Ordering::Relaxed);
            // It is released by the decision, but nobody rings a core for that which sleeps. It reads it when it wakes.
            return self.wait_until(Instant::now() + TIMER_PAUSE);
        }
        let work = match self.plan.claim(self.me) {
            Claim::Early(due) => return self.wait_until(due),
            Claim::Last(work) => {
                self.report();
                work
            }
            Claim::Next(work, due) => {
                self.wait_until(due);
                work
            }
        };
        work.into_iter().for_each(|work| work.run());
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
        let done = Order::Done { id: self.plan.id, by: self.me };
        !matches!(self.plan.object.announce(done), Err(AnnounceError::Full(_)))
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}
