//! A process that is out of descriptors. Alone in its process, for it changes the limit.
#![cfg(not(loom))]

use std::fs::File as StdFile;
use std::time::{Duration, Instant};

use multikernel::fs::{self, File};
use multikernel::runtime::{Builder, DriverChoice};

fn limit(change: impl FnOnce(&mut libc::rlimit)) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads and writes the structure only.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = limit;
        change(&mut limit);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A thread that made a blocking call may hold its ended Machine, and so the Machine's bell, for a moment longer. Were that
/// closed in the middle of the next run, there would be a descriptor left.
fn wait_for_the_last_run(before: usize) {
    let started = Instant::now();
    while descriptors() > before {
        assert!(started.elapsed() < Duration::from_secs(30), "a run leaves descriptors open");
        std::thread::yield_now();
    }
}

#[test]
fn being_out_of_descriptors_is_an_error_and_passes() {
    let before = descriptors();
    for choice in [DriverChoice::Uring, DriverChoice::Epoll] {
        let main = async || {
            let file = File::open("/proc/self/exe").await.unwrap();
            let before = limit(|limit| limit.rlim_cur = 64);
            let mut all = Vec::new();
            while let Ok(one) = StdFile::open("/proc/self/exe") {
                all.push(one);
            }
            let out = |error: std::io::Error| assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            out(File::open("/proc/self/exe").await.unwrap_err());
            out(File::create("/dev/null").await.unwrap_err());
            out(file.try_clone().await.unwrap_err());
            out(fs::read("/proc/self/exe").await.unwrap_err());
            out(fs::read_dir("/proc/self").await.unwrap_err());
            // What is open works on.
            let read = file.read_at(Vec::with_capacity(4), 0).await;
            assert_eq!(read.buffer.unwrap(), b"\x7fELF");
            drop(all);
            file.try_clone().await.unwrap();
            File::open("/proc/self/exe").await.unwrap();
            limit(|limit| *limit = before);
        };
        Builder::new_test().driver(choice).run(main).unwrap();
        wait_for_the_last_run(before);
    }
}
