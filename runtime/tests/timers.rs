//! Timers of the whole Machine, on real cores.
#![cfg(not(loom))]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::Poll;

use multikernel::channels::{mpsc, oneshot};
use multikernel::runtime::{Builder, Handle};
use multikernel::task::yield_now;
use multikernel::time::machine::{self, CancelError, Closed, every, on_each, once};
use multikernel::time::{Duration, Instant, sleep_until};
use multikernel::{CoreId, on_each_core, spawn_on};

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

const HOUR: Duration = Duration::from_secs(3_600);

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(5)
}

/// Counts for each timer of a test how often it has run.
#[derive(Clone)]
struct Counts(Arc<[AtomicU32]>);

impl Counts {
    fn new(timers: usize) -> Self {
        Self((0..timers).map(|_| AtomicU32::new(0)).collect())
    }

    fn add(&self, timer: usize) {
        self.0[timer].fetch_add(1, Ordering::Release);
    }

    fn get(&self, timer: usize) -> u32 {
        self.0[timer].load(Ordering::Acquire)
    }

    async fn reaches(&self, timer: usize, runs: u32) {
        while self.get(timer) < runs {
            yield_now().await;
        }
    }
}

/// Until every live core has run all that was due by now.
async fn all_are_past(deadline: Instant) {
    for core in on_each_core(move || async move {
        sleep_until(deadline + Duration::from_millis(1)).await;
        yield_now().await;
    }) {
        core.await.unwrap();
    }
}

/// A small generator (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn a_timer_runs_once_on_its_core_and_not_early() {
    on_cores(3, || async {
        for core in 0..3 {
            let deadline = soon();
            let (send, receive) = oneshot::channel();
            let armed = spawn_on(CoreId::new(core), move || async move {
                once(deadline, move || send.send((CoreId::current(), Instant::now())).unwrap()).await
            });
            armed.await.unwrap().unwrap();
            let (ran, at) = receive.await.unwrap();
            assert_eq!(ran.index(), core);
            assert!(at >= deadline);
        }
    });
}

#[test]
fn one_that_is_for_each_core_runs_once_on_each() {
    on_cores(4, || async {
        let counts = Counts::new(4);
        let (counted, deadline) = (counts.clone(), soon());
        on_each(deadline, move || {
            assert!(Instant::now() >= deadline);
            counted.add(CoreId::current().index());
        })
        .await
        .unwrap();
        for core in 0..4 {
            counts.reaches(core, 1).await;
        }
        all_are_past(Instant::now()).await;
        assert!((0..4).all(|core| counts.get(core) == 1));
    });
}

#[test]
fn one_that_repeats_keeps_its_period_until_it_is_cancelled() {
    on_cores(2, || async {
        let (send, mut receive) = mpsc::channel(64);
        let (period, start) = (Duration::from_millis(2), Instant::now());
        let timer = every(period, move || _ = send.try_send(Instant::now())).await.unwrap();
        let mut before = start;
        for tick in 1..=10 {
            let at = receive.recv().await.unwrap();
            assert!(at >= start + period * tick, "tick {tick} is early");
            assert!(at > before);
            before = at;
        }
        timer.cancel().await.unwrap();
        while receive.try_recv().is_ok() {}
        all_are_past(Instant::now() + 5 * period).await;
        assert!(receive.try_recv().is_err(), "it was cancelled");
    });
}

#[test]
fn a_panic_ends_one_run_and_nothing_else() {
    on_cores(2, || async {
        let counts = Counts::new(3);
        let (first, second, third) = (counts.clone(), counts.clone(), counts.clone());
        let fails = |counts: &Counts, timer| {
            counts.add(timer);
            std::panic::resume_unwind(Box::new("as told"));
        };
        once(Instant::now(), move || fails(&first, 0)).await.unwrap();
        on_each(Instant::now(), move || fails(&second, 1)).await.unwrap();
        let beat = every(Duration::from_millis(1), move || fails(&third, 2)).await.unwrap();
        for (timer, runs) in [(0, 1), (1, 2), (2, 3)] {
            counts.reaches(timer, runs).await;
        }
        beat.cancel().await.unwrap();
        let (send, receive) = oneshot::channel();
        once(Instant::now(), move || send.send(()).unwrap()).await.unwrap();
        receive.await.unwrap();
    });
}

