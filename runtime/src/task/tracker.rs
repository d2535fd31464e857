//! Waiting until all tasks of a kind have ended, without keeping their outputs.

use std::fmt;
use std::future::Future;
use std::task::Waker;

use multikernel_channels::sync::{AtomicUsize, Mutex, MutexGuard, Ordering, SharedArc};
use slab::Slab;

use crate::runtime::Handle;
use crate::task::{self, JoinHandle, LocalSet, TaskTrackerToken, TaskTrackerWaitFuture, TrackedFuture};

/// Waits until all tasks that were spawned on it have ended: the orderly end of a server.
///
/// Unlike a [`JoinSet`](crate::task::JoinSet) it keeps no outputs, so the memory of a task goes when it ends; any number
/// of clones can spawn and wait, on any core; and dropping it leaves the tasks alone. The API is that of
/// `tokio_util::task::TaskTracker`, whose tasks would need tokio's runtime.
///
/// [`wait`](Self::wait) is done when the tracker is both empty and [closed](Self::close). Closing does not keep tasks from
/// being spawned.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::task::TaskTracker;
///
/// let tracker = TaskTracker::new();
/// for client in 0..10 {
///     tracker.spawn(async move { /* serve it */ _ = client });
/// }
/// tracker.close(); // no more are coming
/// tracker.wait().await;
/// assert!(tracker.is_empty());
/// # }).unwrap();
/// ```
pub struct TaskTracker {
    pub(super) inner: SharedArc<Inner>,
}

/// In [`Inner::state`]: nothing more is coming. The bits above it count the tokens.
pub(super) const CLOSED: usize = 1;
pub(super) const TOKEN: usize = 2;

pub(super) struct Inner {
    pub(super) state: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
pub(super) struct Waiting {
    /// How often the tracker has become both closed and empty.
    pub(super) ends: u64,
    pub(super) wakers: Slab<Waker>,
}

impl Inner {
    /// One of the two, the last token's drop or the close, has made the tracker closed and empty.
    pub(super) fn end(&self) {
        let wakers = {
            let mut waiting = self.waiting();
            waiting.ends += 1;
            std::mem::take(&mut waiting.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| task::quietly(|| waker.wake()));
    }

    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics with it")
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) == CLOSED // pairs with the Release of the last token's drop
    }
}

