//! Cores that make their loads alike.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, CoreLoad, Handle, Pinning, Placement};
use multikernel::task::{JoinHandle, pin_here, spawn_balanced, spawn_placed, yield_now};
use multikernel::time::sleep;
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

const PATIENCE: Duration = Duration::from_secs(60);

fn compute(micros: u64) {
    let until = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Tasks that compute and yield, all begun on one core, until told to stop. Gives where they are, a bit for each core.
fn busy(tasks: usize, stop: &Arc<AtomicBool>) -> Vec<Arc<AtomicUsize>> {
    (0..tasks)
        .map(|_| {
            let (stop, at) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
            let seen = at.clone();
            drop(spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    at.store(CoreId::current().index(), Ordering::Relaxed);
                    compute(50);
                    yield_now().await;
                }
            }));
            seen
        })
        .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        yield_now().await;
    }
}

fn moved() -> u64 {
    let metrics = Handle::current().metrics();
    multikernel::cores().map(|core| metrics.core(core).moved).sum()
}

#[test]
fn a_core_with_too_much_to_do_hands_tasks_over() {
    Builder::new_test()
        .cores(2)
        .balancing(true)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let at = busy(8, &stop);
            let elsewhere = || at.iter().filter(|at| at.load(Ordering::Relaxed) == 1).count();
            until("none ever moved", || elsewhere() >= 2).await;
            stop.store(true, Ordering::Relaxed);
        })
        .unwrap();
}

#[test]
fn what_is_to_stay_stays_however_busy_the_core() {
    Builder::new_test()
        .cores(2)
        .balancing(true)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let here = CoreId::current();
            let stays = move |stop: Arc<AtomicBool>| async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(CoreId::current(), here);
                    compute(50);
                    yield_now().await;
                }
            };
            let pinned = spawn({
                let stays = stays(stop.clone());
                async {
                    pin_here();
                    stays.await;
                }
            });
            let (one, other) = (stop.clone(), stop.clone());
            let local = spawn_local(stays(one));
            let named = spawn_on(here, move || stays(other));
            let free = busy(6, &stop);
            until("none of the others moved", || moved() > 0).await;
            stop.store(true, Ordering::Relaxed);
            for task in [pinned, local, named] {
                task.await.unwrap();
            }
            drop(free);
        })
        .unwrap();
}

#[test]
fn without_balancing_nothing_moves() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let at = busy(6, &stop);
            let started = Instant::now();
            // Many times as long as it takes otherwise.
            while started.elapsed() < Duration::from_millis(500) {
                yield_now().await;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(at.iter().all(|at| at.load(Ordering::Relaxed) == 0));
            assert_eq!(moved(), 0);
        })
        .unwrap();
}

/// Runs on `cores` as `placement` says; gives how many of 100 tasks and of 60 connections each core gets.
fn placed(cores: usize, placement: Placement) -> (Vec<usize>, Vec<usize>) {
    Builder::new_test()
        .cores(cores)
        .placement(placement)
        .run(move || async move {
            let (mut tasks, mut connections) = (vec![0; cores], vec![0; cores]);
            for _ in 0..100 {
                tasks[spawn_balanced(async { CoreId::current().index() }).await.unwrap()] += 1;
            }
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut open = Vec::new();
            for _ in 0..60 {
                open.push(TcpStream::connect(address).await.unwrap());
                let accepting = spawn({
                    let accepted = listener.accept().await.unwrap();
                    async move {
                        let core = CoreId::current().index();
                        (core, accepted)
                    }
                });
                let (core, accepted) = accepting.await.unwrap();
                open.push(accepted.0);
                connections[core] += 1;
            }
            (tasks, connections)
        })
        .unwrap()
}

