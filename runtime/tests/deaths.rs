//! What becomes of what a core was about, when it dies alone.
#![cfg(not(loom))]

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use futures::executor::block_on;
use multikernel::replicate::{
    Closed, Committed, CoreId, ProposeError, Replicated, ReplicatedCounter, StateMachine,
};
use multikernel::runtime::{Builder, Placement, Runtime};
use multikernel::task::{block_in_place, yield_now};
use multikernel::time::machine::{CancelError, every, on_each, once};
use multikernel::time::{Duration, Instant};
use multikernel::{spawn, spawn_on};
use support::poll_once;

mod support;

const HOUR: Duration = Duration::from_secs(3_600);

/// What was committed, in order.
#[derive(Default)]
struct Lines(Vec<u32>);

impl StateMachine for Lines {
    type Command = u32;
    type Refusal = ();
    type Snapshot = ();
    const VETO: bool = true;

    fn prepare(&mut self, _: &u32) -> Result<(), ()> {
        Ok(())
    }
    fn commit(&mut self, line: &u32) {
        self.0.push(*line);
    }
    fn abort(&mut self, _: &u32) {}
    fn snapshot(&self) {}
    fn restore((): &()) -> Result<Self, ()> {
        Err(())
    }
}

fn on<T: Send + 'static, F: Future<Output = T> + 'static>(
    runtime: &Runtime,
    core: CoreId,
    make: impl FnOnce() -> F + Send + 'static,
) -> T {
    runtime.block_on(async { spawn_on(core, make).await.unwrap() })
}

/// That core dies, and has when this returns.
fn kill(runtime: &Runtime, core: CoreId) {
    runtime.handle().kill(core);
    while runtime.block_on(async { spawn_on(core, || async {}).await.is_ok() }) {}
}

