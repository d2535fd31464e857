//! Threads for calls that block, such as looking up a name.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use multikernel_channels::sync::Ordering;

use crate::context;
use crate::limits::BLOCKING_RETRY;
use crate::machine::builder::Hooks;
use crate::machine::runtime::Handle;
use crate::machine::{Machine, cpus};
use crate::task::id::{self, Id};
use crate::task::{Revoke, quietly};
use crate::time::clock::{Clock, Hold};

/// A bounded pool: a thread is started when none is idle, and ends after some idle time. When all are busy, or when
/// the system gives no thread, calls wait in a queue; none is refused.
#[derive(Clone)]
pub(crate) struct Blocking(Arc<Shared>);

/// What the builder was told about the pool.
pub(crate) struct Settings {
    pub(crate) limit: usize,
    /// How long a thread waits for work before it ends.
    pub(crate) keep_alive: Duration,
    pub(crate) name: String,
    /// Where the threads may run, if whoever starts one may be pinned: a thread inherits that.
    pub(crate) cpus: Option<Vec<usize>>,
    pub(crate) hooks: Hooks,
    /// It does not jump while there is a call under way.
    pub(crate) clock: Arc<Clock>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// An owed job is done.
    settled: Condvar,
    settings: Settings,
    /// Where the task runs that tries again when the system has given no thread.
    machine: OnceLock<Weak<Machine>>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Jobs that are done even if the runtime ends first.
    owed: VecDeque<Job>,
    /// Of those, the ones that are not done yet.
    owing: usize,
    threads: usize,
    idle: usize,
    closed: bool,
    /// There are jobs and no thread, and a task tries again now and then.
    starved: bool,
}

impl State {
    fn has_jobs(&self) -> bool {
        !self.jobs.is_empty() || !self.owed.is_empty()
    }
}

/// A call that waits for a thread.
pub(crate) struct Job {
    call: Box<dyn FnOnce() + Send>,
    /// The task whose call it is.
    id: Option<Id>,
    /// Until the result is sent.
    hold: Option<Hold>,
}

impl Job {
    pub(crate) fn named(self, id: Id) -> Self {
        Self { id: Some(id), ..self }
    }
}

/// How far a call has come. Whoever moves it on first has decided.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const REVOKED: u8 = 2;

/// The result of a call; a panic of the call comes out of the future. Dropping it takes back a call that has not begun,
/// and lets one that has run on, and its result go.
pub(crate) struct Call<T> {
    stage: Arc<AtomicU8>,
    outcome: oneshot::Receiver<thread::Result<T>>,
}

fn advance(stage: &AtomicU8, to: u8) -> bool {
    // Relaxed: only who comes first matters; the call itself travels through the queue and the oneshot.
    stage.compare_exchange(WAITING, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

impl<T> Future for Call<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match std::task::ready!(Pin::new(&mut self.outcome).poll(cx)) {
            Ok(Ok(value)) => Poll::Ready(value),
            Ok(Err(payload)) => resume_unwind(payload),
            Err(oneshot::Canceled) => Poll::Pending, // the runtime is ending, and this task with it
        }
    }
}

impl<T> Revoke for Call<T> {
    fn revoke(&self) -> bool {
        advance(&self.stage, REVOKED)
    }
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.revoke();
    }
}

/// A call of `f`, to be [submitted](Blocking::submit), and what becomes of it.
pub(crate) fn prepare<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Call<T>, Job) {
    let (send, outcome) = oneshot::channel();
    let stage = Arc::new(AtomicU8::new(WAITING));
    let at = stage.clone();
    let call = Box::new(move || {
        if advance(&at, BEGUN) {
            let _ = send.send(catch_unwind(AssertUnwindSafe(f))); // or nobody waits for it any more
        }
    });
    (Call { stage, outcome }, Job { call, id: None, hold: None })
}

impl Blocking {
    pub(crate) fn new(settings: Settings) -> Self {
        let (state, work, settled, machine) = Default::default();
        Self(Arc::new(Shared { state, work, settled, settings, machine }))
    }

    /// The pool is this Machine's.
    pub(crate) fn belong_to(&self, machine: Weak<Machine>) {
        let _ = self.0.machine.set(machine); // once
    }

