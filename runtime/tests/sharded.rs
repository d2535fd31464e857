//! State in parts, each owned by one core, on real cores.
#![cfg(not(loom))]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use multikernel::replicate::{CoreId, CreateError, ShardError, Sharded};
use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{on_each_core, spawn_on};
use proptest::prelude::*;

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

/// On that core, to its end.
async fn there<R: Send + 'static, F: Future<Output = R> + 'static>(
    core: usize,
    f: impl FnOnce() -> F + Send + 'static,
) -> R {
    spawn_on(CoreId::new(core), f).await.unwrap()
}

type Counters = BTreeMap<u8, u64>;

async fn add(counters: &Sharded<Counters>, key: u8, more: u64) -> u64 {
    let add = move |counters: &mut Counters| {
        let counter = counters.entry(key).or_default();
        *counter += more;
        *counter
    };
    counters.with(&key, add).await.unwrap()
}

async fn all(counters: &Sharded<Counters>) -> Counters {
    let join = |mut all: Counters, more: Counters| {
        for (key, count) in more {
            assert!(all.insert(key, count).is_none(), "a key is in one part");
        }
        all
    };
    counters.map_reduce(|counters| counters.clone(), join).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One after the other from changing cores: as a map. Then all at once from all cores: nothing is lost.
    #[test]
    fn keyed_counters_count(
        slots in 1usize..40,
        steps in proptest::collection::vec((0usize..4, any::<u8>(), 0u64..100, 0u8..5), 1..60),
    ) {
        let runtime = Builder::new_test().cores(4).build().unwrap();
        runtime.block_on(async move {
            let counters = there(1, move || async move { Sharded::new(slots, |_| Counters::new()).await.unwrap() }).await;
            let mut model = Counters::new();
            for (core, key, more, what) in steps.clone() {
                let given = counters.clone();
                if what == 0 {
                    assert_eq!(there(core, || async move { all(&given).await }).await, model);
                    continue;
                }
                let count = model.entry(key).or_default();
                *count += more;
                let counted = match what {
                    1 => add(&given, key, more).await,
                    _ => there(core, move || async move { add(&given, key, more).await }).await,
                };
                assert_eq!(counted, *count);
            }
            let tasks: Vec<_> = on_each_core({
                let (counters, steps) = (counters.clone(), steps.clone());
                move || {
                    let (counters, steps) = (counters.clone(), steps.clone());
                    async move {
                        join_all(steps.iter().map(|(_, key, more, _)| add(&counters, *key, *more))).await;
                    }
                }
            }).into_iter().collect();
            for task in tasks {
                task.await.unwrap();
            }
            for (_, key, more, _) in steps {
                *model.entry(key).or_default() += 4 * more;
            }
            assert_eq!(all(&counters).await, model);
        });
    }
}

/// What happens to parts.
#[derive(Default)]
struct Ledger {
    alive: Mutex<BTreeMap<usize, usize>>,
    most_alive: AtomicUsize,
    done: AtomicU64,
    dropped_on: Mutex<Vec<(usize, Option<CoreId>)>>,
}

struct Part {
    slot: usize,
    /// Not `Sync`.
    seen: Cell<u64>,
    ids: BTreeSet<u64>,
    ledger: Arc<Ledger>,
}

impl Part {
    fn new(slot: usize, ledger: &Arc<Ledger>) -> Self {
        let mut alive = ledger.alive.lock().unwrap();
        let alive = alive.entry(slot).or_default();
        *alive += 1;
        ledger.most_alive.fetch_max(*alive, Ordering::Relaxed);
        Self { slot, seen: Cell::new(0), ids: BTreeSet::new(), ledger: ledger.clone() }
    }

    fn visit(&mut self, id: u64) {
        assert!(self.ids.insert(id), "{id} is done twice");
        self.seen.set(self.seen.get() + 1);
        self.ledger.done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        *self.ledger.alive.lock().unwrap().get_mut(&self.slot).unwrap() -= 1;
        self.ledger.dropped_on.lock().unwrap().push((self.slot, CoreId::try_current()));
    }
}

async fn parts(slots: usize) -> (Sharded<Part>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let shared = ledger.clone();
    (Sharded::new(slots, move |slot| Part::new(slot, &shared)).await.unwrap(), ledger)
}

impl Ledger {
    fn alive(&self) -> usize {
        self.alive.lock().unwrap().values().sum()
    }
}