#[test]
fn cancelled_means_never_and_refused_means_once() {
    const CORES: usize = 16;
    const EACH: usize = 60;
    on_cores(CORES, || async {
        let counts = Counts::new(CORES * EACH);
        let mut tasks = Vec::new();
        for core in 0..CORES {
            let counts = counts.clone();
            tasks.push(spawn_on(CoreId::new(core), move || async move {
                let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ core as u64);
                let mut answers = Vec::new();
                for timer in core * EACH..(core + 1) * EACH {
                    let counts = counts.clone();
                    let deadline = Instant::now() + Duration::from_micros(random.below(10_000));
                    let armed = match timer % 2 {
                        0 => once(deadline, move || counts.add(timer)).await,
                        _ => on_each(deadline, move || counts.add(timer)).await,
                    };
                    // Somewhere else, so that it is decided at about the time it is due.
                    let there = random.below(CORES as u64) as usize;
                    let ahead = Duration::from_micros(random.below(10_000));
                    let cancel_at = deadline.checked_sub(ahead).unwrap_or(deadline);
                    let cancelled = spawn_on(CoreId::new(there), move || async move {
                        sleep_until(cancel_at).await;
                        armed.unwrap().cancel().await
                    });
                    answers.push((timer, cancelled.await.unwrap()));
                }
                answers
            }));
        }
        let (mut cancelled, mut ran) = (0, 0);
        let mut answers = Vec::new();
        for task in tasks {
            answers.extend(task.await.unwrap());
        }
        let whole = |timer: usize| if timer.is_multiple_of(2) { 1 } else { CORES as u32 };
        for (timer, answer) in &answers {
            match answer {
                Ok(()) => cancelled += 1,
                Err(error) => {
                    assert_eq!(*error, CancelError::HasStarted);
                    counts.reaches(*timer, whole(*timer)).await;
                    ran += 1;
                }
            }
        }
        all_are_past(Instant::now()).await;
        for (timer, answer) in answers {
            let expected = if answer.is_ok() { 0 } else { whole(timer) };
            assert_eq!(counts.get(timer), expected, "timer {timer}: {answer:?}");
        }
        println!("{cancelled} were cancelled, {ran} ran");
        assert!(cancelled > 0 && ran > 0);
    });
}

#[test]
fn timers_of_a_core_that_retires_pass_on_and_run_once() {
    on_cores(3, || async {
        let (machine, counts) = (Handle::current(), Counts::new(3));
        let core = CoreId::new(1);
        for turn in 1..=10 {
            let (first, second, deadline) = (counts.clone(), counts.clone(), soon());
            spawn_on(core, move || async move {
                once(deadline, move || first.add(0)).await.unwrap();
                on_each(deadline, move || second.add(1)).await.unwrap();
            })
            .await
            .unwrap();
            machine.retire(core).await.unwrap();
            counts.reaches(0, turn).await;
            // Core 1 may have run it before it retired.
            counts.reaches(1, counts.get(1).max(3 * (turn - 1) + 2)).await;
            all_are_past(deadline).await;
            machine.revive(core).await.unwrap();
            all_are_past(Instant::now()).await;
            assert_eq!(counts.get(0), turn);
            let ran = counts.get(1);
            for _ in ran..3 * turn {
                counts.add(1); // the core was not there
            }
        }
        let beats = counts.clone();
        let beat = spawn_on(core, move || async move {
            every(Duration::from_millis(1), move || beats.add(2)).await.unwrap()
        })
        .await
        .unwrap();
        for turn in 1..=5 {
            machine.retire(core).await.unwrap();
            counts.reaches(2, counts.get(2) + turn).await;
            machine.revive(core).await.unwrap();
        }
        beat.cancel().await.unwrap();
    });
}

