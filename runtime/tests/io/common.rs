//! What these tests share.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use multikernel::runtime::{Builder, DriverChoice};
use multikernel::task::yield_now;
use multikernel::time::timeout;

/// A test that is not done by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const DRIVERS: [DriverChoice; 2] = [DriverChoice::Uring, DriverChoice::Epoll];

/// Runs `test` on a Machine with `cores`, once for each driver; fails if it does not end.
pub fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    for choice in DRIVERS {
        let test = &test;
        Builder::new_test()
            .cores(cores)
            .driver(choice)
            .run(|| {
                let test = test();
                async { timeout(PATIENCE, test).await }
            })
            .unwrap()
            .unwrap_or_else(|_| panic!("the test hangs on {choice:?}"))
            .unwrap_or_else(|error| panic!("on {choice:?}: {error}"));
    }
}

/// Polls once.
pub async fn poll_once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls `future` until it has waited `waits` times, then drops it. True when it was done before.
pub async fn give_up_after(waits: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..waits {
        if poll_once(&mut future).await.is_ready() {
            return true;
        }
        yield_now().await;
    }
    false
}
