//! Tasks that are polled by whoever polls their set.
//!
//! A set has a home of its own, with a run queue and an inbox, inside the task or the guest that polls it. While the set
//! runs its tasks, its home takes the place of the thread's (`Home::visit`); to everyone else, also on this very thread,
//! its tasks are somebody else's, and are woken by message. Who posts finds the set parked between two polls, and
//! wakes its poller.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use multikernel_channels::budget;

use crate::executor;
use crate::limits::{BUDGET_PER_POLL, POLLS_PER_LOOK, POLLS_PER_TURN};
use crate::machine::mailbox::Mailbox;
use crate::machine::registry;
use crate::runtime::Runtime;
use crate::task::{self, Home, JoinHandle};

thread_local! {
    /// The guards of this thread that live, the latest last, with numbers of their own: they may go in any order.
    static ENTERED: RefCell<Vec<(u64, Rc<Set>)>> = const { RefCell::new(Vec::new()) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    /// How many those are: what every `spawn_local` asks, and most threads answer with 0.
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// Tasks that are not `Send`, polled where the set is.
///
/// On a core nobody needs one: [`spawn_local`](crate::spawn_local) works in every task. A set is for threads that are no
/// cores, for [`Runtime::block_on`], and for tasks that are to end with the one that they belong to: dropping the set
/// drops them.
///
/// Its tasks run only while the set is polled: by awaiting it, in [`run_until`](Self::run_until) or in
/// [`block_on`](Self::block_on). They take turns with each other within that one task. `spawn_local` in there, be it in
/// a task of the set, adds to the set. Only one of several who poll a set at the same time is woken for it.
///
/// # Examples
/// A guest thread with tasks of its own:
/// ```
/// use multikernel::task::{LocalSet, spawn_local};
/// use std::rc::Rc;
///
/// let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
/// let local = LocalSet::new();
/// let sum = local.block_on(&runtime, async {
///     let numbers = Rc::new(vec![1, 2, 3]);
///     let task = spawn_local(async move { numbers.iter().sum::<i32>() });
///     task.await.unwrap()
/// });
/// assert_eq!(sum, 6);
/// # std::io::Result::Ok(())
/// ```
pub struct LocalSet {
    set: Rc<Set>,
}

pub(crate) struct Set {
    home: Home,
    /// It is being polled, and will look at its run queue.
    is_polled: Cell<bool>,
}

/// The set that `spawn_local` spawns on.
pub(crate) fn current() -> Option<Rc<Set>> {
    if COUNT.get() == 0 {
        return None;
    }
    ENTERED.try_with(|entered| entered.borrow().last().map(|(_, set)| set.clone())).ok().flatten()
}

/// From [`LocalSet::enter`]: while it lives, `spawn_local` on its thread adds to the set.
///
/// # Examples
/// ```
/// use multikernel::task::{LocalEnterGuard, LocalSet, spawn_local};
///
/// let local = LocalSet::new();
/// let guard: LocalEnterGuard = local.enter();
/// let task = spawn_local(async { 7 });
/// drop(guard);
/// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
/// assert_eq!(local.block_on(&runtime, task)?, 7);
/// # std::io::Result::Ok(())
/// ```
pub struct LocalEnterGuard {
    number: u64,
    _not_send: PhantomData<*const ()>,
}

impl Drop for LocalEnterGuard {
    fn drop(&mut self) {
        // The thread may be ending, and its list gone before this guard.
        let set = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let at = entered.iter().rposition(|(number, _)| *number == self.number);
            let removed = at.map(|at| entered.remove(at));
            COUNT.set(entered.len());
            removed
        });
        drop(set); // with its home, if it is the last
    }
}

impl fmt::Debug for LocalEnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalEnterGuard")
    }
}

