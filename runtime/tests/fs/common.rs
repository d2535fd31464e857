//! What the tests of files share.

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use multikernel::runtime::{Builder, DriverChoice, DriverKind, Handle};
use multikernel::task::yield_now;
use multikernel::time::timeout;

/// A test that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub const DRIVERS: [(DriverChoice, DriverKind); 2] =
    [(DriverChoice::Uring, DriverKind::Uring), (DriverChoice::Epoll, DriverKind::Epoll)];

/// Runs `test` on a Machine with `cores`, once for each driver, each time with a folder of its own.
pub fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn(PathBuf) -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    for (choice, kind) in DRIVERS {
        let folder = Folder::new();
        let test = &test;
        let path = folder.0.clone();
        Builder::new_test()
            .cores(cores)
            .driver(choice)
            .run(|| {
                assert_driver(&Handle::current(), kind);
                let test = test(path);
                async { timeout(PATIENCE, test).await }
            })
            .unwrap()
            .unwrap_or_else(|_| panic!("the test hangs on {kind}"))
            .unwrap_or_else(|error| panic!("on {kind}: {error}"));
    }
}

/// Holds that `kind` is what runs, wherever this system allows it and the environment does not say otherwise.
fn assert_driver(handle: &Handle, kind: DriverKind) {
    let allowed = kind == DriverKind::Epoll || io_uring::IoUring::new(8).is_ok();
    if allowed && std::env::var_os("MULTIKERNEL_DRIVER").is_none() {
        assert_eq!(handle.driver().kind, kind, "{}", handle.driver().why);
    }
}

/// A folder that goes with this, on a file system that is kept on a disk.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number itself must be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fs-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How many descriptors of this process mean something below `path`.
pub fn descriptors(path: &Path) -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let named = all.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    named.filter(|named| named.starts_with(path)).count()
}

/// Waits until that many are left: what a dropped future has left behind is given back soon.
pub async fn until_descriptors(path: &Path, count: usize) {
    while descriptors(path) != count {
        multikernel::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes that differ from place to place, so that lost, doubled and swapped pieces show.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

/// Polls once.
pub async fn poll_once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls `future` until it has waited `waits` times, then drops it. What it gives when it was done before.
pub async fn give_up_after<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..waits {
        if let Poll::Ready(output) = poll_once(&mut future).await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Does it again and again, each time dropped one wait later, until it is done without being dropped.
pub async fn at_every_wait<F: Future>(mut what: impl AsyncFnMut(usize) -> F) -> F::Output {
    for waits in 0.. {
        let future = what(waits).await;
        if let Some(output) = give_up_after(waits, future).await {
            return output;
        }
    }
    unreachable!("it would have to wait for ever")
}