#[test]
fn policies_say_where_tasks_and_connections_go() {
    fn last(loads: &[CoreLoad]) -> usize {
        loads.len() - 1
    }
    let (tasks, connections) = placed(3, Placement::Custom(last));
    assert_eq!((tasks[2], connections[2]), (100, 60));
    let (tasks, connections) = placed(3, Placement::Local);
    assert_eq!((tasks[0], connections[0]), (100, 60));
    let (tasks, connections) = placed(3, Placement::Pack { micros: 1_000_000 });
    assert_eq!((tasks[0], connections[0]), (100, 60));
    let (tasks, _) = placed(3, Placement::ByKey(7));
    assert!(tasks.contains(&100), "{tasks:?}");
    let (tasks, _) = placed(3, Placement::Spread);
    assert!(tasks.iter().all(|tasks| *tasks > 0), "{tasks:?}");
}

#[test]
fn a_thread_that_is_no_core_places_as_the_policy_says() {
    fn last(loads: &[CoreLoad]) -> usize {
        loads.len() - 1
    }
    fn nowhere(_: &[CoreLoad]) -> usize {
        usize::MAX
    }
    let at = || async { CoreId::current().index() };
    let placed = |placement: Placement| {
        let runtime = Builder::new_test().cores(3).placement(placement).build().unwrap();
        let handle = runtime.handle().clone();
        let tasks: Vec<_> = (0..20).map(|_| handle.spawn(at())).collect();
        runtime.block_on(async move {
            let mut cores = Vec::new();
            for task in tasks {
                cores.push(task.await.unwrap());
            }
            let other = spawn_placed(Placement::Custom(last), at()).await.unwrap();
            assert_eq!(other, 2, "one with a policy of its own");
            cores
        })
    };
    assert_eq!(placed(Placement::Custom(last)), [2; 20]);
    assert_eq!(placed(Placement::Pack { micros: 1_000_000 }), [0; 20]);
    let keyed = placed(Placement::ByKey(7));
    assert_eq!(keyed, [keyed[0]; 20]);
    for placement in [Placement::Spread, Placement::Local, Placement::Custom(nowhere)] {
        let cores = placed(placement);
        assert!((0..3).all(|core| cores.contains(&core)), "{placement:?}: {cores:?}");
    }
}

/// By a thread that is no core as well.
#[test]
fn tasks_of_a_key_stay_wherever_they_come_from() {
    let runtime = Builder::new_test().cores(2).build().unwrap();
    runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..8).map(|_| by_key(7, &stop)).collect();
        sleep(Duration::from_millis(100)).await;
        stop.store(true, Ordering::Relaxed);
        let mut cores = Vec::new();
        for task in tasks {
            cores.push(task.await.unwrap());
        }
        assert_eq!(cores, [cores[0]; 8]);
    });
}

#[test]
fn whoever_places_tasks_knows_where_cores_are_pinned() {
    fn second_if_pinned(loads: &[CoreLoad]) -> usize {
        usize::from(loads.iter().all(|load| load.cpu.is_some()))
    }
    for (pinning, core) in [(Pinning::Always, 1), (Pinning::Never, 0)] {
        let mut builder = Builder::new_test();
        builder.cores(2).pinning(pinning).placement(Placement::Custom(second_if_pinned));
        let is_at = builder.run(|| spawn_balanced(async { CoreId::current().index() })).unwrap();
        assert_eq!(is_at.unwrap(), core, "{pinning}");
    }
}

/// A task of a key computes until told to stop, never leaves its core, and says which it was.
fn by_key(key: u64, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let stop = stop.clone();
    spawn_placed(Placement::ByKey(key), async move {
        let here = CoreId::current();
        while !stop.load(Ordering::Relaxed) {
            compute(50);
            yield_now().await;
            assert_eq!(CoreId::current(), here);
        }
        here.index()
    })
}