#[test]
fn slots_are_shared_out_and_closures_run_where_they_belong() {
    on_cores(4, || async {
        let (sharded, ledger) = parts(16).await;
        assert_eq!((sharded.slots(), ledger.alive()), (16, 16));
        let slots = sharded.map_reduce(
            |part| vec![(part.slot, CoreId::current())],
            |mut a, mut b| {
                a.append(&mut b);
                a
            },
        );
        let slots = slots.await.unwrap();
        assert!(slots.iter().map(|(slot, _)| *slot).eq(0..16), "in the order of the slots");
        for core in (0..4).map(CoreId::new) {
            assert_eq!(slots.iter().filter(|(_, owner)| *owner == core).count(), 4);
        }
        for key in ["ada", "grace", "barbara", "frances", "jean"] {
            let on = sharded.with(key, |part| (part.slot, CoreId::current())).await.unwrap();
            assert_eq!(on, (sharded.slot(key), sharded.owner(key)));
            let (given, key) = (sharded.clone(), key);
            let elsewhere = there(3, move || async move { (given.slot(key), given.owner(key)) }).await;
            assert_eq!(elsewhere, on, "the same on every core");
        }
        sharded.for_each(|part| part.visit(1)).await.unwrap();
        assert_eq!(ledger.done.load(Ordering::Relaxed), 16);
    });
}

#[test]
fn the_owner_runs_it_within_the_first_poll() {
    on_cores(2, || async {
        let (sharded, _) = parts(2).await;
        let own = (0..).find(|key: &u32| sharded.owner(key) == CoreId::current()).unwrap();
        let other = (0..).find(|key: &u32| sharded.owner(key) != CoreId::current()).unwrap();
        assert_eq!(sharded.with(&own, |_| 7).now_or_never(), Some(Ok(7)));
        // Another core may be as quick, but it is that core which runs it.
        assert_eq!(sharded.with(&other, |_| CoreId::current()).await, Ok(sharded.owner(&other)));
    });
}

#[test]
fn one_senders_closures_keep_their_order_while_nothing_moves() {
    on_cores(4, || async {
        let shared = Sharded::new(8, |_| BTreeMap::<usize, u64>::new()).await.unwrap();
        let tasks = on_each_core(move || {
            let sharded = shared.clone();
            async move {
                let me = CoreId::current().index();
                let sends = (0..3000).map(|number| {
                    sharded.with_slot(number as usize % 8, move |last| {
                        let before = last.insert(me, number);
                        before.is_none_or(|before| before < number)
                    })
                });
                join_all(sends).await.into_iter().all(|in_order| in_order.unwrap())
            }
        });
        for task in tasks {
            assert!(task.await.unwrap());
        }
    });
}

#[test]
fn threads_that_are_no_cores_and_cores_of_other_machines_ask_too() {
    fn is_send<X: Send>(x: X) -> X {
        x
    }
    fn is_handle<X: Send + Sync + Clone>(_: &X) {}

    let runtime = Builder::new_test().cores(2).build().unwrap();
    let other = Builder::new_test().cores(2).build().unwrap();
    let (sharded, ledger) = runtime.block_on(there(1, || async { parts(3).await }));
    is_handle(&sharded);
    for id in 0..10 {
        runtime.block_on(is_send(sharded.with(&id, move |part| part.visit(id)))).unwrap();
    }
    futures::executor::block_on(is_send(sharded.for_each(|part| part.visit(77)))).unwrap();
    let given = sharded.clone();
    let seen = other
        .block_on(there(1, || async move { given.map_reduce(|part| part.seen.get(), |a, b| a + b).await }));
    assert_eq!((seen, ledger.done.load(Ordering::Relaxed)), (Ok(13), 13));
    drop((runtime, other));
    assert_eq!(ledger.alive(), 0, "the Machine has ended");
    assert_eq!(futures::executor::block_on(sharded.with(&1, |_| ())), Err(ShardError::Closed));
    assert_eq!(futures::executor::block_on(sharded.for_each(|_| ())), Err(ShardError::Closed));
}

