//! The timers of the Machine as they ship, on simulated cores: what waits, and starts what is due.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use multikernel_replicate::timers::{self, Claim, Claims, Gate, Order, Timers};
use multikernel_replicate::{Command, CoreId, CoreSet, Policy, Time};

use crate::journal::{Repeat, What};
use crate::net::Event;
use crate::objects::{Id, TIMERS, running};
use crate::plan::Act;
use crate::world::World;

/// How long an alarm waits that may not start now: ten milliseconds, at three thousand million cycles each second.
const PAUSE: u64 = 30_000_000;

/// One timer, as all cores know it.
pub(crate) struct Plan {
    claims: Claims,
    repeat: Repeat,
}

impl AsRef<Claims> for Plan {
    fn as_ref(&self) -> &Claims {
        &self.claims
    }
}

impl Plan {
    fn new(id: Id, repeat: Repeat, due: u64) -> Self {
        let claims = match repeat {
            Repeat::Once => Claims::once,
            Repeat::Each => Claims::each,
            Repeat::Every { .. } => Claims::every,
        };
        Self { claims: claims(id, Time(due)), repeat }
    }

    /// When it is due after that. What comes late moves all that follows.
    fn next(&self, Time(due): Time, now: u64) -> Time {
        match self.repeat {
            Repeat::Every { period, .. } if now > due + period / 8 => Time(now + period),
            Repeat::Every { period, .. } => Time(due + period),
            Repeat::Once | Repeat::Each => Time(due),
        }
    }

    fn ends_before(&self, Time(due): Time) -> bool {
        matches!(self.repeat, Repeat::Every { until, .. } if due > until)
    }
}

/// One core's part in one timer.
pub(crate) struct Alarm {
    plan: Arc<Plan>,
    me: CoreId,
    gate: Gate,
    /// Counts how often it has begun to wait: only the latest counts.
    waits: AtomicU64,
}

/// An alarm that waits, for the how-manieth time, and until when.
pub(crate) type Waiting = (Arc<Alarm>, u64, u64);

thread_local! {
    /// What has begun to wait, for the world to take.
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
}

impl Alarm {
    fn wait_until(self: &Arc<Self>, due: u64) {
        // Relaxed: a simulation is one thread.
        let wait = self.waits.fetch_add(1, Ordering::Relaxed) + 1;
        WAITING.with_borrow_mut(|waiting| waiting.push((self.clone(), wait, due)));
    }
}

impl timers::Alarm for Alarm {
    type Plan = Plan;

    fn here() -> CoreId {
        running()
    }

    fn start(plan: Arc<Plan>, me: CoreId, is_held: bool) -> Arc<Self> {
        let due = plan.claims.due().0;
        let alarm = Arc::new(Self { plan, me, gate: Gate::new(is_held), waits: AtomicU64::new(0) });
        alarm.wait_until(due);
        alarm
    }

    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn fall_due(self: &Arc<Self>) {
        self.wait_until(0);
    }
}

impl<P: Policy> World<P> {
    /// What a run before this one has left.
    pub(crate) fn forget_alarms() {
        WAITING.take();
    }

    /// Alarms that have begun to wait.
    pub(crate) fn wait_for_alarms(&mut self) {
        for waiting in WAITING.take() {
            let (core, due) = (waiting.0.me, waiting.2);
            self.net.at(due.max(self.net.now + 1), Event::Alarm(core, self.alarms.len()));
            self.alarms.push(waiting);
        }
    }

    pub(crate) fn act_on_timers(&mut self, core: CoreId, act: Act) {
        match act {
            Act::Arm { repeat, after, veto } => self.arm(core, repeat, after, veto),
            Act::Cancel { deadline, veto } => self.cancel(core, deadline, veto),
            _ => unreachable!("it is about no timer"),
        }
    }

    fn arm(&mut self, core: CoreId, repeat: Repeat, after: u64, veto: CoreSet) {
        let due = self.net.now + after;
        let repeat = match repeat {
            Repeat::Every { period, until } => Repeat::Every { period, until: due + until },
            other => other,
        };
        let timer = self.last_id + 1;
        self.timers.push(timer);
        self.journal.borrow_mut().note(core, What::Arms { timer, repeat, due });
        self.propose(core, veto, None, |id| {
            change::<P>(Order::Arm { plan: Arc::new(Plan::new(id, repeat, due)), owner: core })
        });
    }

    fn cancel(&mut self, core: CoreId, deadline: Option<u64>, veto: CoreSet) {
        let latest = self.timers.len().saturating_sub(4);
        if self.timers.is_empty() {
            return;
        }
        let timer = self.timers[latest + self.net.rng.index(self.timers.len() - latest)];
        let is_plain = veto.is_empty();
        self.journal.borrow_mut().note(core, What::Cancels { by: self.last_id + 1, timer, is_plain });
        self.propose(core, veto, deadline, |_| change::<P>(Order::Cancel(timer)));
    }

    /// That alarm is due, unless it waits for something else by now. What is claimed is started at once.
    pub(crate) fn ring(&mut self, core: CoreId, at: usize) {
        let (alarm, wait, _) = self.alarms[at].clone();
        if alarm.gate.is_over() || alarm.waits.load(Ordering::Relaxed) != wait {
            return;
        }
        self.wake(core);
        let now = self.net.now;
        if self.cores[core.index()].leaves.is_some() {
            alarm.wait_until(now + PAUSE);
            return self.wait_for_alarms();
        }
        let (plan, timer, tick) = (&alarm.plan, alarm.plan.claims.id, alarm.plan.claims.due());
        let claim = alarm.gate.claim::<P>(&plan.claims, core, Time(now), |due| plan.next(due, now));
        let is_mine = matches!(claim, Claim::Last(true) | Claim::Next(true, _));
        if is_mine {
            self.journal.borrow_mut().note(core, What::Fires { timer, tick: tick.0 });
        }
        let again = match claim {
            Claim::Over => None,
            Claim::Held => Some(now + PAUSE),
            Claim::Last(_) => self.tell_done(core, timer),
            Claim::Next(_, due) if plan.ends_before(due) => self.tell_done(core, timer),
            Claim::Early(due) | Claim::Next(_, due) => Some(due.0),
        };
        again.into_iter().for_each(|due| alarm.wait_until(due));
        self.wait_for_alarms();
    }

    /// Says when to try again, if this core has too much to announce.
    fn tell_done(&mut self, core: CoreId, timer: Id) -> Option<u64> {
        let is_told = self.announce(core, change::<P>(Order::Done { id: timer, by: core }));
        (is_told == Some(false)).then_some(self.net.now + PAUSE)
    }
}

fn change<P: Policy>(order: Order<Plan>) -> Command {
    Command::change::<Timers<Alarm, P>>(TIMERS, order)
}