#[test]
fn whoever_comes_goes_or_dies_each_timer_runs_once() {
    const CORES: usize = 9;
    const TIMERS: usize = 400;
    let runtime = Builder::new_test().cores(CORES).build().unwrap();
    let machine = runtime.handle().clone();
    let counts = Counts::new(TIMERS);
    // Core 8 stays, to see the others go.
    let witness = CoreId::new(CORES - 1);
    let counted = counts.clone();
    let test = spawn_on_core(&runtime, witness, move || async move {
        let mut random = Random(0xD1B5_4A32_D192_ED03);
        let mut dead = Vec::new();
        for timer in 0..TIMERS {
            let owner = CoreId::new(timer % CORES);
            let deadline = Instant::now() + Duration::from_micros(random.below(4_000));
            let counts = counted.clone();
            if !dead.contains(&owner) {
                // A core may go before it has armed its timer: then it never runs.
                let armed = spawn_on(owner, move || async move {
                    once(deadline, move || counts.add(timer)).await.unwrap();
                });
                if armed.await.is_err() {
                    counted.add(timer);
                }
            } else {
                counted.add(timer);
            }
            if timer % 4 == 3 {
                let core = CoreId::new(4 + timer / 4 % 4);
                machine.retire(core).await.unwrap();
                machine.revive(core).await.unwrap();
            }
            if timer % 80 == 79 {
                // The home among them: its timers pass on.
                let core = CoreId::new(dead.len());
                if dead.len() < 4 {
                    machine.kill(core);
                    dead.push(core);
                }
            }
        }
        for timer in 0..TIMERS {
            counted.reaches(timer, 1).await;
        }
        all_are_past(Instant::now()).await;
    });
    runtime.block_on(test).unwrap();
    for timer in 0..TIMERS {
        assert_eq!(counts.get(timer), 1, "timer {timer}");
    }
}

fn spawn_on_core<F: Future<Output = ()> + 'static>(
    runtime: &multikernel::runtime::Runtime,
    core: CoreId,
    make: impl FnOnce() -> F + Send + 'static,
) -> multikernel::task::JoinHandle<()> {
    let _guest = runtime.handle().enter();
    spawn_on(core, make)
}

/// Sets a flag at the end, be it a panic.
struct SetAtEnd(Arc<AtomicBool>);

impl Drop for SetAtEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_core_in_a_long_poll_keeps_its_timers_and_is_late() {
    on_cores(2, || async {
        let counts = Counts::new(64);
        let release = SetAtEnd(Arc::default());
        let (stuck, waits, counted) = (Arc::new(AtomicU32::new(0)), release.0.clone(), counts.clone());
        let says = stuck.clone();
        let task = spawn_on(CoreId::new(1), move || async move {
            for attempt in 1.. {
                let (deadline, counted) =
                    (Instant::now() + attempt * Duration::from_millis(5), counted.clone());
                once(deadline, move || counted.add(attempt as usize)).await.unwrap();
                // If it is too late for that, the next one is armed longer before.
                if Instant::now() < deadline {
                    says.store(attempt, Ordering::Release);
                    while !waits.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                    return deadline;
                }
            }
            unreachable!("time enough");
        });
        while stuck.load(Ordering::Acquire) == 0 {
            yield_now().await;
        }
        let timer = stuck.load(Ordering::Acquire) as usize;
        sleep_until(Instant::now() + timer as u32 * Duration::from_millis(5)).await;
        assert_eq!(counts.get(timer), 0, "nobody takes it from a core that lives");
        drop(release);
        assert!(task.await.unwrap() < Instant::now());
        counts.reaches(timer, 1).await;
        all_are_past(Instant::now()).await;
        assert!((1..=timer).all(|timer| counts.get(timer) == 1));
    });
}

