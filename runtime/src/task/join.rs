//! Waiting for a task, and ending it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use multikernel_channels::budget::poll_proceed;
use multikernel_channels::epoch;
use multikernel_channels::sync::Ordering;

use crate::task::error::JoinError;
use crate::task::header::{Phase, TaskRef, ask};
use crate::task::id::Id;
use crate::task::quietly;

/// Waits for a task and takes its output.
///
/// Awaiting it gives the output, or a [`JoinError`] if the task panicked, was aborted, or ended with its runtime.
/// Dropping the handle detaches the task, which goes on. A handle can be awaited on any core and on any thread; only
/// the home of its task answers without a message.
///
/// # Cancel safety
/// Awaiting `&mut handle` is cancel safe: the output stays with the task until it is taken.
///
/// # Panics
/// Polling a handle again after it has given the output.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let handle = multikernel::spawn(async { 6 * 7 });
/// assert_eq!(handle.await.unwrap(), 42);
/// # }).unwrap();
/// ```
pub struct JoinHandle<T> {
    /// `None` once the output was taken.
    task: Option<TaskRef>,
    _output: PhantomData<T>,
}

// SAFETY: a handle elsewhere uses the task's atomic fields alone, and moves the output there, which is `Send`.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: `&JoinHandle` gives no access to the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}
impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// `task` has output type `T`; one of its references becomes the handle's.
    pub(super) unsafe fn new(task: TaskRef) -> Self {
        Self { task: Some(task), _output: PhantomData }
    }

    /// Ends the task: its future is dropped on its core, soon, instead of being polled again.
    ///
    /// Awaiting the handle then gives a [`JoinError`] that [is cancelled](JoinError::is_cancelled), unless the task
    /// has completed before. A poll under way is not interrupted.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let handle = multikernel::spawn(std::future::pending::<()>());
    /// handle.abort();
    /// assert!(handle.await.unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    pub fn abort(&self) {
        if let Some(task) = self.task {
            abort(task);
        }
    }

    /// A handle that can end the task but not wait for it.
    ///
    /// # Panics
    /// If this handle has given the output already.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let handle = multikernel::spawn(std::future::pending::<()>());
    /// let abort = handle.abort_handle();
    /// multikernel::spawn(async move { abort.abort() });
    /// assert!(handle.await.unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn abort_handle(&self) -> AbortHandle {
        let task = self.task.expect(TAKEN);
        task.retain();
        AbortHandle { task }
    }

    /// Whether the task has ended: it has completed, panicked, or was aborted and dropped. Never blocks.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let handle = multikernel::spawn(async { "done" });
    /// while !handle.is_finished() {
    ///     multikernel::task::yield_now().await; // .. or something useful
    /// }
    /// assert_eq!(handle.await.unwrap(), "done");
    /// # }).unwrap();
    /// ```
    pub fn is_finished(&self) -> bool {
        self.task.is_none_or(is_done)
    }

    /// The task's name.
    ///
    /// # Panics
    /// If this handle has given the output already.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(async { multikernel::task::id() });
    /// let id = task.id();
    /// assert_eq!(task.await.unwrap(), id);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn id(&self) -> Id {
        self.task.expect(TAKEN).header().id.get()
    }

    /// Has `waker` woken when the task has ended. True if it has already.
    pub(super) fn watch(&self, waker: &Waker) -> bool {
        self.task.is_none_or(|task| match task.home() {
            Some(_) => poll_at_home(task, waker),
            None => poll_elsewhere(task, waker),
        })
    }

    /// As awaiting the handle, with another that still names the task afterwards.
    pub(super) fn poll_named(&mut self, cx: &mut Context<'_>) -> Poll<(AbortHandle, Result<T, JoinError>)> {
        let named = self.abort_handle();
        Pin::new(self).poll(cx).map(|output| (named, output))
    }
}

const TAKEN: &str = "the output was taken already";

fn is_done(task: TaskRef) -> bool {
    task.header().done.load(Ordering::Acquire) // pairs with the Release at completion
}

