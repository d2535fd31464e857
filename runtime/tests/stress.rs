//! Tasks under stress: spawned, woken, aborted, joined, detached and panicking on eight cores and from foreign threads,
//! while their runtime ends under them. Every future, every output and every panic payload must be dropped once, and
//! every handle must have its answer once the runtime has ended.
//!
//! `MULTIKERNEL_SEED` replays one round (the dice are the same, the timing is not), `MULTIKERNEL_STRESS_SECONDS` sets
//! how long to go on, `MULTIKERNEL_DRIVER` picks the driver.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use multikernel::runtime::{Builder, Handle, Pinning};
use multikernel::task::{AbortHandle, JoinHandle};
use multikernel::{CoreId, spawn, spawn_balanced, spawn_local, spawn_on};

const CORES: usize = 8;
const TASKS: usize = 2_000;
const FOREIGN_THREADS: usize = 3;
/// A round that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// A small generator (Steele, Lea, Flood 2014: SplitMix).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.throw() % limit as u64) as usize
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    fn split(&mut self) -> Dice {
        Dice(self.throw())
    }
}

/// What has been made and dropped of one kind of thing.
#[derive(Default)]
struct Ledger {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

/// One such thing.
struct Token {
    shared: Arc<Shared>,
    kind: Kind,
    panics: bool,
    gone: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Future,
    Output,
    Payload,
}

impl Drop for Token {
    fn drop(&mut self) {
        if std::mem::replace(&mut self.gone, true) {
            eprintln!("dropped twice");
            std::process::abort();
        }
        self.shared.ledgers[self.kind as usize].dropped.fetch_add(1, Relaxed);
        if self.panics && !std::thread::panicking() {
            panic_any("on purpose, in a drop");
        }
    }
}

/// Things that several threads have a hand in, taken out before they are used so that no code of tasks runs under the
/// lock.
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Puts `thing` in, and now and then hands another out.
    fn swap(&self, thing: T, dice: &mut Dice) -> Option<T> {
        let mut things = self.0.lock().unwrap();
        things.push(thing);
        let last = things.len() - 1;
        things.swap(last, dice.below(last + 1));
        (last > 100).then(|| things.pop()).flatten()
    }

    fn take(&self, dice: &mut Dice) -> Option<T> {
        let mut things = self.0.lock().unwrap();
        let count = things.len();
        (count > 0).then(|| things.swap_remove(dice.below(count)))
    }

    fn take_all(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Shared {
    ledgers: [Ledger; 3],
    wakers: Pool<Waker>,
    handles: Pool<JoinHandle<Token>>,
    aborts: Pool<AbortHandle>,
    /// Tasks that may still be made.
    left: AtomicUsize,
    stop: AtomicBool,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ledgers: Default::default(),
            wakers: Pool::new(),
            handles: Pool::new(),
            aborts: Pool::new(),
            left: AtomicUsize::new(TASKS),
            stop: AtomicBool::new(false),
        })
    }

    fn token(self: &Arc<Self>, kind: Kind, panics: bool) -> Token {
        self.ledgers[kind as usize].made.fetch_add(1, Relaxed);
        Token { shared: self.clone(), kind, panics, gone: false }
    }

    fn may_spawn(&self) -> bool {
        self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn exhausted(&self) -> bool {
        self.left.load(Relaxed) == 0
    }

    /// What a task and a foreign thread may do alike.
    fn meddle(&self, dice: &mut Dice) {
        match dice.below(8) {
            0 => drop(self.wakers.take(dice)),
            1 | 2 => {
                if let Some(waker) = self.wakers.take(dice) {
                    waker.wake();
                }
            }
            3 => {
                if let Some(waker) = self.wakers.take(dice) {
                    waker.wake_by_ref();
                    let copy = waker.clone();
                    drop(self.wakers.swap(waker, dice));
                    copy.wake();
                }
            }
            4 => drop(self.handles.take(dice)),
            5 => {
                if let Some(handle) = self.handles.take(dice) {
                    handle.abort();
                    let _ = handle.is_finished();
                    drop(self.handles.swap(handle, dice));
                }
            }
            6 => {
                if let Some(abort) = self.aborts.take(dice) {
                    abort.clone().abort();
                    drop(self.aborts.swap(abort, dice));
                }
            }
            _ => {
                // Joined with the waker of some other task, which may be gone.
                let waker = self.wakers.take(dice);
                if let (Some(mut handle), Some(waker)) = (self.handles.take(dice), waker)
                    && Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending()
                {
                    drop(self.handles.swap(handle, dice));
                }
            }
        }
    }

    fn keep(&self, handle: JoinHandle<Token>, dice: &mut Dice) {
        if dice.one_in(2) {
            drop(self.aborts.swap(handle.abort_handle(), dice));
        }
        if dice.one_in(3) {
            handle.abort();
        }
        if !dice.one_in(4) {
            drop(self.handles.swap(handle, dice));
        }
    }
}

