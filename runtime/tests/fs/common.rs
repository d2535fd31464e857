//! What the tests of files share.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support;
pub use crate::support::{DRIVERS, done_within as give_up_after, pattern, poll_once};

/// Runs `test` on a Machine with `cores`, once for each driver, each time with a folder of its own.
pub fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn(PathBuf) -> Fut + 'static,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let test = Rc::new(test);
    support::on_both(cores, || {
        let test = test.clone();
        async move {
            let folder = Folder::new();
            test(folder.0.clone()).await
        }
    });
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