#[test]
fn a_closure_that_panics_fails_alone() {
    struct Twice;
    impl Drop for Twice {
        fn drop(&mut self) {
            resume_unwind(Box::new("and again when it is dropped"));
        }
    }
    on_cores(2, || async {
        let (sharded, _) = parts(2).await;
        for slot in 0..2 {
            let half_done = sharded.with_slot(slot, |part| {
                part.visit(1);
                resume_unwind(Box::new(Twice))
            });
            assert_eq!(half_done.await.map(|(): ()| ()), Err(ShardError::Panicked));
            assert_eq!(sharded.with_slot(slot, |part| part.seen.get()).await, Ok(1), "as it was left");
        }
        let some =
            |part: &mut Part| if part.slot == 1 { resume_unwind(Box::new("as told")) } else { part.slot };
        assert_eq!(sharded.map_reduce(some, |a, b| a + b).await, Err(ShardError::Panicked));
    });
}

#[test]
fn a_factory_that_panics_on_one_core_makes_nothing() {
    on_cores(3, || async {
        let ledger = Arc::new(Ledger::default());
        let shared = ledger.clone();
        let made = Sharded::new(6, move |slot| {
            if slot == 4 {
                resume_unwind(Box::new("as told"));
            }
            Part::new(slot, &shared)
        });
        assert!(matches!(made.await, Err(CreateError::Panicked { .. })));
        while ledger.alive() > 0 {
            // A core that sleeps undoes it when it wakes.
            for core in 0..3 {
                there(core, || async {}).await;
            }
        }
    });
}

#[test]
fn a_closure_may_use_handles_and_drop_them() {
    on_cores(1, || async {
        let (sharded, ledger) = parts(3).await;
        let given = sharded.clone();
        let (late, heard) = multikernel::channels::oneshot::channel();
        let inside = sharded.with_slot(0, move |part| {
            assert_eq!(given.with_slot(1, |part| part.slot).now_or_never(), Some(Ok(1)), "another part");
            let mut own = Box::pin(async move { given.with_slot(0, |part| part.visit(5)).await });
            assert_eq!(own.as_mut().now_or_never(), None, "its own part waits until this returns");
            assert_eq!(part.seen.get(), 0);
            let _ = late.send(own);
        });
        inside.await.unwrap();
        assert_eq!(ledger.done.load(Ordering::Relaxed), 1, "then it is done");
        heard.await.unwrap().await.unwrap();

        // The object ends while a closure has a part of it: a core alone agrees at once.
        let last = sharded.clone();
        let ends = sharded.with_slot(2, move |part| {
            drop(last);
            part.slot
        });
        assert_eq!(ends.await, Ok(2));
        let other = sharded.clone();
        let ends = sharded.with_slot(2, move |part| {
            assert_eq!(other.close().now_or_never(), Some(Ok(())));
            part.slot
        });
        assert_eq!(ends.await, Ok(2));
        assert_eq!(sharded.with_slot(2, |_| ()).await, Err(ShardError::Closed));
        yield_now().await;
        while ledger.alive() > 0 {
            yield_now().await;
        }
    });
}

#[test]
fn parts_are_dropped_on_the_cores_that_own_them() {
    on_cores(4, || async {
        let own = |sharded: &Sharded<Part>| {
            let sharded = sharded.clone();
            async move {
                let owners = sharded.map_reduce(
                    |part| vec![(part.slot, Some(CoreId::current()))],
                    |mut a, mut b| {
                        a.append(&mut b);
                        a
                    },
                );
                owners.await.unwrap()
            }
        };
        for turn in 0..3 {
            let (sharded, ledger) = parts(11).await;
            let owners = own(&sharded).await;
            match turn {
                0 => drop(sharded),
                1 => std::thread::spawn(move || drop(sharded)).join().unwrap(),
                _ => sharded.close().await.unwrap(),
            }
            while ledger.alive() > 0 {
                for task in on_each_core(|| async {}) {
                    task.await.unwrap();
                }
            }
            let mut dropped = ledger.dropped_on.lock().unwrap().clone();
            dropped.sort();
            assert_eq!(dropped, owners);
        }
    });
    let ledger = Arc::new(Mutex::new(None));
    let keep = ledger.clone();
    on_cores(3, || async move {
        let (sharded, ledger) = parts(6).await;
        std::mem::forget(sharded);
        keep.lock().unwrap().replace(ledger);
    });
    assert_eq!(
        ledger.lock().unwrap().take().unwrap().alive(),
        0,
        "what is open when the Machine ends is dropped"
    );
}

/// Polls a future so often, then drops it. Says whether it was ready.
async fn abandon<F: Future>(future: F, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return true;
        }
        yield_now().await;
    }
    false
}

