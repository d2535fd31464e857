//! Opening, reading and writing.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use super::tests_support::{
    TempFile, at, driver, each, has_ring, hold_at, kept, nothing_is_kept, on_both, poll_times, read_write,
    reads_on_every_core,
};
use super::{CloseError, FileError, OpenError, SharedFile};
use crate::driver::DriverChoice;
use crate::runtime::Builder;
use crate::task::yield_now;
use crate::{CoreId, spawn_on};

fn errno<T: std::fmt::Debug>(result: Result<T, FileError>) -> i32 {
    io::Error::from(result.unwrap_err()).raw_os_error().unwrap()
}

#[test]
fn every_core_reads_writes_and_syncs_the_same_file() {
    on_both(4, || async {
        let temp = TempFile::new(b"");
        let file = temp.open().await;
        let ring = usize::from(has_ring());
        assert_eq!(kept().await, [(1, ring); 4]);
        let written = each(move || async move {
            let me = CoreId::current().index() as u8;
            let written = file.write_at(vec![b'a' + me; 1000], u64::from(me) * 1000).await;
            file.sync_data().await.unwrap();
            file.sync_all().await.unwrap();
            written.result.unwrap()
        });
        assert_eq!(written.await, [1000; 4]);
        let read =
            each(move || async move { file.read_at(Vec::with_capacity(5000), 0).await.buffer.unwrap() });
        for content in read.await {
            let expected: Vec<u8> = (0..4000).map(|at| b'a' + (at / 1000) as u8).collect();
            assert!(content == expected);
        }
        assert_eq!(temp.descriptors(), 1, "one for all cores");
        file.close().await.unwrap();
        assert_eq!(temp.descriptors(), 0, "closed when the answer comes");
        assert_eq!(kept().await, [(0, 0); 4]);
    });
}

#[test]
fn a_machine_has_files_beside_timers_and_listeners() {
    on_both(2, || async {
        let timer = crate::time::machine::once(crate::time::Instant::now(), || {}).await.unwrap();
        let listener = crate::net::TcpListener::bind_each_core("127.0.0.1:0").await.unwrap();
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        assert_eq!(reads_on_every_core(file).await, [Some(7); 2]);
        file.close().await.unwrap();
        drop((timer, listener));
    });
}

#[test]
fn ends_and_errors_are_those_of_pread_and_give_the_buffer_back() {
    on_both(2, || async {
        let temp = TempFile::new(b"0123456789");
        let file = temp.open().await;
        let read = file.read_at(Vec::with_capacity(64), 7).await;
        assert_eq!((read.result.unwrap(), read.buffer.unwrap()), (3, b"789".to_vec()));
        // Whatever was in it; at the end there is nothing.
        let read = file.read_at(b"before".to_vec(), 10).await;
        assert_eq!((read.result.unwrap(), read.buffer.unwrap()), (0, Vec::new()));
        let plain = std::fs::File::open(temp.path()).unwrap();
        // A ring takes the last one for "where the file stands".
        for offset in [0, 6, 10, 1 << 40, i64::MAX as u64 - 4, i64::MAX as u64, 1 << 63, u64::MAX] {
            let read = file.read_at(vec![1; 4], offset).await;
            match plain.read_at(&mut [0; 4], offset) {
                Ok(count) => assert_eq!(read.result.unwrap(), count),
                Err(error) => {
                    assert_eq!(Some(errno(read.result)), error.raw_os_error());
                    assert_eq!(read.buffer.unwrap(), [1; 4]);
                }
            }
        }
        assert_eq!(errno(file.write_at(&b"x"[..], 1 << 63).await.result), libc::EINVAL);
        let read = file.read_at(Vec::new(), 0).await;
        assert_eq!((read.result.unwrap(), read.buffer.unwrap()), (0, Vec::new()));
        let read = file.read_at(Box::<[u8]>::from([b'_'; 4]), 8).await;
        assert_eq!((read.result.unwrap(), &read.buffer.unwrap()[..]), (2, &b"89__"[..]));
        // A hole before what is written.
        assert_eq!(file.write_at(b"end".to_vec(), 20).await.result.unwrap(), 3);
        assert_eq!(std::fs::read(temp.path()).unwrap(), b"0123456789\0\0\0\0\0\0\0\0\0\0end");
        file.close().await.unwrap();

        let read_only = std::fs::OpenOptions::new().read(true).clone();
        let file = SharedFile::open(temp.path(), &read_only).await.unwrap();
        let written = file.write_at(b"x".to_vec(), 0).await;
        assert_eq!((errno(written.result), written.buffer.unwrap()), (libc::EBADF, b"x".to_vec()));
        file.close().await.unwrap();
        let folder = SharedFile::open("/", &read_only).await.unwrap();
        assert_eq!(errno(folder.read_at(vec![0; 8], 0).await.result), libc::EISDIR);
        folder.close().await.unwrap();
    });
}

