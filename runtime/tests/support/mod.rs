//! What the tests of input and output share.
#![allow(dead_code, unused_imports, reason = "each crate of tests uses a part")]

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use multikernel::net::TcpStream;
use multikernel::runtime::{Builder, DriverChoice, DriverKind, Handle};
use multikernel::task::yield_now;
use multikernel::time::timeout;

mod own_address;
pub use own_address::own_address;

/// A test that is not done by then hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const DRIVERS: [(DriverChoice, DriverKind); 2] =
    [(DriverChoice::Uring, DriverKind::Uring), (DriverChoice::Epoll, DriverKind::Epoll)];

/// Runs `test` on a Machine with `cores`, once for each driver; fails if it does not end.
pub fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    for (choice, kind) in DRIVERS {
        let test = &test;
        Builder::new_test()
            .cores(cores)
            .driver(choice)
            .run(|| {
                assert_driver(&Handle::current(), kind);
                let test = test();
                async { timeout(PATIENCE, test).await }
            })
            .unwrap()
            .unwrap_or_else(|_| panic!("the test hangs on {kind}"))
            .unwrap_or_else(|error| panic!("on {kind}: {error}"));
    }
}

/// Holds that `kind` is what runs, unless the environment says otherwise.
pub fn assert_driver(handle: &Handle, kind: DriverKind) {
    if std::env::var_os("MULTIKERNEL_DRIVER").is_some() {
        return;
    }
    match io_uring::IoUring::new(8) {
        Err(error) if kind == DriverKind::Uring => skip(format_args!("io_uring is refused: {error}")),
        _ => assert_eq!(handle.driver().kind, kind, "{}", handle.driver().why),
    }
}

/// Says that something is not tested here. That is a failure where `CI` is set, so that nobody takes it for a success, unless
/// `MULTIKERNEL_MAY_SKIP` is set too.
#[track_caller]
pub fn skip(why: impl Display) {
    let may = std::env::var_os("CI").is_none() || std::env::var_os("MULTIKERNEL_MAY_SKIP").is_some();
    assert!(may, "not tested: {why}; with MULTIKERNEL_MAY_SKIP=1 that is no failure");
    println!("skipped: {why}");
}

/// Bytes that differ from place to place, so that lost, doubled and swapped pieces show.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

/// Counts what is alive.
#[derive(Clone, Default)]
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::SeqCst);
        One(self.0.clone())
    }
}

pub struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Polls once.
pub async fn poll_once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls `future` until it has waited `waits` times, then drops it. Its output, if it was done before.
pub async fn done_within<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..waits {
        if let Poll::Ready(output) = poll_once(&mut future).await {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

/// Polls `future` whenever it is woken, until it has waited `waits` times, then drops it. Its output, if it was done before.
pub async fn woken_within<F: Future>(waits: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// As [`done_within`], and says only whether it was done.
pub async fn give_up_after(waits: usize, future: impl Future) -> bool {
    done_within(waits, future).await.is_some()
}

/// An open socket, by the name that stays the same for all its descriptors.
pub struct OpenSocket(PathBuf);

impl OpenSocket {
    pub fn of(socket: &impl AsRawFd) -> OpenSocket {
        OpenSocket(std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap())
    }

    pub fn descriptors(&self) -> usize {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        // Others come and go meanwhile.
        let links = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| *link == self.0).count()
    }

    /// A socket that several cores had registered is closed when the last of them has heard of its end.
    pub async fn until_closed(&self) {
        while self.descriptors() > 0 {
            yield_now().await;
        }
    }
}

/// A folder that is gone with this.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("multikernel-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs `body` in a process of its own, with few descriptors: the test `name` calls itself there.
pub fn with_few_descriptors(name: &str, body: impl FnOnce()) {
    const CHILD: &str = "MULTIKERNEL_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(CHILD).is_some() {
        let limit = libc::rlimit { rlim_cur: 128, rlim_max: 128 };
        // SAFETY: it reads one valid structure.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
        return body();
    }
    let test = std::env::current_exe().unwrap();
    let output = Command::new(test).args([name, "--exact"]).env(CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child ran nothing");
}

/// All the descriptors that can be had.
pub fn hoard() -> Vec<OwnedFd> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok().map(OwnedFd::from)).collect()
}

/// Reads what is there, waiting for some, without tokio's traits.
pub async fn read(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

pub async fn read_exact(stream: &TcpStream, buf: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match read(stream, &mut buf[done..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => done += got,
        }
    }
    Ok(())
}

pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}
