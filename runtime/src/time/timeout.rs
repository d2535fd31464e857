use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::error::Elapsed;
use super::{Duration, Instant, Sleep, sleep, sleep_until};
use crate::context;

/// Gives `future` at most `duration` to complete.
///
/// The future is polled before the clock matters: one that is ready at once completes even with a duration of zero.
/// When time is up, the future is dropped with the [`Timeout`], not before. A duration that reaches beyond what
/// [`Instant`] can represent becomes about 30 years.
///
/// # Errors
///
/// [`Elapsed`] when the deadline passes first.
///
/// # Panics
///
/// The returned future panics when it is polled on a thread that neither is a core nor runs a `block_on`.
///
/// # Cancel safety
///
/// As safe as `future` is: dropping the `Timeout` drops it.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, timeout};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let answer = timeout(Duration::from_secs(1), async { 42 }).await;
/// assert_eq!(answer, Ok(42));
///
/// let silence = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
/// assert!(silence.is_err());
/// # }).unwrap();
/// ```
pub fn timeout<F>(duration: Duration, future: F) -> Timeout<F::IntoFuture>
where
    F: IntoFuture,
{
    Timeout { value: future.into_future(), delay: sleep(duration) }
}

/// Gives `future` until `deadline` to complete. Apart from that it is [`timeout`].
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, timeout_at};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let deadline = Instant::now() + Duration::from_secs(1);
/// assert_eq!(timeout_at(deadline, async { "in time" }).await, Ok("in time"));
/// # }).unwrap();
/// ```
pub fn timeout_at<F>(deadline: Instant, future: F) -> Timeout<F::IntoFuture>
where
    F: IntoFuture,
{
    Timeout { value: future.into_future(), delay: sleep_until(deadline) }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    ///
    /// # Examples
    ///
    /// A limit for a future that is polled by hand:
    ///
    /// ```
    /// use multikernel::time::{Duration, Timeout, timeout};
    /// use std::future::{Pending, pending};
    /// use std::pin::pin;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let limited: Timeout<Pending<()>> = timeout(Duration::from_millis(1), pending());
    /// assert!(pin!(limited).await.is_err());
    /// # }).unwrap();
    /// ```
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Timeout<T> {
        #[pin]
        value: T,
        delay: Sleep,
    }
}

impl<T> Timeout<T> {
    /// The future inside.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, timeout};
    /// let limited = timeout(Duration::from_secs(1), std::future::ready("inside"));
    /// println!("waiting for {:?}", limited.get_ref());
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// The future inside.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, timeout};
    /// let mut limited = timeout(Duration::from_secs(1), std::future::ready("inside"));
    /// *limited.get_mut() = std::future::ready("changed");
    /// assert_eq!(limited.into_inner().into_inner(), "changed");
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Gives the future back, and the deadline up.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, timeout};
    ///
    /// let limited = timeout(Duration::from_secs(1), std::future::ready("inside"));
    /// assert_eq!(limited.into_inner().into_inner(), "inside");
    /// ```
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Only a look: the unit goes back at once. Without one left the task is woken and nothing is missed below.
        let had_budget = context::poll_proceed(cx).is_ready();
        if let Poll::Ready(value) = this.value.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        if !had_budget {
            return Poll::Pending;
        }
        // The future may have used all the budget, and may do so in every poll: the deadline holds even then. So it
        // is polled outside the budget, and pays afterwards if anything is left.
        ready!(this.delay.poll_deadline(cx));
        if let Poll::Ready(progress) = context::poll_proceed(cx) {
            progress.made();
        }
        Poll::Ready(Err(Elapsed::new()))
    }
}
