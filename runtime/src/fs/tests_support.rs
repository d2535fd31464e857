//! What the tests of files have in common.

use std::fs::{self, OpenOptions};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::SharedFile;
use super::work::Sync;
use crate::context;
use crate::driver::{DriverChoice, FileOp, Lease, Outcome, Reactor};
use crate::runtime::Builder;
use crate::task::yield_now;
use crate::{CoreId, cores, on_each_core, spawn_on};

/// Runs a test on a Machine of so many cores, with each driver.
pub(super) fn on_both<F: Future<Output = ()> + 'static>(cores: usize, test: impl Fn() -> F) {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        Builder::new_test().cores(cores).driver(driver).run(&test).unwrap();
    }
}

/// A file that is removed with this.
pub(super) struct TempFile(PathBuf);

impl TempFile {
    pub(super) fn new(content: &[u8]) -> TempFile {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number itself must be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("multikernel-file-{}-{number}", std::process::id()));
        fs::write(&path, content).unwrap();
        TempFile(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) async fn open(&self) -> SharedFile {
        SharedFile::open(&self.0, &read_write()).await.unwrap()
    }

    /// How many descriptors of this process mean this file.
    pub(super) fn descriptors(&self) -> usize {
        let all = fs::read_dir("/proc/self/fd").unwrap();
        let named = all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        named.filter(|path| *path == self.0).count()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn read_write() -> OpenOptions {
    OpenOptions::new().read(true).write(true).clone()
}

/// Asks this core's driver something.
pub(super) fn driver<R>(f: impl FnOnce(&mut Reactor) -> R) -> R {
    context::with_core(|core| f(&mut core.unwrap().reactor.borrow_mut()))
}

pub(super) fn has_ring() -> bool {
    driver(|driver| driver.ring_fd().is_some())
}

/// Runs something on a core.
pub(super) async fn at<R: Send + 'static>(core: usize, f: impl FnOnce() -> R + Send + 'static) -> R {
    spawn_on(CoreId::new(core), move || async move { f() }).await.unwrap()
}

/// What each core says.
pub(super) async fn each<R, F>(f: impl Fn() -> F + Clone + Send + 'static) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = R> + 'static,
{
    let mut all = Vec::new();
    for task in on_each_core(f) {
        all.push(task.await.unwrap());
    }
    all
}

/// How many files each core keeps, and how many in its ring's table.
pub(super) async fn kept() -> Vec<(usize, usize)> {
    each(|| async { driver(|driver| driver.files_kept()) }).await
}

pub(super) async fn nothing_is_kept() {
    while kept().await.iter().any(|(files, _)| *files > 0) {
        yield_now().await;
    }
}

/// An operation in flight on this core until it is dropped.
pub(super) async fn hold(file: SharedFile) -> Lease {
    match FileOp::blocking(file.id(), Sync { data_only: false }).await {
        Outcome::Blocking(lease, _) => lease,
        _ => panic!("it is not open"),
    }
}

pub(super) async fn hold_at(core: usize, file: SharedFile) -> Lease {
    spawn_on(CoreId::new(core), move || hold(file)).await.unwrap()
}

pub(super) async fn reads_on_every_core(file: SharedFile) -> Vec<Option<usize>> {
    each(move || async move { file.read_at(vec![0; 8], 0).await.result.ok() }).await
}

pub(super) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Polls a future so often, each time it is woken, and drops it then. The output, if it is ready before.
pub(super) async fn poll_times<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|cx| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Without waiting for the wake that would come before the next poll.
            Poll::Pending if polls == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Every core has run something since.
pub(super) async fn wake_all() {
    assert_eq!(each(|| async {}).await.len(), cores().len());
}
