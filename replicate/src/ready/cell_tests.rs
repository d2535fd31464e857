//! A cell beside its model.

use proptest::prelude::*;

use super::fixture::{Model, events, run};
use super::{Cell, CellCommand, CellRefusal};
use crate::{Change, CoreId, StateMachine};

#[derive(Clone, Debug, PartialEq)]
struct Register {
    value: u32,
    version: u64,
}

#[derive(Clone, Debug)]
enum Order {
    Set(u32),
    CompareAndSet(u64, u32),
    Triple,
}

impl Model for Register {
    type Machine = Cell<u32>;
    type Order = Order;

    fn of(cell: &Cell<u32>) -> Self {
        Self { value: *cell.get(), version: cell.version() }
    }

    fn command(order: &Order) -> CellCommand<u32> {
        match *order {
            Order::Set(value) => Cell::set(value),
            Order::CompareAndSet(expected, value) => Cell::compare_and_set(expected, value),
            Order::Triple => Cell::update(|value: &u32| value.wrapping_mul(3)),
        }
    }

    fn apply(&mut self, order: &Order) -> Result<(), CellRefusal> {
        self.value = match *order {
            Order::Set(value) => value,
            Order::CompareAndSet(expected, _) if expected != self.version => {
                return Err(CellRefusal::Moved { version: self.version });
            }
            Order::CompareAndSet(_, value) => value,
            Order::Triple => self.value.wrapping_mul(3),
        };
        self.version += 1;
        Ok(())
    }
}

fn orders() -> impl Strategy<Value = Order> + Clone {
    prop_oneof![
        any::<u32>().prop_map(Order::Set),
        (0..12_u64, any::<u32>()).prop_map(|(expected, value)| Order::CompareAndSet(expected, value)),
        Just(Order::Triple),
    ]
}

fn joins() -> impl Strategy<Value = Change> {
    Just(Change::Join(CoreId::new(1)))
}

proptest! {
    #[test]
    fn a_cell_is_what_its_proposals_make_of_it(events in events(orders(), 0, joins())) {
        run::<Register>(|| Cell::new(7), events);
    }

    #[test]
    fn announcements_do_not_come_between_a_compare_and_a_set(events in events(orders(), 4, joins())) {
        run::<Register>(|| Cell::new(7), events);
    }
}

#[test]
fn replicas_and_snapshots_share_the_value() {
    #[derive(Debug)]
    struct NotClone;
    let mut cell = Cell::new(NotClone);
    let set = Cell::set(NotClone);
    cell.prepare(&set).expect("it is never refused");
    cell.commit(&set);
    let joined = Cell::restore(&cell.snapshot()).expect("a cell is always restored");
    assert!(std::ptr::eq(cell.get(), joined.get()) && std::ptr::eq(cell.get(), &*joined.get_shared()));
}

#[test]
fn all_take_the_result_of_the_same_update() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let calls = std::sync::Arc::new(count);
    let counted = calls.clone();
    // A function that it should not be: another result for each call.
    let update = Cell::update(move |_: &u32| counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut replicas = [Cell::new(7), Cell::new(7), Cell::new(7)];
    for cell in &mut replicas {
        cell.prepare(&update).expect("it is never refused");
        assert_eq!(cell.get(), &7);
        cell.commit(&update);
        assert_eq!(cell.get(), &0);
    }
}
