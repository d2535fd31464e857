//! What these tests share.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

#[cfg(feature = "tokio")]
use multikernel::net::{TcpListener, TcpStream};
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

/// Both ends of a connection.
#[cfg(feature = "tokio")]
pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

/// Bytes that differ from place to place, so that lost, doubled and swapped pieces show.
#[cfg(feature = "tokio")]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

/// Descriptors that this process has open.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// This test program once more, for one of its ignored tests alone.
pub fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", test]);
    command
}

/// Runs an ignored test alone in a process, and holds that it passes and says `proof`.
pub fn alone(test: &str, proof: &str) {
    let output = again(test).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(proof), "{said}{told}");
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
