//! Letting others run: what a task may do in one poll is bounded.
//!
//! A task that always finds its sockets and channels ready would never let go of its core. So each poll of a task has a
//! budget of 128 units. What is done takes one: a read, a write, an accept, a message, a tick, a join. When none is left,
//! the next such operation is pending for once, the task is woken, and the core's other tasks have their turn. Our
//! sockets, files, timers, signals, channels and join handles take part; tokio's channels in
//! [`sync`](crate::sync) do not, unless they are wrapped in [`cooperative`].
//!
//! # Examples
//! A resource of one's own takes part:
//! ```
//! use multikernel::task::coop::poll_proceed;
//! use std::collections::VecDeque;
//! use std::task::{Context, Poll, ready};
//!
//! fn poll_next(jobs: &mut VecDeque<u32>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
//!     let budget = ready!(poll_proceed(cx));
//!     let job = jobs.pop_front();
//!     budget.made_progress();
//!     Poll::Ready(job)
//! }
//! # multikernel::runtime::Builder::new_test().run(|| async {
//! # let mut jobs = VecDeque::from([7]);
//! # assert_eq!(std::future::poll_fn(|cx| poll_next(&mut jobs, cx)).await, Some(7));
//! # }).unwrap();
//! ```

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use multikernel_channels::budget::{self, Progress};
use pin_project_lite::pin_project;

/// Takes one unit of the task's budget, and lets others run if none is left. For a loop that calls nothing that would.
///
/// # Cancel safety
/// Dropping the future has no effect.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::consume_budget;
///
/// let mut sum = 0;
/// for n in 0..1000_u64 {
///     sum += n * n;
///     consume_budget().await;
/// }
/// assert_eq!(sum, 332_833_500);
/// # }).unwrap();
/// ```
pub async fn consume_budget() {
    poll_fn(|cx| {
        ready!(budget::poll_proceed(cx)).made();
        Poll::Ready(())
    })
    .await
}

/// Whether an operation that takes part would go ahead now. Always, on a thread that is no core, and within
/// [`unconstrained`].
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::coop::{consume_budget, has_budget_remaining};
///
/// let mut done = 0;
/// while has_budget_remaining() {
///     done += 1; // as much as fits in this turn
///     consume_budget().await;
/// }
/// assert!(done <= 128);
/// # }).unwrap();
/// ```
pub fn has_budget_remaining() -> bool {
    budget::has_left()
}

/// Asks for one unit of the task's budget. When none is left: pending, and the task has been woken.
///
/// Nothing is spent when the value is dropped, unless [`made_progress`](RestoreOnPending::made_progress) was called,
/// so an operation that has to wait costs nothing.
///
/// # Examples
/// See [the module](self).
/// ```
/// # use std::task::{Context, Waker};
/// let mut cx = Context::from_waker(Waker::noop());
/// assert!(multikernel::task::coop::poll_proceed(&mut cx).is_ready()); // always, outside tasks
/// ```
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<RestoreOnPending> {
    budget::poll_proceed(cx).map(|unit| RestoreOnPending(Cell::new(Some(unit))))
}

/// The right to spend one unit of budget, from [`poll_proceed`]. If it is dropped, nothing is spent.
///
/// # Examples
/// ```
/// # use std::task::{Context, Waker};
/// use multikernel::task::coop::{RestoreOnPending, poll_proceed};
///
/// # let mut cx = Context::from_waker(Waker::noop());
/// # let std::task::Poll::Ready(unit) = poll_proceed(&mut cx) else { return };
/// let unit: RestoreOnPending = unit;
/// drop(unit); // nothing was done after all
/// ```
#[must_use = "nothing is spent"]
pub struct RestoreOnPending(Cell<Option<Progress>>);

impl RestoreOnPending {
    /// Something was done: the unit is spent.
    ///
    /// # Examples
    /// See [the module](self).
    /// ```
    /// # use std::task::{Context, Poll, Waker};
    /// # let mut cx = Context::from_waker(Waker::noop());
    /// let Poll::Ready(unit) = multikernel::task::coop::poll_proceed(&mut cx) else { return };
    /// unit.made_progress();
    /// ```
    pub fn made_progress(&self) {
        if let Some(unit) = self.0.take() {
            unit.made();
        }
    }
}

impl fmt::Debug for RestoreOnPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestoreOnPending")
    }
}

/// Makes a future take part: each of its polls that is ready takes a unit, and none is made without one.
///
/// For futures that know nothing of budgets and are awaited in a loop, such as those of tokio's channels.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::coop::cooperative;
///
/// assert_eq!(cooperative(std::future::ready(7)).await, 7);
/// # }).unwrap();
/// ```
pub fn cooperative<F: Future>(future: F) -> Coop<F> {
    Coop { future }
}

pin_project! {
    /// The future of [`cooperative`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::coop::{Coop, cooperative};
    ///
    /// let future: Coop<_> = cooperative(async { 7 });
    /// assert_eq!(future.await, 7);
    /// # }).unwrap();
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Coop<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Coop<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let unit = ready!(budget::poll_proceed(cx));
        let output = ready!(self.project().future.poll(cx));
        unit.made();
        Poll::Ready(output)
    }
}

/// Lifts the bound: whatever the future does in one poll, it takes no budget.
///
/// Others wait for as long as it finds something to do. For a future whose latency counts for more than theirs.
///
/// # Cancel safety
/// As that of the future.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::{consume_budget, unconstrained};
///
/// unconstrained(async {
///     for _ in 0..10_000 {
///         consume_budget().await; // never lets others run
///     }
/// })
/// .await;
/// # }).unwrap();
/// ```
pub fn unconstrained<F>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

pin_project! {
    /// The future of [`unconstrained`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::coop::{Unconstrained, unconstrained};
    ///
    /// let future: Unconstrained<_> = unconstrained(async { 7 });
    /// assert_eq!(future.await, 7);
    /// # }).unwrap();
    /// ```
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Unconstrained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        budget::unlimited(|| self.project().future.poll(cx))
    }
}
