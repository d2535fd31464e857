//! What counts in a [`TaskTracker`], and who waits for it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use multikernel_channels::sync::Ordering;
use pin_project_lite::pin_project;

use crate::task::tracker::{CLOSED, Inner, TOKEN, TaskTracker};

/// Counts as a task of a [`TaskTracker`] until it is dropped. From [`TaskTracker::token`].
///
/// # Examples
/// ```
/// use multikernel::task::{TaskTracker, TaskTrackerToken};
///
/// let tracker = TaskTracker::new();
/// let token: TaskTrackerToken = tracker.token();
/// let another = token.clone();
/// assert_eq!(tracker.len(), 2);
/// # drop((token, another));
/// ```
#[derive(Debug)]
pub struct TaskTrackerToken {
    pub(super) tracker: TaskTracker,
}

impl TaskTrackerToken {
    /// The tracker that it counts in.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::task::TaskTracker;
    /// let tracker = TaskTracker::new();
    /// assert!(TaskTracker::ptr_eq(tracker.token().task_tracker(), &tracker));
    /// ```
    #[must_use]
    pub fn task_tracker(&self) -> &TaskTracker {
        &self.tracker
    }
}

impl Clone for TaskTrackerToken {
    fn clone(&self) -> Self {
        self.tracker.token()
    }
}

impl Drop for TaskTrackerToken {
    fn drop(&mut self) {
        let inner = &self.tracker.inner;
        // AcqRel. Release: what the task did comes before its end for whoever waits. Acquire: passes that on.
        if inner.state.fetch_sub(TOKEN, Ordering::AcqRel) == TOKEN | CLOSED {
            inner.end();
        }
    }
}

pin_project! {
    /// A future that counts as a task of a [`TaskTracker`]. From [`TaskTracker::track_future`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::{TaskTracker, TrackedFuture};
    ///
    /// let future: TrackedFuture<_> = TaskTracker::new().track_future(async { 7 });
    /// assert_eq!(future.await, 7);
    /// # }).unwrap();
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct TrackedFuture<F> {
        // Dropped before the token.
        #[pin]
        pub(super) future: F,
        pub(super) token: TaskTrackerToken,
    }
}

impl<F: Future> Future for TrackedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// The future of [`TaskTracker::wait`].
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::{TaskTracker, TaskTrackerWaitFuture};
///
/// let tracker = TaskTracker::new();
/// let wait: TaskTrackerWaitFuture<'_> = tracker.wait();
/// tracker.close();
/// wait.await;
/// # }).unwrap();
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct TaskTrackerWaitFuture<'a> {
    pub(super) inner: &'a Inner,
    /// The count when this was made: when it has changed, that is what we wait for.
    pub(super) ends: u64,
    /// Our waker among those that wait, while the count is still the same.
    pub(super) key: Option<usize>,
}

impl Future for TaskTrackerWaitFuture<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let new = cx.waker().clone(); // code of users: not under the lock
        let mut waiting = self.inner.waiting();
        if waiting.ends != self.ends || self.inner.has_ended() {
            return Poll::Ready(());
        }
        let old = match self.key {
            Some(key) => Some(std::mem::replace(&mut waiting.wakers[key], new)),
            None => {
                self.key = Some(waiting.wakers.insert(new));
                None
            }
        };
        drop(waiting);
        drop(old); // code of users
        Poll::Pending
    }
}

impl Drop for TaskTrackerWaitFuture<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else { return };
        let ours = {
            let mut waiting = self.inner.waiting();
            (waiting.ends == self.ends).then(|| waiting.wakers.remove(key))
        };
        drop(ours); // code of users
    }
}

impl fmt::Debug for TaskTrackerWaitFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskTrackerWaitFuture").field("done", &self.inner.has_ended()).finish()
    }
}