/// Polls `future` that often, each time when it is woken, and drops it then. Says whether it was ready.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| {
        if left > 0 {
            left -= 1;
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
        }
        if left == 0 { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

#[test]
fn what_is_dropped_halfway_is_done_or_not_and_nothing_is_stuck() {
    const POLLS: usize = 5;
    on_cores(3, || async {
        let counts = Counts::new(64);
        let (mut armed, mut cancelled) = (0, Vec::new());
        for timer in 0..64 {
            let polls = timer % POLLS;
            let (first, second) = (counts.clone(), counts.clone());
            drop_after(polls, on_each(Instant::now() + HOUR, || {})).await;
            armed += usize::from(drop_after(polls, once(soon(), move || first.add(timer))).await.is_some());
            let hour = once(Instant::now() + HOUR, move || second.add(timer)).await.unwrap();
            if drop_after(polls, hour.cancel()).await.is_some() {
                cancelled.push(polls);
            }
        }
        // What is asked for last is answered last.
        once(Instant::now() + HOUR, || {}).await.unwrap().cancel().await.unwrap();
        all_are_past(soon()).await;
        for timer in 0..64 {
            let most = if timer % POLLS == 0 { 0 } else { 1 };
            assert!(counts.get(timer) <= most, "{}", counts.get(timer));
        }
        assert!(armed > 0 && !cancelled.is_empty(), "some are not dropped before their end");
        assert!(armed < 64 - 64 / POLLS, "and some at an await");
    });
}

#[test]
fn a_timer_outlives_its_handle_and_is_cancelled_from_any_thread() {
    let runtime = Builder::new_test().cores(2).build().unwrap();
    let counts = Counts::new(2);
    let (first, second) = (counts.clone(), counts.clone());
    let timer = runtime.block_on(async move {
        spawn_on(CoreId::new(1), || async move {
            drop(once(soon(), move || first.add(0)).await.unwrap());
            once(Instant::now() + HOUR, move || second.add(1)).await.unwrap()
        })
        .await
        .unwrap()
    });
    futures::executor::block_on(timer.cancel()).unwrap();
    runtime.block_on(counts.reaches(0, 1));
    let left = runtime.block_on(async {
        spawn_on(CoreId::new(0), || async { once(Instant::now() + HOUR, || {}).await }).await.unwrap()
    });
    drop(runtime);
    assert_eq!(futures::executor::block_on(left.unwrap().cancel()), Err(CancelError::Closed));
    assert_eq!((counts.get(0), counts.get(1)), (1, 0));
}

#[test]
#[should_panic(expected = "must be armed on a core")]
fn a_thread_that_is_no_core_cannot_arm() {
    let _: Result<machine::Timer, Closed> = futures::executor::block_on(once(Instant::now(), || {}));
}

#[test]
fn what_a_timer_holds_is_dropped_where_it_may_do_anything() {
    /// Uses the agreement when it is dropped, and panics.
    struct Awkward(Counts);
    impl Drop for Awkward {
        fn drop(&mut self) {
            let version = multikernel::spawn_local(async {});
            drop(version);
            self.0.add(0);
            std::panic::resume_unwind(Box::new("as told"));
        }
    }
    let counts = Counts::new(1);
    let dropped = counts.clone();
    on_cores(2, move || async move {
        for round in 0..3 {
            let awkward = [(); 3].map(|()| Awkward(dropped.clone()));
            let [first, second, third] = awkward;
            let hour = Instant::now() + HOUR;
            let timer = once(hour, move || drop(first)).await.unwrap();
            timer.cancel().await.unwrap();
            once(Instant::now(), move || _ = &second).await.unwrap();
            on_each(Instant::now(), move || _ = &third).await.unwrap();
            while dropped.get(0) < 3 * (round + 1) {
                all_are_past(Instant::now()).await;
            }
        }
        // And one that is still armed when the Machine ends.
        let last = Awkward(dropped.clone());
        on_each(Instant::now() + HOUR, move || _ = &last).await.unwrap();
    });
    assert_eq!(counts.get(0), 10);
}