/// A future that throws dice at each poll.
struct Worker {
    shared: Arc<Shared>,
    dice: Dice,
    steps: usize,
    joins: Vec<JoinHandle<Token>>,
    /// Dropped last.
    token: Token,
}

impl Worker {
    fn new(shared: &Arc<Shared>, mut dice: Dice) -> Self {
        let panics = dice.one_in(10);
        Self {
            shared: shared.clone(),
            steps: dice.below(12),
            dice,
            joins: Vec::new(),
            token: shared.token(Kind::Future, panics),
        }
    }

    fn spawn(&mut self) {
        if !self.shared.may_spawn() {
            return;
        }
        let (shared, dice) = (self.shared.clone(), self.dice.split());
        let handle = match self.dice.below(6) {
            0 => spawn(Worker::new(&shared, dice)),
            1 => spawn_balanced(Worker::new(&shared, dice)),
            2 | 3 => {
                let core = CoreId::new(self.dice.below(CORES));
                spawn_on(core, move || Worker::new(&shared, dice))
            }
            4 => spawn_local(Worker::new(&shared, dice)),
            _ => {
                let mut worker = Worker::new(&shared, dice);
                // An `async` block whose inner future panics in its drop loses that future's output: rust-lang/rust#47949.
                worker.token.panics = false;
                spawn_local(async move {
                    let not_send = spawn_local(async move { Rc::new(worker.await) });
                    match not_send.await {
                        Ok(token) => Rc::into_inner(token).expect("nobody else has it"),
                        Err(error) => {
                            drop(error); // which may panic, and must not do so after the token is made: as above
                            shared.token(Kind::Output, false)
                        }
                    }
                })
            }
        };
        if self.dice.one_in(3) {
            self.joins.push(handle);
        } else {
            self.shared.keep(handle, &mut self.dice);
        }
    }

    fn join(&mut self, cx: &mut Context<'_>) {
        self.joins.retain_mut(|handle| Pin::new(handle).poll(cx).is_pending());
    }

    fn panic(&mut self) -> ! {
        let panics = self.dice.one_in(3);
        panic_any(self.shared.token(Kind::Payload, panics))
    }
}

impl Future for Worker {
    type Output = Token;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Token> {
        let this = &mut *self;
        for _ in 0..1 + this.dice.below(3) {
            match this.dice.below(10) {
                0..3 => this.spawn(),
                3 => this.join(cx),
                4 if this.dice.one_in(4) => this.panic(),
                5 => drop(this.shared.wakers.swap(cx.waker().clone(), &mut this.dice)),
                _ => this.shared.meddle(&mut this.dice),
            }
        }
        if this.steps == 0 {
            let panics = this.dice.one_in(6);
            return Poll::Ready(this.shared.token(Kind::Output, panics));
        }
        this.steps -= 1;
        if this.dice.one_in(5) {
            drop(this.shared.wakers.swap(cx.waker().clone(), &mut this.dice));
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Runs `f` and swallows its panic, and its panic's.
fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f))
        && let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        drop(again); // of `Token`'s drop, which is a plain text
    }
}