#[test]
fn what_is_abandoned_is_done_once_or_not_at_all() {
    on_cores(3, || async {
        let (sharded, ledger) = parts(3).await;
        let mut id = 0;
        for polls in 0..4 {
            for _ in 0..200 {
                id += 1;
                let was_done = ledger.done.load(Ordering::Relaxed);
                let is_done = abandon(sharded.with(&id, move |part| part.visit(id)), polls).await;
                if polls == 0 {
                    sharded.for_each(|_| ()).await.unwrap();
                    assert_eq!((is_done, ledger.done.load(Ordering::Relaxed)), (false, was_done));
                }
                abandon(sharded.for_each(move |part| part.visit(1_000_000 + id)), polls).await;
            }
        }
        sharded.for_each(|_| ()).await.unwrap();
        let seen = sharded.map_reduce(|part| part.seen.get(), |a, b| a + b).await.unwrap();
        // `visit` has checked that nothing is done twice.
        assert_eq!(seen, ledger.done.load(Ordering::Relaxed));
    });
}

/// Asks until it is told to stop: how often it was answered.
async fn keep_asking(sharded: Sharded<Part>, stop: Arc<AtomicBool>, me: u64) -> u64 {
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let asks = (0..8).map(|of| {
            let id = (me << 40) | (answered + of);
            sharded.with(&id, move |part| part.visit(id))
        });
        let answers = join_all(asks).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        answered += 8;
        yield_now().await;
    }
    answered
}

#[test]
fn while_cores_come_and_go_nothing_is_lost_and_nothing_is_done_twice() {
    const CORES: usize = 5;
    let runtime = Builder::new_test().cores(CORES).build().unwrap();
    let machine = runtime.handle().clone();
    let (sharded, ledger) = runtime.block_on(there(0, || async { parts(24).await }));
    let stop = Arc::new(AtomicBool::new(false));
    let outside = std::thread::spawn({
        let (machine, sharded, stop) = (machine.clone(), sharded.clone(), stop.clone());
        move || machine.block_on(keep_asking(sharded, stop, 99))
    });
    let (moves, answered) = runtime.block_on(async {
        let mut tasks = Vec::new();
        for core in 0..2 {
            let (sharded, stop) = (sharded.clone(), stop.clone());
            let ask = move || keep_asking(sharded, stop, core as u64);
            tasks.push(spawn_on(CoreId::new(core), ask));
        }
        let (mut moves, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_secs(2) {
            let core = CoreId::new(2 + moves % 3);
            machine.retire(core).await.unwrap();
            machine.revive(core).await.unwrap();
            moves += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for task in tasks {
            answered += task.await.unwrap();
        }
        (moves, answered)
    });
    let answered = answered + outside.join().unwrap();
    let seen = runtime.block_on(sharded.map_reduce(|part| part.seen.get(), |a, b| a + b)).unwrap();
    assert_eq!((seen, ledger.done.load(Ordering::Relaxed)), (answered, answered));
    assert_eq!(ledger.most_alive.load(Ordering::Relaxed), 1, "a part is on one core at a time");
    println!("{answered} requests during {moves} times of leaving and coming back");
    assert!(moves > 3 && answered > 1000, "{moves} {answered}");
}

#[test]
fn the_parts_of_a_dead_core_are_made_anew() {
    let runtime = Builder::new_test().cores(4).build().unwrap();
    let machine = runtime.handle().clone();
    let (sharded, ledger) = runtime.block_on(there(0, || async { parts(8).await }));
    runtime.block_on(sharded.for_each(|part| part.visit(1))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let asking = {
        let (_guest, sharded, stop) = (runtime.handle().enter(), sharded.clone(), stop.clone());
        spawn_on(CoreId::new(0), move || keep_asking(sharded, stop, 5))
    };
    machine.kill(CoreId::new(2));
    let made_anew = runtime.block_on(async {
        let count = || sharded.map_reduce(|part| usize::from(!part.ids.contains(&1)), |a, b| a + b);
        loop {
            let lost = count().await.unwrap();
            if lost > 0 {
                break lost;
            }
        }
    });
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(asking).unwrap();
    assert_eq!(made_anew, 2, "what was on the others is there");
    let owners = sharded.map_reduce(|_| BTreeSet::from([CoreId::current()]), |a, b| &a | &b);
    assert_eq!(runtime.block_on(owners).unwrap(), [0, 1, 3].map(CoreId::new).into());
    drop(sharded);
    while ledger.alive() > 0 {
        runtime.block_on(async {
            for core in [0, 1, 3] {
                there(core, || async {}).await;
            }
        });
    }
}
