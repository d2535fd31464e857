//! A future that is made where it is first polled.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A closure until the first poll, then the future it made.
pub(super) enum Lazy<F, Fut> {
    Closure(Option<F>),
    Future(Fut),
}

impl<F, Fut> Lazy<F, Fut> {
    pub(super) fn new(make: F) -> Self {
        Self::Closure(Some(make))
    }
}

impl<F: FnOnce() -> Fut, Fut: Future> Future for Lazy<F, Fut> {
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        // SAFETY: the closure is not pinned structurally and may be moved out; the future is not moved once it is in
        // place, and dropped there.
        let this = unsafe { self.get_unchecked_mut() };
        if let Self::Closure(make) = this {
            let make = make.take().expect("a closure that panicked is not called again");
            *this = Self::Future(make());
        }
        match this {
            // SAFETY: as above.
            Self::Future(future) => unsafe { Pin::new_unchecked(future) }.poll(cx),
            Self::Closure(_) => unreachable!("replaced above"),
        }
    }
}