    /// Runs `f` on a thread of the pool; a panic of `f` comes out of the future.
    ///
    /// Dropping the future lets a call that has begun run on, and its result go.
    pub(crate) async fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (call, job) = prepare(f);
        self.submit(job);
        call.await
    }

    /// As [`run`](Self::run), but begins at once, and runs `f` also if nobody waits for it any more, unless the runtime ends before.
    pub(crate) fn start<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Call<T> {
        let (send, outcome) = oneshot::channel();
        let call = Box::new(move || {
            let _ = send.send(catch_unwind(AssertUnwindSafe(f))); // or nobody waits for it any more
        });
        self.submit(Job { call, id: None, hold: None });
        Call { stage: Arc::new(AtomicU8::new(BEGUN)), outcome }
    }

    /// Runs `job` on a thread of the pool, or while the runtime ends: see [`settle`](Self::settle).
    pub(crate) fn owe(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.owed.push_back(Job { call: Box::new(job), id: None, hold: None });
        state.owing += 1;
        self.find_thread(state);
    }

    pub(crate) fn submit(&self, mut job: Job) {
        job.hold = Some(self.0.settings.clock.hold());
        let mut state = self.0.lock();
        if state.closed {
            drop(state);
            return quietly(|| drop(job));
        }
        state.jobs.push_back(job);
        self.find_thread(state);
    }

    fn find_thread<'a>(&'a self, mut state: MutexGuard<'a, State>) {
        if state.idle >= state.jobs.len() + state.owed.len() {
            self.0.work.notify_one();
        } else if !state.starved {
            state = self.grow(state);
            // Another may have found the same meanwhile, when there was room for two.
            if state.threads == 0 && !std::mem::replace(&mut state.starved, true) {
                drop(state);
                self.keep_trying();
            }
        }
    }

    /// Waits until nothing is owed any more, but not past `deadline`. Without one, the calling thread helps.
    pub(crate) fn settle(&self, deadline: Option<Instant>) {
        let mut state = self.0.lock();
        while state.owing > 0 {
            match deadline {
                None => match state.owed.pop_front() {
                    Some(job) => {
                        drop(state);
                        state = self.0.pay(job);
                    }
                    None => {
                        state = self.0.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                },
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        tracing::warn!(
                            "output has not been written in the time that the end of the runtime had"
                        );
                        return;
                    }
                    let waited = self.0.settled.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Starts a thread if there may be one more. It counts before it is there: it starts outside the lock, as the user may have a
    /// function that names it.
    fn grow<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.threads >= self.0.settings.limit {
            return state;
        }
        state.threads += 1;
        drop(state);
        let (shared, settings) = (self.0.clone(), &self.0.settings);
        let name = settings.hooks.thread_name(settings.name.clone());
        let started = thread::Builder::new().name(name).spawn(move || shared.work());
        let mut state = self.0.lock();
        if let Err(error) = started {
            state.threads -= 1;
            let threads = state.threads;
            tracing::warn!(%error, threads, "no more threads for blocking calls, which wait");
        }
        state
    }

    /// Nothing else would start a thread when the system has one again.
    fn keep_trying(&self) {
        let Some(machine) = self.0.machine.get().and_then(Weak::upgrade) else { return };
        let pool = self.clone();
        let trying = async move {
            loop {
                crate::time::sleep(BLOCKING_RETRY).await;
                let mut state = pool.0.lock();
                let is_needed = !state.closed && state.has_jobs();
                if is_needed {
                    state = pool.grow(state);
                }
                state.starved = is_needed && state.threads == 0;
                if !state.starved {
                    return;
                }
            }
        };
        drop(Handle { machine }.spawn(trying));
    }

    /// Threads, those of them that are idle, and calls that wait for one.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.0.lock();
        (state.threads, state.idle, state.jobs.len() + state.owed.len())
    }

    /// Drops what has not begun. Calls under way run on by themselves.
    pub(crate) fn close(&self) {
        let jobs = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.0.work.notify_all();
        jobs.into_iter().for_each(|job| quietly(|| drop(job)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an owed job.
    fn pay(&self, job: Job) -> MutexGuard<'_, State> {
        quietly(job.call);
        let mut state = self.lock();
        state.owing -= 1;
        self.settled.notify_all();
        state
    }

    /// A thread of the pool, from its first line to its last.
    fn work(&self) {
        if let Some(cpus) = &self.settings.cpus
            && let Err(error) = cpus::set_affinity(cpus)
        {
            tracing::warn!(%error, "a thread for blocking calls stays on the CPU of the core that started it");
        }
        self.settings.hooks.started();
        self.work_off();
        self.settings.hooks.stopping();
    }

    /// Makes a call, as a guest of the Machine if that is still there.
    fn make(&self, job: Job) {
        let machine = self.machine.get().and_then(Weak::upgrade);
        let guest = machine.as_ref().map(context::enter_as_guest);
        quietly(|| id::in_call(job.id, job.call));
        drop(guest);
    }

    fn work_off(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.owed.pop_front() {
                drop(state);
                state = self.pay(job);
                continue;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                self.make(job);
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, self.settings.keep_alive);
            let (next, wait) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if wait.timed_out() && !state.has_jobs() {
                break;
            }
        }
        state.threads -= 1;
    }
}
