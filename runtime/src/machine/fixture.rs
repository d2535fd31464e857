//! File trees that look like a machine's /proc and /sys.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of its own under the system's temporary folder, removed when dropped.
pub(super) struct Fixture(PathBuf);

impl Fixture {
    pub(super) fn new(files: &[(&str, &str)]) -> Fixture {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: only the number itself must be unique.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("multikernel-cpus-{}-{number}", std::process::id()));
        fs::create_dir_all(&root).expect("a temporary folder");
        let fixture = Fixture(root);
        for (path, text) in files {
            let path = fixture.0.join(path);
            fs::create_dir_all(path.parent().expect("files are below the root")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        fixture
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
