//! The timers of the Machine, as each core knows them: who owns which, and what is cancelled or done.
//!
//! | a command | prepared | committed |
//! |---|---|---|
//! | `Arm` | refused if it is known; the owner, or each core, starts an alarm, which is held | it is released |
//! | `Cancel` | refused if it has started; alarms are held | alarms end |
//! | `Done` | (it is announced) | the timer is forgotten, if no core has to start it any more |
//!
//! Alarms start at the prepare, because a core that sleeps is not woken by a decision: it reads it when it wakes, and what wakes
//! it may have to be this very alarm.
//!
//! When a core leaves, it holds its alarms from the prepare on. When it has left or is dead, the next one in the order of the
//! cores owns what it owned. Both may try to start the same tick only if a dead core has claimed it, and then the claim says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use multikernel_replicate::{Change, CoreId, CoreSet, StateMachine};

use super::alarm::Alarm;
use super::plan::Plan;

/// A change of the timers of the Machine.
pub(super) enum Order {
    Arm { plan: Arc<Plan>, owner: CoreId },
    Cancel(u64),
    Done { id: u64, by: CoreId },
}

/// Why a timer is not cancelled, or not armed once more: it has started somewhere, or is armed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HasStarted;

/// What all cores agree on about one timer.
#[derive(Clone)]
pub(super) struct Entry {
    plan: Arc<Plan>,
    owner: CoreId,
    /// Of a timer that runs on each core: those that have started it, and told.
    done: CoreSet,
}

/// One core's replica.
pub(super) struct Timers {
    me: CoreId,
    members: CoreSet,
    entries: BTreeMap<u64, Entry>,
    /// This core's part in them.
    alarms: BTreeMap<u64, Arc<Alarm>>,
}

impl Timers {
    /// None yet, on this core.
    pub(super) fn new() -> Self {
        let (entries, alarms) = (BTreeMap::new(), BTreeMap::new());
        Self { me: CoreId::current(), members: CoreSet::EMPTY, entries, alarms }
    }

    /// A replica as another core has it, for tests with several on one thread.
    #[cfg(test)]
    pub(super) fn of(me: CoreId, (members, entries): &<Self as StateMachine>::Snapshot) -> Self {
        Self { me, members: *members, entries: entries.clone(), alarms: BTreeMap::new() }
    }

    /// Who owns a timer that is known.
    #[cfg(test)]
    pub(super) fn owner(&self, id: u64) -> Option<CoreId> {
        self.entries.get(&id).map(|entry| entry.owner)
    }

    /// How many are known, and how many of them wait here.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        (self.entries.len(), self.alarms.len())
    }

    fn is_mine(&self, plan: &Plan, owner: CoreId) -> bool {
        plan.is_for_each() || owner == self.me
    }

    /// Starts the alarms of what waits here and has none.
    fn look_after_all(&mut self) {
        let waits_here = |(id, entry): &(&u64, &Entry)| {
            let is_open = !entry.done.contains(self.me) && !self.alarms.contains_key(id);
            is_open && self.is_mine(&entry.plan, entry.owner)
        };
        let mine: Vec<_> =
            self.entries.iter().filter(waits_here).map(|(_, entry)| entry.plan.clone()).collect();
        for plan in mine {
            self.alarms.insert(plan.id, Alarm::start(plan, self.me, false));
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
        if !entry.plan.is_for_each() || self.members.minus(entry.done).is_empty() {
            self.forget(id);
        }
    }

    fn gone(&mut self, core: CoreId) {
        self.members.remove(core);
        if core == self.me {
            return self.alarms.values().for_each(|alarm| alarm.end());
        }
        let (members, next) = (self.members, heir(self.members, core));
        self.entries.values_mut().filter(|entry| entry.owner == core).for_each(|entry| entry.owner = next);
        let is_done = |entry: &Entry| entry.plan.is_for_each() && members.minus(entry.done).is_empty();
        let done: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| is_done(entry)).map(|(id, _)| *id).collect();
        done.into_iter().for_each(|id| self.forget(id));
        self.look_after_all();
    }
}

/// Who owns what that core would own if it were a member: itself, or the next one.
fn heir(members: CoreSet, core: CoreId) -> CoreId {
    members.iter().find(|member| *member >= core).or_else(|| members.first()).unwrap_or(core)
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.alarms.values().for_each(|alarm| alarm.end());
    }
}

impl StateMachine for Timers {
    type Command = Order;
    type Refusal = HasStarted;
    type Snapshot = (CoreSet, BTreeMap<u64, Entry>);
    /// Whether a timer has started is known where it waits.
    const VETO: bool = true;

    fn begin(&mut self, members: CoreSet) {
        self.members = members;
    }

    fn prepare(&mut self, order: &Order) -> Result<(), HasStarted> {
        match order {
            Order::Arm { plan, owner } => {
                // It was asked for twice, because nobody knew whether it was.
                if self.entries.contains_key(&plan.id) || self.alarms.contains_key(&plan.id) {
                    return Err(HasStarted);
                }
                if self.is_mine(plan, heir(self.members, *owner)) {
                    self.alarms.insert(plan.id, Alarm::start(plan.clone(), self.me, true));
                }
            }
            Order::Cancel(id) => {
                self.entries.get(id).filter(|entry| !entry.plan.has_started()).ok_or(HasStarted)?;
                self.alarms.get(id).into_iter().for_each(|alarm| alarm.hold());
            }
            Order::Done { .. } => {}
        }
        Ok(())
    }

    fn commit(&mut self, order: &Order) {
        match order {
            Order::Arm { plan, owner } => {
                let (id, owner) = (plan.id, heir(self.members, *owner));
                self.entries.insert(id, Entry { plan: plan.clone(), owner, done: CoreSet::EMPTY });
                self.alarms.get(&id).into_iter().for_each(Alarm::release);
            }
            Order::Cancel(id) => self.forget(*id),
            Order::Done { id, by } => self.done(*id, *by),
        }
    }

    fn abort(&mut self, order: &Order) {
        match order {
            Order::Arm { plan, .. } => self.end_alarm(plan.id),
            Order::Cancel(id) => self.alarms.get(id).into_iter().for_each(Alarm::release),
            Order::Done { .. } => {}
        }
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), HasStarted> {
        if matches!(change, Change::Leave { core, .. } if *core == self.me) {
            self.alarms.values().for_each(|alarm| alarm.hold());
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
            self.alarms.values().for_each(Alarm::release);
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        (self.members, self.entries.clone())
    }

    fn restore((members, entries): &Self::Snapshot) -> Result<Self, HasStarted> {
        let mut timers = Self::new();
        (timers.members, timers.entries) = (*members, entries.clone());
        Ok(timers)
    }

    fn digest(&self) -> Option<u64> {
        let sum = |sum: u64, (id, entry): (&u64, &Entry)| {
            let parts = [*id, entry.owner.index() as u64, entry.done.len() as u64];
            parts.iter().fold(sum, |sum, part| (sum.rotate_left(5) ^ part).wrapping_mul(0x0100_0000_01b3))
        };
        Some(self.entries.iter().fold(self.members.len() as u64, sum))
    }
}
