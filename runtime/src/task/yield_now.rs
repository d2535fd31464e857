//! Letting the core's other tasks run.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Gives the rest of the core a turn: the task goes to the end of its core's run queue.
///
/// The inbox and the driver are looked at every few polls, so a task that yields in a loop holds up neither.
///
/// # Cancel safety
/// Dropping the future before it completes has no effect.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// for _ in 0..3 {
///     multikernel::task::yield_now().await;
/// }
/// # }).unwrap();
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`]: pending once, then ready.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task::{YieldNow, yield_now};
///
/// let pause: YieldNow = yield_now(); // does nothing until it is awaited
/// pause.await;
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
