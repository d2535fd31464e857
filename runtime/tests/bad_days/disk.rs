//! A disk that fills up: those who write are told, what was acknowledged is there, and a Machine ends all the same.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use multikernel::fs::{FileError, SharedFile};
use multikernel::runtime::Builder;
use multikernel::task::JoinSet;
use multikernel::time::timeout;
use multikernel::{CoreId, cores, spawn_on};

use crate::common::{DRIVERS, PATIENCE, alone, assert_driver, census, until_as_before};
use crate::ends::{BLOCK, block};
use crate::support::skip;

const BLOCKS: usize = 64;

/// A file system for [`BLOCKS`] blocks, mounted nowhere: it ends with its descriptor.
struct SmallDisk(OwnedFd);

impl SmallDisk {
    fn new() -> io::Result<SmallDisk> {
        const SET_STRING: i32 = 1;
        const CREATE: i32 = 6;
        const SIZE: &CStr = c"262144";
        const _: () = assert!(BLOCKS * BLOCK == 262_144);
        let done = |result: libc::c_long| {
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
        };
        // SAFETY: all strings end with a zero and live across the calls; each number that is taken over is a new descriptor.
        unsafe {
            let context = OwnedFd::from_raw_fd(done(libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0))?);
            let (number, key, none) =
                (context.as_raw_fd(), c"size".as_ptr(), std::ptr::null::<libc::c_char>());
            done(libc::syscall(libc::SYS_fsconfig, number, SET_STRING, key, SIZE.as_ptr(), 0))?;
            done(libc::syscall(libc::SYS_fsconfig, number, CREATE, none, none, 0))?;
            Ok(SmallDisk(OwnedFd::from_raw_fd(done(libc::syscall(libc::SYS_fsmount, number, 0, 0))?)))
        }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/file", self.0.as_raw_fd()))
    }
}

/// Writes blocks of its own until the disk is full, and says how many have been acknowledged.
async fn fill(file: SharedFile, part: usize, parts: usize, acknowledged: Arc<AtomicUsize>) {
    for n in (part..).step_by(parts) {
        let written = file.write_at(block(n as u64), (n * BLOCK) as u64).await;
        match written.result {
            Ok(count) => assert_eq!(count, BLOCK),
            Err(FileError::Io(error)) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                assert_eq!(written.buffer.unwrap(), block(n as u64), "it comes back as it was");
                return;
            }
            Err(other) => panic!("{other}"),
        }
        acknowledged.store(n + 1, SeqCst);
    }
}

/// All cores write to one file until there is no room; then the Machine ends with more writes under way.
async fn a_day(path: PathBuf, acknowledged: Vec<Arc<AtomicUsize>>) {
    let options = OpenOptions::new().read(true).write(true).create_new(true).clone();
    let file = SharedFile::open(path, &options).await.unwrap();
    let parts = cores().len();
    let mut filling = JoinSet::new();
    for core in cores() {
        let acknowledged = acknowledged[core.index()].clone();
        filling.spawn(async move {
            spawn_on(core, move || fill(file, core.index(), parts, acknowledged)).await.unwrap();
        });
    }
    while let Some(filled) = filling.join_next().await {
        filled.unwrap();
    }
    file.sync_all().await.unwrap();
    for n in 0..10 {
        drop(spawn_on(CoreId::new(n % parts), move || async move {
            loop {
                let written = file.write_at(block(7), (1000 * BLOCK) as u64).await;
                assert!(written.result.is_err(), "there is no room");
            }
        }));
    }
    multikernel::task::yield_now().await;
}

fn check(disk: &SmallDisk, acknowledged: &[Arc<AtomicUsize>]) {
    let found = std::fs::read(disk.path()).unwrap();
    let mut all = 0;
    for (part, end) in acknowledged.iter().enumerate() {
        for n in (part..end.load(SeqCst)).step_by(acknowledged.len()) {
            assert!(found[n * BLOCK..][..BLOCK] == block(n as u64), "block {n} is lost");
            all += 1;
        }
    }
    assert!((BLOCKS / 2..=BLOCKS).contains(&all), "{all} blocks");
}

#[test]
fn a_disk_fills_up_under_all_cores_and_what_was_acknowledged_is_there() {
    alone("disk::a_disk_fills_up_under_all_cores_and_what_was_acknowledged_is_there", || {
        if let Err(error) = SmallDisk::new() {
            return skip(format_args!("no file system to fill: {error}"));
        }
        let before = census();
        for (driver, kind) in DRIVERS {
            for _ in 0..5 {
                let disk = SmallDisk::new().unwrap();
                let acknowledged: Vec<_> = (0..3).map(|_| Arc::default()).collect();
                let day = a_day(disk.path(), acknowledged.clone());
                let run = Builder::new_test().cores(3).driver(driver).run(|| async move {
                    assert_driver(&multikernel::runtime::Handle::current(), kind);
                    timeout(PATIENCE, day).await
                });
                run.unwrap().expect("it hangs");
                check(&disk, &acknowledged);
                drop(disk);
                until_as_before(&before, &kind.to_string());
            }
        }
    });
}