fn abort(task: TaskRef) {
    match task.home() {
        Some(home) if task.header().phase.get() != Phase::Complete => {
            task.header().notes.set_aborted(true);
            home.wake(task);
        }
        Some(_) => {}
        None if is_done(task) => {}
        None => task.ask_by_ref(ask::ABORT),
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = std::task::ready!(poll_proceed(cx));
        let task = self.task.expect("polled again after it was ready");
        let ready = match task.home() {
            Some(_) => poll_at_home(task, cx.waker()),
            None => poll_elsewhere(task, cx.waker()),
        };
        if !ready {
            return Poll::Pending;
        }
        progress.made();
        let mut output: Option<Self::Output> = None;
        // SAFETY: complete, and the handle has the claim to the output; it gives up both the claim and its reference.
        unsafe { (task.header().vtable.take_output)(task.as_ptr(), (&raw mut output).cast()) };
        self.task = None;
        task.release();
        Poll::Ready(output.expect("take_output stores it"))
    }
}

/// True when the task is complete; otherwise it will wake `waker`.
fn poll_at_home(task: TaskRef, waker: &Waker) -> bool {
    if task.header().phase.get() == Phase::Complete {
        return true;
    }
    let new = match task.take_joiner() {
        Some(old) if old.will_wake(waker) => old,
        old => {
            let new = waker.clone();
            quietly(|| drop(old));
            new
        }
    };
    task.put_joiner(new);
    false
}

/// As [`poll_at_home`], on another thread. A task that may have ended after a commit which this thread's core has still to
/// make is complete when that is made.
fn poll_elsewhere(task: TaskRef, waker: &Waker) -> bool {
    let is_complete = is_done(task) || wait_elsewhere(task, waker);
    if is_complete && epoch::holds() {
        waker.wake_by_ref();
        return false;
    }
    is_complete
}

fn wait_elsewhere(task: TaskRef, waker: &Waker) -> bool {
    task.header().remote_joiner.register(waker);
    // A message for each pending poll: a join is awaited once or twice in its life, and the home ignores repeats.
    task.ask_by_ref(ask::JOIN);
    is_done(task)
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let Some(task) = self.task else { return };
        let header = task.header();
        match task.home() {
            Some(_) => {
                let complete = header.phase.get() == Phase::Complete;
                header.wanted.set(false);
                if complete {
                    // SAFETY: complete, and the claim to the output was this handle's.
                    unsafe { (header.vtable.drop_output)(task.as_ptr()) };
                }
                task.release();
            }
            None if is_done(task) => {
                // SAFETY: as above. Off its core's thread, or after that core has ended on this thread, the output
                // may be dropped: a handle travels only if the output is `Send`.
                unsafe { (header.vtable.drop_output)(task.as_ptr()) };
                task.release();
            }
            None => task.detach_elsewhere(),
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish()
    }
}

/// Ends a task without waiting for it. From [`JoinHandle::abort_handle`]; works from any thread. Dropping it does
/// nothing to the task.
///
/// # Examples
/// Ends whatever is left when a server stops:
/// ```
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// use multikernel::task::AbortHandle;
///
/// let tasks: Vec<_> = (0..3).map(|_| multikernel::spawn_balanced(std::future::pending::<()>())).collect();
/// let at_the_end: Vec<AbortHandle> = tasks.iter().map(|task| task.abort_handle()).collect();
/// at_the_end.iter().for_each(AbortHandle::abort);
/// for task in tasks {
///     assert!(task.await.is_err());
/// }
/// # }).unwrap();
/// ```
pub struct AbortHandle {
    task: TaskRef,
}

// SAFETY: an abort handle elsewhere uses the task's atomic fields alone, and has nothing to do with the output.
unsafe impl Send for AbortHandle {}
// SAFETY: as above.
unsafe impl Sync for AbortHandle {}

impl AbortHandle {
    /// Ends the task, unless it has completed before. As [`JoinHandle::abort`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(std::future::pending::<()>());
    /// task.abort_handle().abort();
    /// assert!(task.await.unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    pub fn abort(&self) {
        abort(self.task);
    }

    /// Whether the task has ended. As [`JoinHandle::is_finished`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(async {});
    /// let handle = task.abort_handle();
    /// assert!(!handle.is_finished());
    /// task.await.unwrap();
    /// assert!(handle.is_finished());
    /// # }).unwrap();
    /// ```
    pub fn is_finished(&self) -> bool {
        is_done(self.task)
    }

    /// The task's name. As [`JoinHandle::id`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(async {});
    /// assert_eq!(task.abort_handle().id(), task.id());
    /// # }).unwrap();
    /// ```
    pub fn id(&self) -> Id {
        self.task.header().id.get()
    }
}

impl Clone for AbortHandle {
    fn clone(&self) -> Self {
        self.task.retain();
        Self { task: self.task }
    }
}

impl Drop for AbortHandle {
    fn drop(&mut self) {
        self.task.release();
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("finished", &self.is_finished()).finish()
    }
}
