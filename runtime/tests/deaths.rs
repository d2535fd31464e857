//! What becomes of what a core was about, when it dies alone.
#![cfg(not(loom))]

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use futures::executor::block_on;
use multikernel::replicate::{Closed, Committed, CoreId, ProposeError, Replicated, StateMachine};
use multikernel::runtime::{Builder, Placement, Runtime};
use multikernel::task::{block_in_place, yield_now};
use multikernel::time::machine::{CancelError, once};
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
    let counted = runs.clone();
    let armed = on(&runtime, dies, move || async move {
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
        armed
    });
    kill(&runtime, dies);
    drop(stuck);
    let timer = runtime.block_on(armed).unwrap().unwrap();
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
