//! A map beside its model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{Model, events, run};
use super::{Map, MapCommand, MapRefusal};
use crate::{Change, CoreId, StateMachine, Time};

#[derive(Clone, Debug, PartialEq)]
struct Table {
    entries: BTreeMap<u8, (u32, Option<u64>)>,
    limit: Option<usize>,
    version: u64,
}

#[derive(Clone, Debug)]
enum Order {
    Insert(u8, u32, Option<u64>),
    InsertIfAbsent(u8, u32, Option<u64>),
    Remove(u8),
    Expire(u64),
    Batch(Vec<Order>),
}

impl Table {
    fn step(&mut self, order: &Order, expires: bool) -> Result<(), MapRefusal<Weak>> {
        match order {
            Order::Insert(key, value, deadline) | Order::InsertIfAbsent(key, value, deadline) => {
                let is_there = self.entries.contains_key(key);
                if is_there && matches!(order, Order::InsertIfAbsent(..)) {
                    return Err(MapRefusal::Present { key: Weak(*key) });
                }
                if let Some(limit) = self.limit
                    && !is_there
                    && self.entries.len() >= limit
                {
                    return Err(MapRefusal::Full { limit });
                }
                self.entries.insert(*key, (*value, *deadline));
            }
            Order::Remove(key) => drop(self.entries.remove(key)),
            Order::Expire(up_to) if expires => {
                self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > *up_to));
            }
            Order::Expire(_) => {}
            Order::Batch(orders) => {
                return orders.iter().try_for_each(|order| self.step(order, expires));
            }
        }
        Ok(())
    }
}

impl Model for Table {
    type Machine = Map<Weak, u32>;
    type Order = Order;

    fn of(map: &Map<Weak, u32>) -> Self {
        let entries = map.iter().map(|(key, value)| {
            assert_eq!((map.get(key), map.contains_key(key)), (Some(value), true));
            (key.0, (*value, map.deadline(key).map(|time| time.0)))
        });
        let table = Self { entries: entries.collect(), limit: map.limit(), version: map.version() };
        assert_eq!((map.len(), map.is_empty()), (table.entries.len(), table.entries.is_empty()));
        assert!(map.limit().is_none_or(|limit| map.len() <= limit));
        table
    }

    fn command(order: &Order) -> MapCommand<Weak, u32> {
        match order {
            Order::Insert(key, value, None) => Map::insert(Weak(*key), *value),
            Order::Insert(key, value, Some(at)) => Map::insert_until(Weak(*key), *value, Time(*at)),
            Order::InsertIfAbsent(key, value, None) => Map::insert_if_absent(Weak(*key), *value),
            Order::InsertIfAbsent(key, value, Some(at)) => {
                Map::insert_if_absent_until(Weak(*key), *value, Time(*at))
            }
            Order::Remove(key) => Map::remove(Weak(*key)),
            Order::Expire(up_to) => Map::expire(Time(*up_to)),
            Order::Batch(orders) => Map::batch(orders.iter().map(Self::command)),
        }
    }

    fn apply(&mut self, order: &Order) -> Result<(), MapRefusal<Weak>> {
        let mut after = self.clone();
        after.step(order, true)?;
        after.version += 1;
        *self = after;
        Ok(())
    }

    /// An expiry that is undecided has not made room.
    fn plan(&mut self, order: &Order) -> Result<(), MapRefusal<Weak>> {
        let mut after = self.clone();
        after.step(order, false)?;
        *self = after;
        Ok(())
    }

    fn next_due(&self) -> Option<Time> {
        self.entries.values().filter_map(|(_, deadline)| deadline.map(Time)).min()
    }
}

/// A key with a hash that says little: many collide.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Weak(u8);

impl std::hash::Hash for Weak {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u8(self.0 % 3);
    }
}

fn orders() -> impl Strategy<Value = Order> + Clone {
    let deadline = prop::option::of(0..8_u64);
    let single = prop_oneof![
        (0..10_u8, any::<u32>(), deadline.clone()).prop_map(|(k, v, at)| Order::Insert(k, v, at)),
        (0..10_u8, any::<u32>(), deadline).prop_map(|(k, v, at)| Order::InsertIfAbsent(k, v, at)),
        (0..10_u8).prop_map(Order::Remove),
        (0..8_u64).prop_map(Order::Expire),
    ];
    prop_oneof![
        6 => single.clone(),
        1 => prop::collection::vec(single, 0..5).prop_map(Order::Batch),
    ]
}

fn joins() -> impl Strategy<Value = Change> {
    Just(Change::Join(CoreId::new(1)))
}

proptest! {
    #[test]
    fn a_map_is_what_its_proposals_make_of_it(events in events(orders(), 0, joins())) {
        run::<Table>(Map::new, events);
    }

    #[test]
    fn a_limit_holds_whatever_is_undecided(events in events(orders(), 0, joins())) {
        run::<Table>(|| Map::with_capacity_limit(5), events);
    }

    #[test]
    fn announcements_leave_alone_what_is_promised(events in events(orders(), 4, joins())) {
        run::<Table>(Map::new, events);
    }

    #[test]
    fn announcements_leave_room_for_what_is_promised(events in events(orders(), 4, joins())) {
        run::<Table>(|| Map::with_capacity_limit(5), events);
    }
}

#[test]
fn entries_go_in_the_order_of_their_deadlines_and_not_before_the_commit() {
    let mut map = Map::new();
    for (key, at) in [("c", 30), ("a", 10), ("b", 20), ("d", 10)] {
        map.commit(&Map::insert_until(key, at, Time(at)));
    }
    map.commit(&Map::insert("d", 0));
    assert_eq!((map.next_due(), map.on_due(Time(9))), (Some(Time(10)), None), "nothing is late");
    let expiry = map.on_due(Time(25)).expect("two are late");
    map.prepare(&expiry).expect("an expiry is not refused");
    let late = Map::insert_if_absent("a", 1);
    assert_eq!(map.prepare(&late), Err(MapRefusal::Present { key: "a" }), "late, but there");
    assert_eq!(map.get("a"), Some(&10));
    map.commit(&expiry);
    assert!(map.get("a").is_none() && map.get("b").is_none() && map.len() == 2);
    assert_eq!((map.deadline("a"), map.deadline("c")), (None, Some(Time(30))));
    assert_eq!((map.next_due(), map.deadline("d")), (Some(Time(30)), None), "a later insert has no deadline");
}

#[test]
fn what_takes_no_room_is_announced_to_a_full_map() {
    let mut map = Map::with_capacity_limit(1);
    map.commit(&Map::insert(1, "old"));
    let over = Map::insert(1, "new");
    map.prepare(&over).expect("it takes no room");
    map.commit_announced(&Map::remove(1));
    assert_eq!(map.len(), 0);
    map.commit_announced(&Map::insert(2, "other"));
    map.commit(&over);
    assert_eq!((map.len(), map.get(&1)), (1, Some(&"new")), "the room was promised");
}

#[test]
fn a_map_may_have_a_hasher_of_its_own() {
    use std::hash::{BuildHasherDefault, DefaultHasher};
    type Fixed = BuildHasherDefault<DefaultHasher>;
    let mut map = Map::<u32, u32, Fixed>::default().limited_to(1);
    map.commit(&Map::insert(1, 2));
    assert_eq!(map.prepare(&Map::insert(2, 2)), Err(MapRefusal::Full { limit: 1 }));
    assert_eq!((&map).into_iter().collect::<Vec<_>>(), [(&1, &2)]);
}