/// Keeps a core from all it has to do, until this is dropped. No round ends meanwhile, and nobody is sent there.
struct Stuck(#[expect(dead_code, reason = "for the drop")] mpsc::Sender<()>);

impl Stuck {
    fn on(runtime: &Runtime, core: CoreId) -> Self {
        let ((says, begun), (release, waits)) = (mpsc::channel(), mpsc::channel::<()>());
        let _guest = runtime.enter();
        drop(spawn_on(core, move || async move {
            block_in_place(|| {
                says.send(()).unwrap();
                waits.recv().unwrap_err()
            })
        }));
        begun.recv().unwrap();
        Self(release)
    }
}

/// Polls once, on this thread.
fn begin<F: Future>(future: std::pin::Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

fn is_unknown(answer: Result<Committed, ProposeError<Lines>>, line: u32) -> bool {
    matches!(answer, Err(ProposeError::Unknown { command }) if *command == line)
}

/// This thread is no core. The one that it asks dies before it knows what comes of that: the home, or another.
#[test]
fn who_asked_a_core_that_dies_is_told_that_nobody_knows() {
    for (dies, cancels_first) in [(0, true), (0, false), (1, true), (1, false)] {
        let (dies, stays) = (CoreId::new(dies), CoreId::new(1 - dies));
        let runtime = Builder::new_test().cores(2).build().unwrap();
        let (lines, timer, closes) = on(&runtime, stays, || async {
            let lines = Replicated::new(Lines::default).await.unwrap();
            let timer = once(Instant::now() + HOUR, || {}).await.unwrap();
            (lines, timer, Replicated::new(Lines::default).await.unwrap())
        });
        let stuck = Stuck::on(&runtime, stays);
        let (mut one, mut cancel) = (pin!(lines.propose(1)), pin!(timer.cancel()));
        if cancels_first {
            begin(cancel.as_mut());
        }
        begin(one.as_mut());
        let mut many = pin!(lines.propose_all([2, 3]));
        begin(many.as_mut());
        begin(cancel.as_mut());
        let closed = closes.clone();
        let mut close = pin!(closes.close());
        begin(close.as_mut());

        kill(&runtime, dies);
        assert!(is_unknown(block_on(one), 1));
        assert!(block_on(many).into_iter().zip(2..).all(|(answer, line)| is_unknown(answer, line)));
        drop(stuck);
        // The first is the round in which all have voted that live. The rest has died with who took it.
        let found = on(&runtime, stays, {
            let lines = lines.clone();
            move || async move { lines.read_settled(|lines| lines.0.clone()).await }
        });
        let cancelled = block_on(cancel);
        if cancels_first {
            assert_eq!((cancelled, &found[..]), (Err(CancelError::Unknown), &[][..]));
        } else {
            assert_eq!((cancelled, &found[..]), (Ok(()), &[1][..]));
        }
        // These can be asked for again without harm, and are.
        assert_eq!(block_on(close), Ok(()));
        assert_eq!(on(&runtime, stays, move || async move { closed.try_read(|_| ()) }), Err(Closed));
        block_on(lines.propose(4)).unwrap();
    }
}

/// A task that waits for its timer to be armed goes to another core, and the first one dies.
#[test]
fn a_timer_is_armed_once_though_the_core_dies_that_was_asked() {
    let [dies, next, blocked] = [0, 1, 2].map(CoreId::new);
    let runtime = Builder::new_test().cores(3).placement(Placement::Local).build().unwrap();
    on(&runtime, dies, || async { once(Instant::now() + HOUR, || {}).await.unwrap() });
    let stuck = Stuck::on(&runtime, blocked);
    let runs = Arc::new(AtomicU64::new(0));
    let (counted, (gives, given)) = (runs.clone(), mpsc::channel());
    on(&runtime, dies, move || async move {
        let (says, moved) = mpsc::channel();
        let armed = spawn(async move {
            let mut armed = pin!(once(Instant::now(), move || _ = counted.fetch_add(1, Ordering::SeqCst)));
            assert!(matches!(poll_once(&mut armed).await, Poll::Pending));
            while CoreId::current() == dies {
                yield_now().await;
            }
            says.send(CoreId::current()).unwrap();
            armed.await
        });
        yield_now().await; // it has asked
        assert_eq!(block_in_place(|| moved.recv().unwrap()), next);
        gives.send(armed).unwrap();
    });
    kill(&runtime, dies);
    drop(stuck);
    let timer = runtime.block_on(given.recv().unwrap()).unwrap().unwrap();
    while runs.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(runtime.block_on(timer.cancel()), Err(CancelError::HasStarted));
    // Whatever else would have started has by now, for this is armed after it.
    for core in [next, blocked] {
        let (ran, runs) = mpsc::channel();
        let send = move || ran.send(()).unwrap();
        on(&runtime, core, || async { once(Instant::now(), send).await.unwrap() });
        runs.recv().unwrap();
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[derive(Default)]
struct Runs([AtomicU64; 4]);

impl Runs {
    fn add_here(&self) {
        self.0[CoreId::current().index()].fetch_add(1, Ordering::SeqCst);
    }

    fn on(&self, core: usize) -> u64 {
        self.0[core].load(Ordering::SeqCst)
    }

    fn reach(&self, core: usize, runs: u64) {
        while self.on(core) < runs {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_timer_that_repeats_goes_on_when_its_core_dies_and_runs_each_tick_once() {
    const PERIOD: Duration = Duration::from_millis(1);
    let runtime = Builder::new_test().cores(4).build().unwrap();
    let (runs, begun) = (Arc::new(Runs::default()), Instant::now());
    let counted = runs.clone();
    let beat = on(&runtime, CoreId::new(0), move || async move {
        every(PERIOD, move || counted.add_here()).await.unwrap()
    });
    // The home each time.
    for core in 0..3 {
        runs.reach(core, 3);
        kill(&runtime, CoreId::new(core));
    }
    runs.reach(3, 3);
    block_on(beat.cancel()).unwrap();
    let all: u64 = (0..4).map(|core| runs.on(core)).sum();
    assert!(u128::from(all) <= begun.elapsed().as_nanos() / PERIOD.as_nanos(), "{all} ticks");
}

/// Sets it when it is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_timer_for_each_core_runs_on_those_that_live_and_waits_for_no_dead_one() {
    let runtime = Builder::new_test().cores(4).build().unwrap();
    let mut living = vec![0, 1, 2, 3];
    // Before it is due, about when it is, and after.
    for (dies, due) in [(2, 20), (0, 1), (1, 0)] {
        let (runs, is_dropped) = (Arc::new(Runs::default()), Arc::new(AtomicBool::new(false)));
        let (counted, held) = (runs.clone(), SetOnDrop(is_dropped.clone()));
        let deadline = Instant::now() + Duration::from_millis(due);
        on(&runtime, CoreId::new(dies), move || async move {
            let run = move || {
                let _held = &held;
                counted.add_here();
            };
            on_each(deadline, run).await.unwrap();
        });
        kill(&runtime, CoreId::new(dies));
        living.retain(|core| *core != dies);
        living.iter().for_each(|core| runs.reach(*core, 1));
        while !is_dropped.load(Ordering::SeqCst) {
            // One that sleeps hears that all have started it when it wakes.
            living.iter().for_each(|core| on(&runtime, CoreId::new(*core), || async {}));
        }
        assert!((0..4).all(|core| runs.on(core) <= 1));
    }
}

#[test]
fn what_a_dead_core_held_of_a_counter_is_released() {
    let runtime = Builder::new_test().cores(3).build().unwrap();
    let [here, dies, other] = [0, 1, 2].map(CoreId::new);
    let places = on(&runtime, here, || async { ReplicatedCounter::with_bound(5).await.unwrap() });
    for (core, amount) in [(dies, 3), (other, 2)] {
        let places = places.clone();
        on(&runtime, core, move || async move { places.add(amount).await.unwrap() });
    }
    kill(&runtime, dies);
    on(&runtime, here, move || async move {
        loop {
            let changed = places.changed();
            if places.value() == 2 {
                break;
            }
            changed.await.unwrap();
        }
        places.add(3).await.unwrap();
        assert!(places.add(1).await.is_err(), "what the other core holds is held");
        assert_eq!((places.value(), places.held_here()), (5, 3));
    });
}
