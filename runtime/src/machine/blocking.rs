//! Threads for calls that block, such as looking up a name.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use futures::channel::oneshot;

use crate::limits::BLOCKING_IDLE;
use crate::machine::cpus;
use crate::task::quietly;

type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool: a thread is started when none is idle, and ends after some idle time. When all are busy, calls
/// wait in a queue; none is refused.
#[derive(Clone)]
pub(crate) struct Blocking(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// An owed job is done.
    settled: Condvar,
    limit: usize,
    name: String,
    /// Where the threads may run, if whoever starts one may be pinned: a thread inherits that.
    cpus: Option<Vec<usize>>,
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
}

impl Blocking {
    pub(crate) fn new(limit: usize, name: &str, cpus: Option<Vec<usize>>) -> Self {
        let name = format!("{name}-blocking");
        Self(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            limit: limit.max(1),
            name,
            cpus,
        }))
    }

    /// Runs `f` on a thread of the pool; a panic of `f` comes out of the future.
    ///
    /// Dropping the future lets a call that has begun run on, and its result go.
    pub(crate) async fn run<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = oneshot::channel();
        self.submit(Box::new(move || {
            if !send.is_canceled() {
                let _ = send.send(catch_unwind(AssertUnwindSafe(f)));
            }
        }));
        match receive.await {
            Ok(Ok(value)) => value,
            Ok(Err(payload)) => resume_unwind(payload),
            Err(oneshot::Canceled) => std::future::pending().await, // the runtime is ending, and this task with it
        }
    }

    /// Runs `job` on a thread of the pool, unless the runtime ends before: then it is dropped.
    pub(crate) fn start(&self, job: impl FnOnce() + Send + 'static) {
        self.submit(Box::new(job));
    }

    /// Runs `job` on a thread of the pool, or while the runtime ends: see [`settle`](Self::settle).
    pub(crate) fn owe(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.owed.push_back(Box::new(job));
        state.owing += 1;
        self.find_thread(state);
    }

    fn submit(&self, job: Job) {
        let mut state = self.0.lock();
        if state.closed {
            return;
        }
        state.jobs.push_back(job);
        self.find_thread(state);
    }

    fn find_thread(&self, mut state: MutexGuard<'_, State>) {
        if state.idle >= state.jobs.len() + state.owed.len() {
            self.0.work.notify_one();
        } else if state.threads < self.0.limit {
            let shared = self.0.clone();
            let spawned = thread::Builder::new().name(self.0.name.clone()).spawn(move || shared.work());
            match spawned {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads > 0 => {
                    tracing::warn!(%error, "no more threads for blocking calls")
                }
                Err(error) => panic!("no thread for a blocking call: {error}"),
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

    /// Drops what has not begun. Calls under way run on by themselves.
    pub(crate) fn close(&self) {
        let jobs = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.jobs)
        };
        self.0.work.notify_all();
        quietly(|| drop(jobs));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an owed job.
    fn pay(&self, job: Job) -> MutexGuard<'_, State> {
        quietly(job);
        let mut state = self.lock();
        state.owing -= 1;
        self.settled.notify_all();
        state
    }

    fn work(&self) {
        if let Some(cpus) = &self.cpus
            && let Err(error) = cpus::set_affinity(cpus)
        {
            tracing::warn!(%error, "a thread for blocking calls stays on the CPU of the core that started it");
        }
        let mut state = self.lock();
        loop {
            if let Some(job) = state.owed.pop_front() {
                drop(state);
                state = self.pay(job);
                continue;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                quietly(job);
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (next, wait) =
                self.work.wait_timeout(state, BLOCKING_IDLE).unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if wait.timed_out() && state.jobs.is_empty() && state.owed.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}
