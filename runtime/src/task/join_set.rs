//! Tasks that are waited for together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::task::{Context, Poll, Waker, ready};

use multikernel_channels::budget;
use multikernel_channels::sync::SharedArc;
use slab::Slab;

use crate::runtime::Handle;
use crate::task::ended::{Bell, Ended};
use crate::task::{self, AbortHandle, Id, JoinError, JoinHandle, LocalSet};

/// Tasks whose outputs, all of type `T`, are taken in the order in which they end.
///
/// The tasks may run on any core, and the set may be used on any. Each keeps its output until it is taken. Taking one
/// costs the same however many there are.
///
/// Dropping the set aborts all of them. [`detach_all`](Self::detach_all) lets them go on.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::task::JoinSet;
///
/// let mut squares = JoinSet::new();
/// for n in 1..=10 {
///     squares.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(square) = squares.join_next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 385);
/// # }).unwrap();
/// ```
#[must_use = "dropping the set aborts its tasks"]
pub struct JoinSet<T> {
    entries: Slab<Entry<T>>,
    ended: SharedArc<Ended>,
}

struct Entry<T> {
    handle: JoinHandle<T>,
    bell: SharedArc<Bell>,
}

impl<T> JoinSet<T> {
    /// An empty set.
    ///
    /// # Examples
    /// ```
    /// let set = multikernel::task::JoinSet::<u8>::new();
    /// assert!(set.is_empty());
    /// ```
    pub fn new() -> Self {
        Self { entries: Slab::new(), ended: SharedArc::default() }
    }

