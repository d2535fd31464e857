//! The timers of the Machine, as each core knows them: who owns which, and what is cancelled or done.
//!
//! | a command | prepared | committed |
//! |---|---|---|
//! | `Arm` | refused if it is known; the owner, or each core, starts an alarm, which is held | it is released |
//! | `Cancel` | refused if it has started; alarms are held, on cores that are not asked yet by the claims | alarms end |
//! | `Done` | (it is announced) | the timer is forgotten, if no core has to start it any more |
//!
//! Alarms start at the prepare, because a core that sleeps is not woken by a decision: it reads it when it wakes, and what wakes
//! it may have to be this very alarm.
//!
//! When a core leaves, it holds its alarms from the prepare on. When it has left or is dead, the next one in the order of the
//! cores owns what it owned. Both may try to start the same tick only if a dead core has claimed it, and then the claim says so.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::policy::{Policy, Sound};
use crate::{Change, CoreId, CoreSet, StateMachine};

mod claims;
mod gate;

pub use claims::{Claim, Claims};
pub use gate::Gate;

/// A change of the timers of the Machine.
pub enum Order<T> {
    /// There is such a timer. That core owns it, or the next one if it is not there.
    Arm { plan: Arc<T>, owner: CoreId },
    /// There is not.
    Cancel(u64),
    /// That core has started it.
    Done { id: u64, by: CoreId },
}

/// Why a timer is not cancelled, or not armed once more: it has started somewhere, or is armed.
#[derive(Debug, PartialEq, Eq)]
pub struct HasStarted;

/// One core's part in one timer. It waits until the timer is due, then has a [`Gate`] claim it.
pub trait Alarm: 'static {
    /// A timer, as all cores know it.
    type Plan: AsRef<Claims> + Send + Sync + 'static;

    /// The core that this thread is.
    fn here() -> CoreId {
        CoreId::current()
    }

    /// Waits on this core, `me`. It is held, if that is not decided.
    fn start(plan: Arc<Self::Plan>, me: CoreId, is_held: bool) -> Arc<Self>;

    /// Whether it may start anything.
    fn gate(&self) -> &Gate;

    /// It became due while it was held.
    fn fall_due(self: &Arc<Self>);

    /// Starts nothing any more, and need not wait.
    fn end(&self) {
        self.gate().end();
    }
}

/// What all cores agree on about one timer.
pub struct Entry<T> {
    plan: Arc<T>,
    owner: CoreId,
    /// Of a timer that runs on each core: those that have started it, and told.
    done: CoreSet,
}

impl<T: AsRef<Claims>> Entry<T> {
    fn claims(&self) -> &Claims {
        (*self.plan).as_ref()
    }

    fn is_for_each(&self) -> bool {
        self.claims().is_for_each()
    }
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { plan: self.plan.clone(), ..*self }
    }
}

/// One core's replica.
pub struct Timers<A: Alarm, P: Policy = Sound> {
    me: CoreId,
    members: CoreSet,
    entries: BTreeMap<u64, Entry<A::Plan>>,
    /// This core's part in them.
    alarms: BTreeMap<u64, Arc<A>>,
    policy: PhantomData<P>,
}

impl<A: Alarm, P: Policy> Timers<A, P> {
    /// None yet, on this core.
    #[expect(clippy::new_without_default, reason = "it panics where there is no core")]
    pub fn new() -> Self {
        Self::of(A::here(), &(CoreSet::EMPTY, BTreeMap::new()))
    }

    /// The replica of that core, before any alarm.
    pub fn of(me: CoreId, (members, entries): &<Self as StateMachine>::Snapshot) -> Self {
        let (entries, alarms) = (entries.clone(), BTreeMap::new());
        Self { me, members: *members, entries, alarms, policy: PhantomData }
    }

    /// Who owns a timer that is known.
    pub fn owner(&self, id: u64) -> Option<CoreId> {
        self.entries.get(&id).map(|entry| entry.owner)
    }

    /// How many are known, and how many of them wait here.
    pub fn count(&self) -> (usize, usize) {
        (self.entries.len(), self.alarms.len())
    }

    fn is_mine(&self, plan: &A::Plan, owner: CoreId) -> bool {
        plan.as_ref().is_for_each() || owner == self.me
    }

    /// Starts the alarms of what waits here and has none.
    fn look_after_all(&mut self) {
        let waits_here = |(id, entry): &(&u64, &Entry<A::Plan>)| {
            let is_open = !entry.done.contains(self.me) && !self.alarms.contains_key(id);
            is_open && self.is_mine(&entry.plan, entry.owner)
        };
        let mine: Vec<_> =
            self.entries.iter().filter(waits_here).map(|(id, entry)| (*id, entry.plan.clone())).collect();
        for (id, plan) in mine {
            self.alarms.insert(id, A::start(plan, self.me, false));
        }
    }

    fn release(alarm: &Arc<A>) {
        if alarm.gate().release() {
            alarm.fall_due();
        }
    }

    fn end_alarm(&mut self, id: u64) {
        self.alarms.remove(&id).into_iter().for_each(|alarm| alarm.end());
    }

    fn forget(&mut self, id: u64) {
        self.end_alarm(id);
        self.entries.remove(&id);
    }

