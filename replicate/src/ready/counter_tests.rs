//! A counter beside its model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{Model, events, run};
use super::{Counter, CounterCommand, CounterRefusal};
use crate::{Change, CoreId, StateMachine};

const CORES: usize = 4;

/// What each core holds; nothing, if it is gone.
#[derive(Clone, Debug, PartialEq)]
struct Purses {
    bound: Option<i64>,
    held: BTreeMap<usize, i64>,
}

impl Purses {
    fn value(&self) -> i64 {
        self.held.values().sum()
    }
}

impl Model for Purses {
    type Machine = Counter;
    type Order = (usize, i64);

    fn of(counter: &Counter) -> Self {
        let is_gone = |core: &CoreId| {
            let probe = counter.clone().prepare(&Counter::add(*core, 0));
            probe == Err(CounterRefusal::Gone(*core))
        };
        let cores = (0..CORES).map(CoreId::new).filter(|core| !is_gone(core));
        let held = cores.map(|core| (core.index(), counter.held_by(core))).collect();
        let purses = Self { bound: counter.bound(), held };
        assert_eq!(counter.value(), purses.value(), "the sum is that of what the live hold");
        assert!(purses.held.values().all(|held| *held >= 0));
        assert!(counter.bound().is_none_or(|bound| counter.value() <= bound));
        purses
    }

    fn command(&(core, amount): &(usize, i64)) -> CounterCommand {
        Counter::add(CoreId::new(core), amount)
    }

    fn apply(&mut self, &(core, amount): &(usize, i64)) -> Result<(), CounterRefusal> {
        let (value, bound) = (self.value(), self.bound.unwrap_or(i64::MAX));
        let held = self.held.get_mut(&core).ok_or(CounterRefusal::Gone(CoreId::new(core)))?;
        if amount > 0 && bound - value < amount {
            return Err(CounterRefusal::OverBound { value, bound });
        }
        if amount < 0 && *held + amount < 0 {
            return Err(CounterRefusal::BelowZero { held: *held });
        }
        *held += amount;
        Ok(())
    }

    fn change_view(&mut self, change: &Change) {
        if let Change::Join(core) = change {
            self.held.entry(core.index()).or_insert(0);
        } else {
            self.held.remove(&change.core().index());
        }
    }
}

fn orders() -> impl Strategy<Value = (usize, i64)> + Clone {
    (0..CORES, -6..10_i64)
}

/// Amounts so great that sums of them are no `i64`.
fn great_orders() -> impl Strategy<Value = (usize, i64)> + Clone {
    let amounts = [i64::MIN, i64::MIN + 1, -(i64::MAX / 2), i64::MAX / 2, i64::MAX - 1, i64::MAX, 1];
    (0..CORES, prop::sample::select(amounts.to_vec()))
}

fn changes() -> impl Strategy<Value = Change> {
    let core = (0..CORES).prop_map(CoreId::new);
    prop_oneof![
        core.clone().prop_map(Change::Join),
        core.clone().prop_map(Change::Dead),
        core.prop_map(|core| Change::Leave { core, next: None }),
    ]
}

proptest! {
    #[test]
    fn a_counter_is_what_its_proposals_make_of_it(events in events(orders(), 0, changes())) {
        run::<Purses>(|| Counter::with_bound(20), events);
    }

    #[test]
    fn announcements_do_not_take_what_is_promised(events in events(orders(), 4, changes())) {
        run::<Purses>(|| Counter::with_bound(20), events);
    }

    #[test]
    fn great_amounts_do_not_overflow(events in events(great_orders(), 3, changes())) {
        run::<Purses>(Counter::new, events);
    }
}

#[test]
fn what_is_released_in_the_same_round_is_not_lost() {
    let core = CoreId::new(0);
    let mut counter = Counter::with_bound(10);
    counter.commit(&Counter::add(core, 10));
    let (less, more) = (Counter::add(core, -4), Counter::add(core, 4));
    counter.prepare(&less).expect("it holds ten");
    counter.prepare(&more).expect("four are given back before");
    counter.commit_announced(&Counter::add(core, -6));
    assert_eq!(counter.value(), 4, "it gives back what it holds, whatever is undecided");
    counter.commit(&less);
    counter.commit(&more);
    assert_eq!((counter.value(), counter.held_by(core)), (4, 4));
}