    /// How many tasks there are whose outputs have not been taken.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async {});
    /// assert_eq!(set.len(), 1);
    /// set.join_next().await;
    /// assert_eq!(set.len(), 0);
    /// # }).unwrap();
    /// ```
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether all outputs have been taken.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async {});
    /// assert!(!set.is_empty());
    /// # }).unwrap();
    /// ```
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Aborts all tasks. They stay in the set until they are joined.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.abort_all();
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    pub fn abort_all(&mut self) {
        self.entries.iter().for_each(|(_, entry)| entry.handle.abort());
    }

    /// Empties the set, and lets its tasks go on.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let (send, receive) = futures::channel::oneshot::channel();
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async move { send.send("done") });
    /// set.detach_all();
    /// drop(set);
    /// assert_eq!(receive.await, Ok("done"));
    /// # }).unwrap();
    /// ```
    pub fn detach_all(&mut self) {
        self.entries.clear();
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns a task and adds it. As [`spawn`](crate::spawn).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// let abort = set.spawn(std::future::pending::<()>());
    /// abort.abort();
    /// assert!(set.join_next().await.unwrap().is_err());
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(task::spawn(future))
    }

    /// Spawns a task on the Machine of `handle` and adds it. As [`Handle::spawn`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn_on(async { 42 }, runtime.handle()); // on a thread that is no core
    /// assert_eq!(runtime.block_on(set.join_all()), [42]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(&mut self, future: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn(future))
    }

    /// Spawns a task that stays here, and adds it. As [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::rc::Rc;
    ///
    /// let mut set = multikernel::task::JoinSet::new();
    /// let name = Rc::new("here");
    /// set.spawn_local(async move { name });
    /// assert_eq!(*set.join_next().await.unwrap().unwrap(), "here");
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local<F: Future<Output = T> + 'static>(&mut self, future: F) -> AbortHandle {
        self.insert(task::spawn_local(future))
    }

    /// Spawns a task on `local` and adds it. As [`LocalSet::spawn_local`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::{JoinSet, LocalSet};
    ///
    /// let local = LocalSet::new();
    /// let mut set = JoinSet::new();
    /// set.spawn_local_on(async { 42 }, &local);
    /// assert_eq!(local.run_until(set.join_all()).await, [42]);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local_on<F: Future<Output = T> + 'static>(
        &mut self,
        future: F,
        local: &LocalSet,
    ) -> AbortHandle {
        self.insert(local.spawn_local(future))
    }

    /// Starts a call that blocks, and adds it. As [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn_blocking(|| std::fs::read("/proc/self/comm"));
    /// assert!(set.join_next().await.unwrap().unwrap().is_ok());
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(task::spawn_blocking(f))
    }

    /// Starts a call that blocks on the Machine of `handle`, and adds it. As [`Handle::spawn_blocking`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn_blocking_on(|| 42, runtime.handle());
    /// assert_eq!(runtime.block_on(set.join_all()), [42]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, f: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn_blocking(f))
    }

    fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        let place = self.entries.vacant_entry();
        let bell = Bell::new(place.key(), self.ended.clone());
        // At once, so that who has asked for the next one hears of this one too.
        let waker = Waker::from(bell.clone());
        if handle.watch(&waker) {
            waker.wake();
        }
        place.insert(Entry { handle, bell });
        abort
    }

    /// Waits until a task has ended, and gives its output. `None` when the set is empty.
    ///
    /// # Cancel safety
    /// It is: no output is lost.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async { panic!("on purpose") });
    /// assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
    /// assert!(set.join_next().await.is_none());
    /// # }).unwrap();
    /// ```
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// As [`join_next`](Self::join_next), with the task's name.
    ///
    /// # Cancel safety
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// let id = set.spawn(async { 42 }).id();
    /// assert_eq!(set.join_next_with_id().await.unwrap().unwrap(), (id, 42));
    /// # }).unwrap();
    /// ```
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// The output of a task that has ended, if there is one. Does not wait.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async { 42 });
    /// assert!(set.try_join_next().is_none()); // it has not begun
    /// multikernel::task::yield_now().await;
    /// assert_eq!(set.try_join_next().unwrap().unwrap(), 42);
    /// # }).unwrap();
    /// ```
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.take_ended().map(|(_, output)| output)
    }

    /// As [`try_join_next`](Self::try_join_next), with the task's name.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// let id = set.spawn(async { 42 }).id();
    /// multikernel::task::yield_now().await;
    /// assert_eq!(set.try_join_next_with_id().unwrap().unwrap(), (id, 42));
    /// # }).unwrap();
    /// ```
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        self.take_ended().map(with_id)
    }

    /// Aborts all tasks and waits until they have ended; outputs go.
    ///
    /// # Cancel safety
    /// All are aborted at the first poll. Dropped later, the set holds those that have not ended by then.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(std::future::pending::<()>());
    /// set.shutdown().await;
    /// assert!(set.is_empty());
    /// # }).unwrap();
    /// ```
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for all tasks and gives their outputs, in the order in which they ended.
    ///
    /// # Panics
    /// If a task panicked, with its payload, or was aborted. The others are aborted then.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the tasks.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let set: multikernel::task::JoinSet<_> = (0..3).map(|n| async move { n }).collect();
    /// let mut outputs = set.join_all().await;
    /// outputs.sort();
    /// assert_eq!(outputs, [0, 1, 2]);
    /// # }).unwrap();
    /// ```
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(output) = self.join_next().await {
            match output.map_err(JoinError::try_into_panic) {
                Ok(output) => outputs.push(output),
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(cancelled)) => panic!("{cancelled}"),
            }
        }
        outputs
    }

    /// The output of a task that has ended. `Ready(None)` when the set is empty; when `Pending`, the task of `cx` is
    /// woken when one has ended, also one that is added by then.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::future::poll_fn;
    ///
    /// let mut set = multikernel::task::JoinSet::new();
    /// set.spawn(async { 42 });
    /// let output = poll_fn(|cx| set.poll_join_next(cx)).await;
    /// assert_eq!(output.unwrap().unwrap(), 42);
    /// # }).unwrap();
    /// ```
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_ended(cx).map(|ended| ended.map(|(_, output)| output))
    }

    /// As [`poll_join_next`](Self::poll_join_next), with the task's name.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::future::poll_fn;
    ///
    /// let mut set = multikernel::task::JoinSet::new();
    /// let id = set.spawn(async { 42 }).id();
    /// let output = poll_fn(|cx| set.poll_join_next_with_id(cx)).await;
    /// assert_eq!(output.unwrap().unwrap(), (id, 42));
    /// # }).unwrap();
    /// ```
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        self.poll_ended(cx).map(|ended| ended.map(with_id))
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<(AbortHandle, Result<T, JoinError>)>> {
        if self.is_empty() {
            return Poll::Ready(None);
        }
        let progress = ready!(budget::poll_proceed(cx));
        self.ended.register(cx.waker()); // before the look: what ends after it wakes
        match self.take_ended() {
            Some(ended) => {
                progress.made();
                Poll::Ready(Some(ended))
            }
            None => Poll::Pending,
        }
    }

    /// Takes out a task that has ended.
    fn take_ended(&mut self) -> Option<(AbortHandle, Result<T, JoinError>)> {
        // Not until there is none: a task whose end must wait for a commit rings again at once.
        for _ in 0..self.ended.count() {
            let key = self.ended.pop()?;
            // A bell may ring late, when its task has been taken out, and another may have its key by then.
            let Some(entry) = self.entries.get_mut(key) else { continue };
            entry.bell.answer();
            let waker = Waker::from(entry.bell.clone());
            let polled = budget::unlimited(|| entry.handle.poll_named(&mut Context::from_waker(&waker)));
            if let Poll::Ready(ended) = polled {
                self.entries.remove(key);
                return Some(ended);
            }
        }
        None
    }
}

fn with_id<T>((task, output): (AbortHandle, Result<T, JoinError>)) -> Result<(Id, T), JoinError> {
    output.map(|output| (task.id(), output))
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

/// Spawns each future.
impl<F> FromIterator<F> for JoinSet<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = Self::new();
        set.extend(futures);
        set
    }
}

/// Spawns each future.
impl<T, F> Extend<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        futures.into_iter().for_each(|future| drop(self.spawn(future)));
    }
}