fn foreign(shared: &Arc<Shared>, handle: &Handle, mut dice: Dice) {
    let _guest = handle.enter();
    while !shared.stop.load(Relaxed) {
        quietly(|| shared.meddle(&mut dice));
        if dice.one_in(8) && shared.may_spawn() {
            let worker = Worker::new(shared, dice.split());
            quietly(|| {
                let task = if dice.one_in(2) {
                    handle.spawn(worker)
                } else {
                    let core = CoreId::new(dice.below(CORES));
                    spawn_on(core, move || worker)
                };
                shared.keep(task, &mut dice);
            });
        }
        if dice.one_in(50) {
            std::thread::yield_now();
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new_test();
    builder.cores(CORES).pinning(Pinning::Never);
    builder
}

/// Spawns a few tasks on each core, from a thread that is core 0 or a guest.
fn seed_tasks(shared: &Arc<Shared>, dice: &mut Dice) {
    for n in 0..4 * CORES {
        let (shared, dice) = (shared.clone(), dice.split());
        drop(spawn_on(CoreId::new(n % CORES), move || Worker::new(&shared, dice)));
    }
}

/// The runtime owns all its threads, and ends while foreign threads are at it.
fn round_built(shared: &Arc<Shared>, dice: &mut Dice) {
    let runtime = builder().build().unwrap();
    let handle = runtime.handle().clone();
    let early = dice.one_in(2);
    std::thread::scope(|scope| {
        for _ in 0..FOREIGN_THREADS {
            let (handle, dice) = (handle.clone(), dice.split());
            scope.spawn(move || foreign(shared, &handle, dice));
        }
        runtime.block_on(async { seed_tasks(shared, dice) });
        let until = TASKS / if early { 2 } else { TASKS };
        wait(|| shared.left.load(Relaxed) < until);
        drop(runtime);
        shared.stop.store(true, Relaxed);
    });
}

/// The calling thread is core 0, and has handles of things that are not `Send` when it no longer is.
fn round_run(shared: &Arc<Shared>, dice: &mut Dice) {
    let (send, receive) = mpsc::channel::<Handle>();
    let foreign_dice = dice.split();
    std::thread::scope(|scope| {
        scope.spawn(move || foreign(shared, &receive.recv().unwrap(), foreign_dice));
        let main = {
            let (shared, mut dice) = (shared.clone(), dice.split());
            async move {
                send.send(Handle::current()).unwrap();
                seed_tasks(&shared, &mut dice);
                let since = Instant::now();
                while !shared.exhausted() && since.elapsed() < Duration::from_secs(20) {
                    multikernel::task::yield_now().await;
                }
                let token = shared.token(Kind::Output, false);
                let kept = Rc::new(Cell::new(Some(token)));
                let done = spawn_local({
                    let kept = kept.clone();
                    async move { kept }
                });
                if dice.one_in(2) {
                    multikernel::task::yield_now().await;
                }
                (kept, done)
            }
        };
        let (kept, done) = builder().run(move || main).unwrap();
        if dice.one_in(2) {
            assert!(answer(done), "a core that has ended answers");
        } else {
            drop(done);
        }
        drop(kept.take());
        shared.stop.store(true, Relaxed);
    });
}

/// Whether the handle is ready; its answer is dropped.
fn answer<T>(handle: JoinHandle<T>) -> bool {
    let mut ready = false;
    quietly(|| {
        let mut handle = pin!(handle);
        let polled = handle.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        ready = polled.is_ready();
    });
    ready
}

fn wait(done: impl Fn() -> bool) {
    let since = Instant::now();
    while !done() && since.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
}

fn round(seed: u64) {
    let mut dice = Dice(seed);
    let shared = Shared::new();
    if seed.is_multiple_of(2) {
        round_built(&shared, &mut dice)
    } else {
        round_run(&shared, &mut dice)
    }
    let wakers = shared.wakers.take_all();
    for waker in &wakers {
        quietly(|| waker.wake_by_ref());
        let copy = waker.clone();
        quietly(|| copy.wake());
    }
    let elsewhere = std::thread::spawn(move || wakers.into_iter().for_each(|waker| quietly(|| waker.wake())));
    for handle in shared.handles.take_all() {
        assert!(handle.is_finished());
        assert!(answer(handle), "a runtime that has ended answers every handle");
    }
    shared.aborts.take_all().into_iter().for_each(|abort| abort.abort());
    elsewhere.join().unwrap();
    for (ledger, kind) in shared.ledgers.iter().zip(["futures", "outputs", "payloads"]) {
        let (made, dropped) = (ledger.made.load(Relaxed), ledger.dropped.load(Relaxed));
        assert_eq!(made, dropped, "{kind} made and dropped");
        assert!(made > 0, "no {kind} at all");
    }
    assert_eq!(Arc::strong_count(&shared), 1);
}

/// Fails the process if `f` takes too long: a lost wake would make the test hang.
fn in_time(seed: u64, f: impl FnOnce()) {
    let (done, wait) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("no end in sight: MULTIKERNEL_SEED={seed}");
            std::process::abort();
        }
    });
    f();
    drop(done);
    watch.join().unwrap();
}

#[test]
fn everything_is_dropped_once() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let on_purpose =
            info.payload().is::<Token>() || info.payload_as_str() == Some("on purpose, in a drop");
        if !on_purpose {
            before(info);
        }
    }));
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seconds = number("MULTIKERNEL_STRESS_SECONDS").unwrap_or(3);
    let first = number("MULTIKERNEL_SEED");
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut seed = first.unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let mut rounds = 0;
    loop {
        in_time(seed, || {
            if let Err(payload) = catch_unwind(|| round(seed)) {
                eprintln!("failed: MULTIKERNEL_SEED={seed}");
                std::panic::resume_unwind(payload);
            }
        });
        rounds += 1;
        // A seed that was given is thrown again, because the timing differs; others only once.
        seed = if first.is_some() { seed } else { seed + 1 };
        if Instant::now() > until && rounds >= 4 {
            break;
        }
    }
    println!("{rounds} rounds, the last with seed {seed}");
}
