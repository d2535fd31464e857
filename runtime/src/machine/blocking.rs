//! Threads for calls that block, such as looking up a name.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;

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
    limit: usize,
    name: String,
    /// Where the threads may run, if whoever starts one may be pinned: a thread inherits that.
    cpus: Option<Vec<usize>>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
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
        Call(receive).await
    }

    /// As [`run`](Self::run), but begins at once, and runs `f` also if nobody waits for it any more.
    pub(crate) fn start<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Call<T> {
        let (send, receive) = oneshot::channel();
        self.submit(Box::new(move || {
            let _ = send.send(catch_unwind(AssertUnwindSafe(f)));
        }));
        Call(receive)
    }

    fn submit(&self, job: Job) {
        let mut state = self.0.lock();
        if state.closed {
            return;
        }
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
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

/// A call on a thread of the pool.
pub(crate) struct Call<T>(oneshot::Receiver<thread::Result<T>>);

impl<T> Future for Call<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(Ok(value)) => Poll::Ready(value),
            Ok(Err(payload)) => resume_unwind(payload),
            // The runtime is ending, and this task with it.
            Err(oneshot::Canceled) => Poll::Pending,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        if let Some(cpus) = &self.cpus
            && let Err(error) = cpus::set_affinity(cpus)
        {
            tracing::warn!(%error, "a thread for blocking calls stays on the CPU of the core that started it");
        }
        let mut state = self.lock();
        loop {
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
            if wait.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}
