//! Polls that are known to be long, and who waits for them.
#![cfg(not(loom))]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use multikernel::runtime::{Builder, CoreLoad, Handle, Placement};
use multikernel::task::{block_in_place, pin_here, spawn_placed, yield_now};
use multikernel::time::sleep;
use multikernel::{CoreId, spawn, spawn_on};

const PATIENCE: Duration = Duration::from_secs(20);
const OTHERS: usize = 8;

/// Longer than a poll has to be to count as long, by a factor for the time in which the thread has no CPU.
const LONG: Duration = Duration::from_millis(12);

/// How often each of some tasks has run that wait for a moment, again and again.
struct Others(Arc<Vec<AtomicUsize>>, Arc<AtomicBool>);

impl Others {
    fn begin() -> Self {
        let counts: Arc<Vec<_>> = Arc::new((0..OTHERS).map(|_| AtomicUsize::new(0)).collect());
        let stop = Arc::new(AtomicBool::new(false));
        for index in 0..OTHERS {
            let (counts, stop) = (counts.clone(), stop.clone());
            drop(spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(1)).await;
                }
            }));
        }
        Self(counts, stop)
    }

    fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Computes for long, and longer if need be, up to a bound, until each of them has run meanwhile. Says whether they have.
    fn run_while_this_computes(&self) -> bool {
        let (before, began) = (self.counts(), Instant::now());
        let all_ran = || self.counts().iter().zip(&before).all(|(now, before)| now > before);
        while began.elapsed() < LONG || !all_ran() && began.elapsed() < 4 * LONG {
            std::hint::spin_loop();
        }
        all_ran()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// The tests take turns: beside each other they would have each other's CPUs, and no core would give to one that has none.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What should have come has not, for as long as patience lasts. Where other processes have the CPUs that is right: nothing is
/// given to a core that waits for one. Says so, or fails.
fn waited_in_vain(since: Instant, what: &str) -> bool {
    if since.elapsed() < PATIENCE {
        return false;
    }
    let metrics = Handle::current().metrics();
    let lost: Duration = multikernel::cores().map(|core| metrics.core(core).run_delay).sum();
    assert!(lost > PATIENCE / 10, "{what}; the cores have waited {lost:?} for a CPU");
    eprintln!("{what}: not tested, for the cores have waited {lost:?} for a CPU");
    true
}

fn moved() -> u64 {
    let metrics = Handle::current().metrics();
    multikernel::cores().map(|core| metrics.core(core).moved).sum()
}

#[test]
fn others_run_elsewhere_while_a_task_computes_that_always_does() {
    static RESERVED: AtomicBool = AtomicBool::new(false);
    fn ask(loads: &[CoreLoad]) -> usize {
        if loads[0].is_reserved {
            assert!(!loads[0].takes_tasks);
            RESERVED.store(true, Ordering::Relaxed);
        }
        0 // which is not followed while that core takes no tasks
    }
    let _alone = alone();
    let placed = Builder::new_test().cores(2).balancing(true).run(|| async {
        let others = Others::begin();
        let asking = spawn_on(CoreId::new(1), || async {
            let started = Instant::now();
            while !RESERVED.load(Ordering::Relaxed) {
                if waited_in_vain(started, "the core was never reserved") {
                    return None;
                }
                spawn_placed(Placement::Custom(ask), async {}).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
            Some(spawn_placed(Placement::Custom(|_| 0), async { CoreId::current().index() }).await.unwrap())
        });
        let long = spawn(async move {
            pin_here();
            let started = Instant::now();
            let mut have_run = false;
            while !(have_run && asking.is_finished()) {
                if asking.is_finished() && waited_in_vain(started, "the others waited for each of its polls")
                {
                    return None;
                }
                have_run = others.run_while_this_computes();
                yield_now().await;
            }
            asking.await.unwrap()
        });
        long.await.unwrap()
    });
    assert_ne!(placed.unwrap(), Some(0));
}

#[test]
fn a_core_whose_long_polls_are_over_takes_tasks_again() {
    static WAS_RESERVED: AtomicBool = AtomicBool::new(false);
    fn ask(loads: &[CoreLoad]) -> usize {
        WAS_RESERVED.fetch_or(loads[0].is_reserved, Ordering::Relaxed);
        0
    }
    let _alone = alone();
    Builder::new_test()
        .cores(2)
        .balancing(true)
        .run(|| async {
            let here = || async {
                sleep(Duration::from_millis(1)).await;
                spawn_placed(Placement::Custom(ask), async { CoreId::current().index() }).await.unwrap()
            };
            let asking = spawn_on(CoreId::new(1), move || async move {
                let started = Instant::now();
                while !WAS_RESERVED.load(Ordering::Relaxed) {
                    if waited_in_vain(started, "the core was never reserved") {
                        return;
                    }
                    here().await;
                }
            });
            let others = Others::begin();
            let long = spawn(async move {
                pin_here();
                while !asking.is_finished() {
                    others.run_while_this_computes();
                    yield_now().await;
                }
            });
            long.await.unwrap();
            // Core 0 sleeps now. It wakes to say that it is free.
            let again = spawn_on(CoreId::new(1), move || async move {
                let started = Instant::now();
                while here().await != 0 {
                    assert!(started.elapsed() < PATIENCE, "nothing was ever placed there again");
                }
            });
            again.await.unwrap();
        })
        .unwrap();
}

#[test]
fn what_a_core_that_blocks_cannot_serve_goes_to_a_reserved_one_if_there_is_no_other() {
    static RESERVED: AtomicBool = AtomicBool::new(false);
    fn ask(loads: &[CoreLoad]) -> usize {
        RESERVED.fetch_or(loads[1].is_reserved, Ordering::Relaxed);
        0
    }
    let _alone = alone();
    Builder::new_test()
        .cores(2)
        .balancing(true)
        .run(|| async {
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = stop.clone();
            let long = spawn_on(CoreId::new(1), move || async move {
                while !stopped.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    while began.elapsed() < LONG {
                        std::hint::spin_loop();
                    }
                    yield_now().await;
                }
            });
            let started = Instant::now();
            while !RESERVED.load(Ordering::Relaxed) && !waited_in_vain(started, "the core was never reserved")
            {
                drop(spawn_placed(Placement::Custom(ask), async {}));
                sleep(Duration::from_millis(1)).await;
            }
            let (tell, told) = std::sync::mpsc::channel();
            drop(spawn(async move { tell.send(CoreId::current().index()).unwrap() }));
            let served = block_in_place(|| told.recv_timeout(PATIENCE));
            stop.store(true, Ordering::Relaxed);
            assert_eq!(served.expect("nobody served it"), 1);
            long.await.unwrap();
        })
        .unwrap();
}

#[test]
fn without_balancing_the_others_wait() {
    let _alone = alone();
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let others = Others::begin();
            let long = spawn(async move {
                for _ in 0..10 {
                    assert!(!others.run_while_this_computes());
                    yield_now().await;
                }
            });
            long.await.unwrap();
            assert_eq!(moved(), 0);
        })
        .unwrap();
}