#[test]
fn tasks_of_a_key_stay_together_however_busy_their_core() {
    Builder::new_test()
        .cores(2)
        .balancing(true)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let mut key = 0;
            while spawn_placed(Placement::ByKey(key), async { CoreId::current().index() }).await.unwrap() != 0
            {
                key += 1;
            }
            let together: Vec<_> = (0..6).map(|_| by_key(key, &stop)).collect();
            let free = busy(6, &stop);
            until("none of the others moved", || moved() > 0).await;
            stop.store(true, Ordering::Relaxed);
            for task in together {
                assert_eq!(task.await.unwrap(), 0);
            }
            drop(free);
        })
        .unwrap();
}

#[test]
fn tasks_of_a_key_leave_a_core_that_retires_for_where_the_next_ones_go() {
    const KEYS: u64 = 8;
    Builder::new_test()
        .cores(4)
        .balancing(true)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let at: Vec<_> = (0..2 * KEYS).map(|_| Arc::new(AtomicUsize::new(usize::MAX))).collect();
            for (index, at) in at.iter().enumerate() {
                let (stop, at) = (stop.clone(), at.clone());
                drop(spawn_placed(Placement::ByKey(index as u64 % KEYS), async move {
                    while !stop.load(Ordering::Relaxed) {
                        at.store(CoreId::current().index(), Ordering::Relaxed);
                        sleep(Duration::from_millis(1)).await;
                    }
                }));
            }
            let core = |index: usize| at[index].load(Ordering::Relaxed);
            for retired in 1..4 {
                Handle::current().retire(CoreId::new(retired)).await.unwrap();
                let takes = |core: usize| core == 0 || (retired + 1..4).contains(&core);
                until("some are nowhere", || (0..at.len()).all(|index| takes(core(index)))).await;
                for key in 0..KEYS {
                    let newest = spawn_placed(Placement::ByKey(key), async { CoreId::current().index() });
                    let newest = newest.await.unwrap();
                    let (one, other) = (core(key as usize), core((key + KEYS) as usize));
                    assert_eq!((one, other), (newest, newest), "key {key} without core {retired}");
                }
            }
            stop.store(true, Ordering::Relaxed);
        })
        .unwrap();
}

/// An index that is none, and a core that takes no tasks.
#[test]
fn a_policy_that_errs_is_as_good_as_none() {
    fn nowhere(_: &[CoreLoad]) -> usize {
        usize::MAX
    }
    fn second(_: &[CoreLoad]) -> usize {
        1
    }
    let (tasks, _) = placed(2, Placement::Custom(nowhere));
    assert_eq!(tasks.iter().sum::<usize>(), 100);
    Builder::new_test()
        .cores(2)
        .placement(Placement::Custom(second))
        .run(|| async {
            let machine = Handle::current();
            assert_eq!(spawn_balanced(async { CoreId::current().index() }).await.unwrap(), 1);
            machine.retire(CoreId::new(1)).await.unwrap();
            for _ in 0..50 {
                assert_eq!(spawn_balanced(async { CoreId::current().index() }).await.unwrap(), 0);
            }
        })
        .unwrap();
}

#[test]
fn a_burst_of_connections_is_spread_evenly() {
    const CONNECTIONS: usize = 400;
    for cores in [2, 4] {
        Builder::new_test()
            .cores(cores)
            .run(move || async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let counts: Arc<Vec<AtomicUsize>> =
                    Arc::new((0..cores).map(|_| AtomicUsize::new(0)).collect());
                let (mut near, mut tasks) = (Vec::new(), Vec::new());
                for _ in 0..CONNECTIONS {
                    near.push(TcpStream::connect(address).await.unwrap());
                    let counts = counts.clone();
                    let (far, _) = listener.accept().await.unwrap();
                    tasks.push(spawn(async move {
                        counts[CoreId::current().index()].fetch_add(1, Ordering::Relaxed);
                        far.readable().await.unwrap(); // the end of it
                    }));
                }
                let sum = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>();
                until("some were never served", || sum() == CONNECTIONS).await;
                let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
                let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
                assert!(*most as f64 / *fewest as f64 <= 1.05, "{counts:?}");
                drop(near);
                for task in tasks {
                    task.await.unwrap();
                }
            })
            .unwrap();
    }
}
