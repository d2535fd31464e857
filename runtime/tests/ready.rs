//! The ready-made replicated objects, on real cores.
#![cfg(not(loom))]

use std::time::Duration;

use multikernel::replicate::ready::{CounterRefusal, Map};
use multikernel::replicate::{CoreId, ReplicatedCell, ReplicatedCounter, ReplicatedMap};
use multikernel::runtime::{Builder, Handle};
use multikernel::{on_each_core, spawn_on};

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

#[test]
fn an_entry_expires_everywhere_at_one_version() {
    on_cores(4, || async {
        let map = ReplicatedMap::new().await.unwrap();
        let kept = map.clone();
        let watchers = on_each_core(move || async move {
            let mut seen = Vec::new();
            while kept.len() < 2 {
                kept.changed().await.unwrap();
            }
            while kept.len() > 1 {
                seen.push(kept.version());
                kept.changed().await.unwrap();
            }
            (kept.version(), kept.get(&1), kept.get(&2))
        });
        map.insert(1, "stays").await.unwrap();
        map.insert_for(2, "goes", Duration::from_millis(30)).await.unwrap();
        let mut ends = Vec::new();
        for watcher in watchers {
            ends.push(watcher.await.unwrap());
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        assert_eq!((ends[0].1, ends[0].2), (Some("stays"), None));
    });
}

#[test]
fn an_entry_expires_under_the_next_home_too() {
    let runtime = Builder::new_test().cores(3).build().unwrap();
    let _guest = runtime.handle().enter();
    let gone = spawn_on(CoreId::new(2), || async {
        let map = ReplicatedMap::new().await.unwrap();
        map.insert_for("key", 1, Duration::from_millis(50)).await.unwrap();
        Handle::current().retire(CoreId::new(0)).await.unwrap();
        while map.contains_key("key") {
            map.changed().await.unwrap();
        }
    });
    runtime.block_on(gone).unwrap();
}

#[test]
fn a_batch_of_a_map_is_done_whole_or_not_at_all() {
    on_cores(2, || async {
        let map = ReplicatedMap::with_capacity_limit(3).await.unwrap();
        map.batch([Map::insert(1, 'a'), Map::insert_if_absent(2, 'b')]).await.unwrap();
        assert!(map.batch([Map::insert(3, 'c'), Map::insert_if_absent(2, 'd')]).await.is_err());
        assert!(map.batch([Map::insert(3, 'c'), Map::insert(4, 'd')]).await.is_err(), "over the limit");
        assert_eq!(map.len(), 2);
        map.batch([Map::remove(1), Map::insert(3, 'c')]).await.unwrap();
        assert_eq!((map.get(&1), map.get(&2), map.get(&3)), (None, Some('b'), Some('c')));
    });
}

#[test]
fn no_bound_is_exceeded_and_what_a_core_held_is_released_when_it_goes() {
    on_cores(4, || async {
        let counter = ReplicatedCounter::with_bound(100).await.unwrap();
        let given = counter.clone();
        let adders = on_each_core(move || async move {
            let (mut held, mut refused) = (0, 0);
            while refused < 3 {
                match given.add(3).await {
                    Ok(_) => held += 3,
                    Err(error) => {
                        assert!(matches!(error.refusal(), Some(CounterRefusal::OverBound { .. })), "{error}");
                        refused += 1;
                    }
                }
                assert!(given.value() <= 100);
            }
            assert_eq!(given.held_here(), held);
            held
        });
        let mut held = Vec::new();
        for adder in adders {
            held.push(adder.await.unwrap());
        }
        assert_eq!(held.iter().sum::<i64>(), 99, "as much as fits");
        let machine = Handle::current();
        machine.retire(CoreId::new(3)).await.unwrap();
        assert_eq!(counter.value(), 99 - held[3]);
        machine.revive(CoreId::new(3)).await.unwrap();
        assert_eq!(counter.value(), 99 - held[3]);
    });
}

#[test]
fn of_two_that_compare_and_set_one_wins() {
    on_cores(4, || async {
        let cell = ReplicatedCell::new(0_u64).await.unwrap();
        let given = cell.clone();
        let setters = on_each_core(move || async move {
            let mut won = 0;
            for _ in 0..50 {
                loop {
                    let (version, value) = (given.cell_version(), *given.get());
                    if given.compare_and_set(version, value + 1).await.is_ok() {
                        won += 1;
                        break;
                    }
                }
            }
            won
        });
        let mut won = 0;
        for setter in setters {
            won += setter.await.unwrap();
        }
        assert_eq!((*cell.get(), won), (200, 200));
    });
}