impl TaskTracker {
    /// Open, and without tasks.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// assert!(tracker.is_empty() && !tracker.is_closed());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner { state: AtomicUsize::new(0), waiting: Mutex::new(Waiting::default()) };
        Self { inner: SharedArc::new(inner) }
    }

    /// Waits until the tracker is closed and has no task, be it for a moment: it may be reopened, or get a task, by the
    /// time the caller runs.
    ///
    /// # Cancel safety
    /// It is.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.spawn(async { /* .. */ });
    /// tracker.close();
    /// tracker.wait().await;
    /// # }).unwrap();
    /// ```
    pub fn wait(&self) -> TaskTrackerWaitFuture<'_> {
        let ends = self.inner.waiting().ends;
        TaskTrackerWaitFuture { inner: &self.inner, ends, key: None }
    }

    /// Nothing more is coming: lets [`wait`](Self::wait) be done when the last task has ended. True if it was open.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// assert!(tracker.close());
    /// assert!(!tracker.close());
    /// ```
    pub fn close(&self) -> bool {
        // AcqRel: as the drop of the last token, whose part it takes if there is none.
        let before = self.inner.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before == 0 {
            self.inner.end();
        }
        before & CLOSED == 0
    }

    /// Undoes [`close`](Self::close). True if it was closed.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.close();
    /// assert!(tracker.reopen());
    /// assert!(!tracker.is_closed());
    /// ```
    pub fn reopen(&self) -> bool {
        // AcqRel: as `close`.
        self.inner.state.fetch_and(!CLOSED, Ordering::AcqRel) & CLOSED != 0
    }

    /// Whether it is closed.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.close();
    /// assert!(tracker.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.state.load(Ordering::Acquire) & CLOSED != 0 // pairs with `close`
    }

    /// How many tasks have not ended, tokens and tracked futures included.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// let token = tracker.token();
    /// assert_eq!(tracker.len(), 1);
    /// drop(token);
    /// assert_eq!(tracker.len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.state.load(Ordering::Acquire) / TOKEN // pairs with the drops of tokens
    }

    /// Whether there is no task.
    ///
    /// # Examples
    /// ```
    /// assert!(multikernel::task::TaskTracker::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Spawns a task. As [`spawn`](crate::spawn).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let tracker = multikernel::task::TaskTracker::new();
    /// assert_eq!(tracker.spawn(async { 42 }).await.unwrap(), 42);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(self.track_future(future))
    }

    /// Spawns a task on the Machine of `handle`. As [`Handle::spawn`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.spawn_on(async { /* .. */ }, runtime.handle()); // on a thread that is no core
    /// tracker.close();
    /// runtime.block_on(tracker.wait());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(&self, future: F, handle: &Handle) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        handle.spawn(self.track_future(future))
    }

    /// Spawns a task that stays here. As [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let tracker = multikernel::task::TaskTracker::new();
    /// let name = std::rc::Rc::new("here");
    /// assert_eq!(*tracker.spawn_local(async move { name }).await.unwrap(), "here");
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        task::spawn_local(self.track_future(future))
    }

    /// Spawns a task on `local`. As [`LocalSet::spawn_local`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let local = multikernel::task::LocalSet::new();
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.spawn_local_on(async { /* .. */ }, &local);
    /// tracker.close();
    /// local.run_until(tracker.wait()).await;
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local_on<F>(&self, future: F, local: &LocalSet) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        local.spawn_local(self.track_future(future))
    }

    /// Starts a call that blocks. As [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.spawn_blocking(|| std::fs::read("/proc/self/comm"));
    /// tracker.close();
    /// tracker.wait().await;
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        task::spawn_blocking(self.track_call(f))
    }

    /// Starts a call that blocks on the Machine of `handle`. As [`Handle::spawn_blocking`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let tracker = multikernel::task::TaskTracker::new();
    /// tracker.spawn_blocking_on(|| { /* .. */ }, runtime.handle());
    /// tracker.close();
    /// runtime.block_on(tracker.wait());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F, T>(&self, f: F, handle: &Handle) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        handle.spawn_blocking(self.track_call(f))
    }

    /// Has a future count as a task, until it is dropped.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let tracker = multikernel::task::TaskTracker::new();
    /// let request = tracker.track_future(async { 200 });
    /// assert_eq!(tracker.len(), 1);
    /// assert_eq!(request.await, 200);
    /// assert!(tracker.is_empty());
    /// # }).unwrap();
    /// ```
    pub fn track_future<F: Future>(&self, future: F) -> TrackedFuture<F> {
        TrackedFuture { future, token: self.token() }
    }

    fn track_call<T, F: FnOnce() -> T>(&self, f: F) -> impl FnOnce() -> T + use<T, F> {
        let token = self.token();
        move || {
            let _token = token;
            f()
        }
    }

    /// Something else that counts as a task, until it is dropped.
    ///
    /// # Examples
    /// ```
    /// let tracker = multikernel::task::TaskTracker::new();
    /// let token = tracker.token();
    /// let worker = std::thread::spawn(move || drop(token));
    /// worker.join().unwrap();
    /// assert!(tracker.is_empty());
    /// ```
    pub fn token(&self) -> TaskTrackerToken {
        // Relaxed: nobody waits for what is not there yet. It cannot overflow: each token is memory of somebody's.
        self.inner.state.fetch_add(TOKEN, Ordering::Relaxed);
        TaskTrackerToken { tracker: Self { inner: self.inner.clone() } }
    }

    /// Whether both are clones of one tracker.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::task::TaskTracker;
    /// let (one, other) = (TaskTracker::new(), TaskTracker::new());
    /// assert!(TaskTracker::ptr_eq(&one, &one.clone()));
    /// assert!(!TaskTracker::ptr_eq(&one, &other));
    /// ```
    #[must_use]
    pub fn ptr_eq(left: &Self, right: &Self) -> bool {
        SharedArc::ptr_eq(&left.inner, &right.inner)
    }
}

/// The same tracker.
impl Clone for TaskTracker {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl Default for TaskTracker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TaskTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, is_closed) = (self.len(), self.is_closed());
        f.debug_struct("TaskTracker").field("len", &len).field("is_closed", &is_closed).finish()
    }
}