    fn done(&mut self, id: u64, by: CoreId) {
        if by == self.me {
            self.end_alarm(id);
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.done.insert(by);
        if !entry.is_for_each() || self.members.minus(entry.done).is_empty() {
            self.forget(id);
        }
    }

    fn gone(&mut self, core: CoreId) {
        self.members.remove(core);
        let (members, next) = (self.members, heir(self.members, core));
        let next = if P::NO_HEIR { core } else { next };
        // What it had agreed to before it died is undone, or decided by now.
        self.entries.values().for_each(|entry| entry.claims().let_go(core));
        self.entries.values_mut().filter(|entry| entry.owner == core).for_each(|entry| entry.owner = next);
        let is_done = |entry: &Entry<A::Plan>| entry.is_for_each() && members.minus(entry.done).is_empty();
        let done: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| is_done(entry)).map(|(id, _)| *id).collect();
        done.into_iter().for_each(|id| self.forget(id));
        if core == self.me {
            // What all agree on goes on here as everywhere, for as long as anybody compares it.
            return self.alarms.values().for_each(|alarm| alarm.end());
        }
        self.look_after_all();
    }
}

fn id_of<T: AsRef<Claims>>(plan: &Arc<T>) -> u64 {
    (**plan).as_ref().id
}

/// Who owns what that core would own if it were a member: itself, or the next one.
fn heir(members: CoreSet, core: CoreId) -> CoreId {
    members.iter().find(|member| *member >= core).or_else(|| members.first()).unwrap_or(core)
}

impl<A: Alarm, P: Policy> Drop for Timers<A, P> {
    fn drop(&mut self) {
        self.alarms.values().for_each(|alarm| alarm.end());
    }
}

impl<A: Alarm, P: Policy> StateMachine for Timers<A, P> {
    type Command = Order<A::Plan>;
    type Refusal = HasStarted;
    type Snapshot = (CoreSet, BTreeMap<u64, Entry<A::Plan>>);
    /// Whether a timer has started is known where it waits.
    const VETO: bool = true;

    fn begin(&mut self, members: CoreSet) {
        self.members = members;
    }

    fn prepare(&mut self, order: &Self::Command) -> Result<(), HasStarted> {
        match order {
            Order::Arm { plan, owner } => {
                // It was asked for twice, because nobody knew whether it was.
                let id = id_of(plan);
                if self.entries.contains_key(&id) || self.alarms.contains_key(&id) {
                    return Err(HasStarted);
                }
                if self.is_mine(plan, heir(self.members, *owner)) {
                    self.alarms.insert(id, A::start(plan.clone(), self.me, !P::ARM_EARLY));
                }
            }
            Order::Cancel(_) if P::CANCEL_BLINDLY => {}
            Order::Cancel(id) => {
                let may_end = |entry: &&Entry<A::Plan>| entry.claims().hold::<P>(self.me);
                self.entries.get(id).filter(may_end).ok_or(HasStarted)?;
                self.alarms.get(id).into_iter().for_each(|alarm| alarm.gate().hold());
            }
            Order::Done { .. } => {}
        }
        Ok(())
    }

    fn commit(&mut self, order: &Self::Command) {
        match order {
            Order::Arm { plan, owner } => {
                let (id, owner) = (id_of(plan), heir(self.members, *owner));
                self.entries.insert(id, Entry { plan: plan.clone(), owner, done: CoreSet::EMPTY });
                self.alarms.get(&id).into_iter().for_each(Self::release);
            }
            Order::Cancel(id) => self.forget(*id),
            Order::Done { id, by } => self.done(*id, *by),
        }
    }

    fn abort(&mut self, order: &Self::Command) {
        match order {
            Order::Arm { plan, .. } => self.end_alarm(id_of(plan)),
            Order::Cancel(id) => {
                self.entries.get(id).into_iter().for_each(|entry| entry.claims().let_go(self.me));
                self.alarms.get(id).into_iter().for_each(Self::release);
            }
            Order::Done { .. } => {}
        }
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), HasStarted> {
        if matches!(change, Change::Leave { core, .. } if *core == self.me) {
            self.alarms.values().for_each(|alarm| alarm.gate().hold());
        }
        Ok(())
    }

    fn commit_view(&mut self, change: &Change) {
        match *change {
            Change::Join(core) => {
                self.members.insert(core);
                if core == self.me {
                    self.look_after_all();
                }
            }
            Change::Leave { core, .. } | Change::Dead(core) => self.gone(core),
        }
    }

    fn abort_view(&mut self, change: &Change) {
        if matches!(change, Change::Leave { core, .. } if *core == self.me) {
            self.alarms.values().for_each(Self::release);
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.members, self.entries.clone())
    }

    fn restore(snapshot: &Self::Snapshot) -> Result<Self, HasStarted> {
        Ok(Self::of(A::here(), snapshot))
    }

    fn digest(&self) -> Option<u64> {
        let sum = |sum: u64, (id, entry): (&u64, &Entry<A::Plan>)| {
            let parts = [*id, entry.owner.index() as u64, entry.done.len() as u64];
            parts.iter().fold(sum, |sum, part| (sum.rotate_left(5) ^ part).wrapping_mul(0x0100_0000_01b3))
        };
        Some(self.entries.iter().fold(self.members.len() as u64, sum))
    }
}