#[test]
fn a_full_disk_is_an_error_that_gives_the_buffer_back() {
    on_both(2, || async {
        let file = SharedFile::open("/dev/full", &read_write()).await.unwrap();
        let written = file.write_at(b"too much".to_vec(), 0).await;
        assert_eq!((errno(written.result), written.buffer.unwrap()), (libc::ENOSPC, b"too much".to_vec()));
        file.close().await.unwrap();
    });
}

#[test]
fn files_opened_not_to_block_are_read_all_the_same() {
    on_both(1, || async {
        let temp = TempFile::new(b"0123456789");
        let options = read_write().custom_flags(libc::O_NONBLOCK).clone();
        let file = SharedFile::open(temp.path(), &options).await.unwrap();
        assert_eq!(file.read_at(Vec::with_capacity(64), 0).await.result.unwrap(), 10);
        file.close().await.unwrap();
    });
}

#[test]
fn what_has_no_offsets_is_refused() {
    let temp = TempFile::new(b"");
    let path = temp.path().with_extension("fifo");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a string that ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let fifo = path.clone();
    on_both(2, move || {
        let fifo = fifo.clone();
        async move {
            match SharedFile::open(fifo, &read_write()).await {
                Err(OpenError::Io(error)) => assert_eq!(error.raw_os_error(), Some(libc::ESPIPE)),
                other => panic!("{other:?}"),
            }
            assert_eq!(kept().await, [(0, 0); 2]);
        }
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_core_that_refuses_rolls_every_core_back_and_is_named() {
    on_both(4, || async {
        let (first, second) = (TempFile::new(b"first"), TempFile::new(b"second"));
        at(2, || driver(|driver| driver.limit_files(1))).await;
        let file = first.open().await;
        for opener in [0, 2, 3] {
            let path = second.path().to_owned();
            let refused =
                spawn_on(
                    CoreId::new(opener),
                    move || async move { SharedFile::open(path, &read_write()).await },
                );
            match refused.await.unwrap() {
                Err(OpenError::Full { by, limit: 1 }) => assert_eq!(by.index(), 2),
                other => panic!("{other:?}"),
            }
            assert!(kept().await.iter().all(|(files, _)| *files == 1));
            assert_eq!((first.descriptors(), second.descriptors()), (1, 0));
        }
        assert_eq!(reads_on_every_core(file).await, [Some(5); 4]);
        file.close().await.unwrap();
        // The slots are as before, too: the next file gets the first.
        let file = second.open().await;
        assert_eq!(file.id().slot, 0);
        assert_eq!(reads_on_every_core(file).await, [Some(6); 4]);
        file.close().await.unwrap();
    });
}

#[test]
fn what_a_ring_does_not_register_is_refused_with_its_reason() {
    on_both(2, || async {
        let Some(ring) = driver(|driver| driver.ring_fd()) else { return };
        // SAFETY: the core has its ring open.
        let ring = unsafe { BorrowedFd::borrow_raw(ring) }.try_clone_to_owned().unwrap();
        match SharedFile::share(ring).await {
            Err(OpenError::Register { error, .. }) => assert_eq!(error.raw_os_error(), Some(libc::EBADF)),
            other => panic!("{other:?}"),
        }
        assert_eq!(kept().await, [(0, 0); 2]);
    });
}

#[test]
fn a_core_whose_ring_has_no_table_uses_the_descriptor() {
    on_both(2, || async {
        at(1, || driver(|driver| driver.refuse_registration())).await;
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        assert_eq!(kept().await, [(1, usize::from(has_ring())), (1, 0)]);
        assert_eq!(reads_on_every_core(file).await, [Some(7); 2]);
        file.close().await.unwrap();
        assert_eq!(temp.descriptors(), 0);
    });
}

#[test]
fn guests_use_files_and_other_machines_do_not_know_them() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        let runtime = Builder::new_test().cores(2).driver(driver).build().unwrap();
        let other = Builder::new_test().driver(driver).build().unwrap();
        let temp = TempFile::new(b"content");
        let file = runtime.block_on(temp.open());
        assert_eq!(runtime.block_on(file.write_at(b"C".to_vec(), 0)).result.unwrap(), 1);
        let read = runtime.block_on(file.read_at(vec![0; 8], 0));
        assert_eq!((read.result.unwrap(), read.buffer.unwrap()), (7, b"Content".to_vec()));
        let strange = other.block_on(file.read_at(vec![0; 8], 0));
        assert!(matches!(strange.result, Err(FileError::Closed)) && strange.buffer.is_some());
        assert_eq!(other.block_on(file.close()), Err(CloseError::Closed));
        runtime.block_on(file.sync_all()).unwrap();
        runtime.block_on(file.close()).unwrap();
        assert_eq!(temp.descriptors(), 0);
    }
}

#[test]
fn a_future_dropped_at_any_point_leaves_nothing_open() {
    on_both(3, || async {
        for times in 0..12 {
            let temp = TempFile::new(b"content");
            let opened = poll_times(SharedFile::open(temp.path(), &read_write()), times).await;
            if let Some(file) = opened {
                file.unwrap().close().await.unwrap();
            }
            nothing_is_kept().await;
            while temp.descriptors() > 0 {
                yield_now().await;
            }

            let file = temp.open().await;
            let _ = poll_times(file.read_at(vec![0; 8], 0), times).await;
            let _ = poll_times(file.write_at(b"CONTENT".to_vec(), 0), times).await;
            let _ = poll_times(file.sync_all(), times).await;
            let closed = match times % 2 {
                0 => poll_times(file.close(), times).await,
                _ => poll_times(file.try_close(), times).await,
            };
            if closed != Some(Ok(())) {
                let _ = file.close().await; // it may be closed already
            }
            nothing_is_kept().await;
            while temp.descriptors() > 0 {
                yield_now().await;
            }
        }
    });
}

#[test]
fn ten_thousand_files_leave_nothing_behind() {
    on_both(2, || async {
        let temp = TempFile::new(b"content");
        let std_file = Arc::new(std::fs::File::open(temp.path()).unwrap());
        for cycle in 0..10_000 {
            let file = SharedFile::share(OwnedFd::from(std_file.try_clone().unwrap())).await.unwrap();
            assert_eq!(file.id().slot, 0, "slots are used again");
            if cycle % 16 == 0 {
                assert_eq!(file.read_at(vec![0; 8], 0).await.result.unwrap(), 7);
            }
            file.close().await.unwrap();
        }
        assert_eq!(temp.descriptors(), 1, "the one that was cloned");
        assert_eq!(kept().await, [(0, 0); 2]);
    });
}

#[test]
fn a_machine_ends_with_operations_at_work_and_files_open() {
    on_both(3, || async {
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        let lease = hold_at(1, file).await;
        for core in 0..3 {
            drop(spawn_on(CoreId::new(core), move || async move {
                loop {
                    let _ = file.read_at(vec![0; 1 << 16], 0).await;
                }
            }));
        }
        drop(crate::spawn(file.close()));
        yield_now().await;
        // Forgotten, it never lets the file go: the end does not wait for it.
        std::mem::forget(lease);
        if has_ring() {
            let (pipe, _writer) = pipe();
            let silent = SharedFile::share(pipe).await.unwrap();
            drop(crate::spawn(silent.read_at(vec![0; 8], 0)));
            yield_now().await;
            std::mem::forget(_writer);
        }
    });
}

pub(super) fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: the system writes two descriptors there, which are nobody else's.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}