impl Set {
    fn enter(self: &Rc<Self>) -> LocalEnterGuard {
        let number = NUMBER.replace(NUMBER.get() + 1);
        // A set may be dropped while its thread ends, and does without then.
        let _ = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            entered.push((number, self.clone()));
            COUNT.set(entered.len());
        });
        LocalEnterGuard { number, _not_send: PhantomData }
    }

    pub(crate) fn spawn<F>(&self, future: F, at: &'static Location<'static>) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.home.is_shut() {
            return task::spawn_refused(&self.home, future, at);
        }
        let task = task::spawn_at_home(&self.home, future, at);
        if !self.is_polled.get() {
            self.mailbox().poller.wake();
        }
        task
    }

    fn mailbox(&self) -> &Mailbox {
        self.home.mailbox()
    }

    fn visit<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: opened in `LocalSet::new`, which is not `Send`, and borrowed meanwhile.
        unsafe { self.home.visit(f) }
    }

    /// A poll of whoever polls the set: `first`, which may be what it waits for, then the tasks.
    fn poll<R>(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        first: impl FnOnce(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        struct Park<'a>(&'a Set, bool);
        impl Drop for Park<'_> {
            fn drop(&mut self) {
                self.0.is_polled.set(self.1);
                // Who posts after this wakes the poller; what came before is seen below, or by the next poll.
                self.0.mailbox().doorbell.prepare_park();
            }
        }
        let _enter = self.enter();
        self.mailbox().poller.register(cx.waker());
        self.mailbox().doorbell.unpark();
        let park = Park(self, self.is_polled.replace(true));
        let result = first(cx);
        if result.is_pending() {
            self.visit(|| self.turn());
        }
        drop(park);
        if self.home.has_runnable() || self.mailbox().has_mail() || self.home.holds_mail() {
            cx.waker().wake_by_ref();
        }
        result
    }

    /// Polls tasks until none is left, or their share of polls is used up.
    fn turn(&self) {
        // A guest commits nothing, and so holds nothing back.
        let version = executor::with(|core| core.map_or(u64::MAX, |core| core.seat.host.version().0));
        for _ in 0..POLLS_PER_TURN / POLLS_PER_LOOK {
            self.home.deliver(version);
            let ran = |_: &u32| budget::with(BUDGET_PER_POLL, || self.home.run_one());
            if (0..POLLS_PER_LOOK).take_while(ran).count() < POLLS_PER_LOOK as usize {
                return;
            }
        }
    }
}

impl LocalSet {
    /// A set without tasks, for the calling thread.
    ///
    /// # Examples
    /// ```
    /// let local = multikernel::task::LocalSet::new(); // needs no runtime
    /// ```
    pub fn new() -> Self {
        let home = Home::new(Mailbox::of_set(registry::new_uid()));
        home.open();
        home.mailbox().doorbell.prepare_park();
        Self { set: Rc::new(Set { home, is_polled: Cell::new(false) }) }
    }

    /// Spawns a task on the set. It runs when the set is polled next.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let local = multikernel::task::LocalSet::new();
    /// let task = local.spawn_local(async { 7 });
    /// local.await;
    /// assert_eq!(task.await.unwrap(), 7);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.set.spawn(future, Location::caller())
    }

    /// Runs `future`, and the set's tasks beside it, until `future` is done. The tasks that are left run on when the set is
    /// polled again.
    ///
    /// # Cancel safety
    /// Dropping it drops `future`; the tasks stay.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::{LocalSet, spawn_local};
    ///
    /// let local = LocalSet::new();
    /// let answer = local.run_until(async { spawn_local(async { 6 * 7 }).await.unwrap() });
    /// assert_eq!(answer.await, 42);
    /// # }).unwrap();
    /// ```
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| self.set.poll(cx, |cx| future.as_mut().poll(cx))).await
    }

    /// Runs `future` on the calling thread, and the set's tasks beside it, until `future` is done. As
    /// [`Runtime::block_on`] of [`run_until`](Self::run_until).
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let local = multikernel::task::LocalSet::new();
    /// let name = std::rc::Rc::new("guest");
    /// let task = local.spawn_local(async move { name.len() });
    /// assert_eq!(local.block_on(&runtime, task)?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn block_on<F: Future>(&self, runtime: &Runtime, future: F) -> F::Output {
        runtime.block_on(self.run_until(future))
    }

    /// Has `spawn_local` on this thread add to the set, until the guard is dropped.
    ///
    /// # Examples
    /// ```
    /// let local = multikernel::task::LocalSet::new();
    /// let guard = local.enter();
    /// multikernel::spawn_local(async { /* .. */ });
    /// # drop(guard);
    /// ```
    pub fn enter(&self) -> LocalEnterGuard {
        self.set.enter()
    }
}

/// Done when the set has no task any more.
impl Future for LocalSet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _ = self.set.poll(cx, |_| Poll::<()>::Pending);
        if self.set.home.pending() == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Default for LocalSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        let _enter = self.set.enter();
        self.set.visit(|| self.set.home.finish_all());
        self.set.home.close();
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").field("tasks", &self.set.home.pending()).finish()
    }
}
