//! Closing.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::tests::pipe;
use super::tests_support::{
    TempFile, at, driver, each, has_ring, hold_at, kept, nothing_is_kept, on_both, poll_once, poll_times,
    reads_on_every_core, wake_all,
};
use super::{CloseError, FileError, OpenError, SharedFile};
use crate::spawn_local;
use crate::task::{unconstrained, yield_now};

/// Closes a file in a task of its own.
fn close_aside(file: SharedFile) -> (crate::task::JoinHandle<()>, Arc<AtomicBool>) {
    let closed = Arc::new(AtomicBool::new(false));
    let says = closed.clone();
    let task = spawn_local(async move {
        file.close().await.unwrap();
        says.store(true, Ordering::Release);
    });
    (task, closed)
}

/// Until no core starts anything on the file any more.
async fn committed(file: SharedFile) {
    while reads_on_every_core(file).await.iter().any(Option::is_some) {
        yield_now().await;
    }
}

#[test]
fn close_waits_for_what_is_in_flight_on_every_core() {
    on_both(4, || async {
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        let mut leases = Vec::new();
        for core in [1, 3, 3] {
            leases.push(hold_at(core, file).await);
        }
        let (task, closed) = close_aside(file);
        committed(file).await;
        let files: Vec<_> = kept().await.into_iter().map(|(files, _)| files).collect();
        assert_eq!(files, [0, 1, 0, 1], "cores with nothing in flight have let go");
        while let Some(lease) = leases.pop() {
            wake_all().await;
            assert!(!closed.load(Ordering::Acquire), "{} are in flight", leases.len() + 1);
            assert_eq!(temp.descriptors(), 1);
            drop(lease);
        }
        task.await.unwrap();
        assert_eq!(temp.descriptors(), 0);
        assert_eq!(kept().await, [(0, 0); 4]);
    });
}

#[test]
fn a_read_on_the_ring_ends_as_if_nothing_had_happened_and_then_the_file_is_closed() {
    on_both(2, || async {
        if !has_ring() {
            return;
        }
        // A pipe takes as long as we like.
        let (reader, writer) = pipe();
        let file = SharedFile::share(reader).await.unwrap();
        let reading = at(1, move || spawn_local(file.read_at(Vec::with_capacity(64), 0))).await;
        while at(1, move || driver(|driver| driver.file_ops(file.id()))).await != Some(1) {
            yield_now().await;
        }
        let (task, closed) = close_aside(file);
        while at(1, move || driver(|driver| driver.file_ops(file.id()))).await.is_some() {
            yield_now().await;
        }
        wake_all().await;
        assert!(!closed.load(Ordering::Acquire));
        File::from(writer).write_all(b"late").unwrap();
        task.await.unwrap();
        let read = reading.await.unwrap();
        assert_eq!((read.result.unwrap(), read.buffer.unwrap()), (4, b"late".to_vec()));
        assert_eq!(kept().await, [(0, 0); 2]);
    });
}

#[test]
fn many_large_reads_in_flight_all_succeed_while_the_file_is_closed() {
    const SIZE: usize = 1 << 20;
    on_both(4, || async {
        let temp = TempFile::new(&vec![7; SIZE]);
        let file = temp.open().await;
        let started = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let says = started.clone();
        let readers = crate::on_each_core(move || {
            let says = says.clone();
            async move {
                let reads = (0..8).map(|_| file.read_at(Vec::with_capacity(SIZE), 0));
                // All begin in this poll, also if the turn is over by then.
                let mut reads = Box::pin(unconstrained(futures::future::join_all(reads)));
                assert!(poll_once(reads.as_mut()).await.is_pending());
                says.fetch_add(1, Ordering::Release);
                reads.await
            }
        });
        while started.load(Ordering::Acquire) < 4 {
            yield_now().await;
        }
        file.close().await.unwrap();
        assert_eq!(temp.descriptors(), 0);
        for reader in readers {
            for read in reader.await.unwrap() {
                assert_eq!(read.result.unwrap(), SIZE);
                assert!(read.buffer.unwrap().iter().all(|byte| *byte == 7));
            }
        }
    });
}

#[test]
fn try_close_refuses_a_busy_file_and_leaves_it_as_it_was() {
    on_both(4, || async {
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        let leases = [hold_at(2, file).await, hold_at(2, file).await];
        for _ in 0..3 {
            match file.try_close().await {
                Err(CloseError::Busy { core, in_flight }) => assert_eq!((core.index(), in_flight), (2, 2)),
                other => panic!("{other:?}"),
            }
            assert_eq!(reads_on_every_core(file).await, [Some(7); 4]);
        }
        drop(leases);
        while at(2, move || driver(|driver| driver.file_ops(file.id()))).await != Some(0) {
            yield_now().await;
        }
        file.try_close().await.unwrap();
        assert_eq!(file.try_close().await, Err(CloseError::Closed));
        assert_eq!(reads_on_every_core(file).await, [None; 4]);
        assert_eq!((temp.descriptors(), kept().await), (0, vec![(0, 0); 4]));
    });
}

#[test]
fn a_stale_handle_gets_an_error_and_never_another_file() {
    on_both(4, || async {
        let (old, new) = (TempFile::new(b"old"), TempFile::new(b"new content"));
        let stale = old.open().await;
        stale.close().await.unwrap();
        let file = new.open().await;
        assert_eq!((stale.id().slot, stale != file), (file.id().slot, true));
        let stale_reads = each(move || async move {
            let read = stale.read_at(vec![0; 8], 0).await;
            let written = stale.write_at(b"wrong".to_vec(), 0).await;
            let synced = stale.sync_all().await;
            let closed = [stale.close().await, stale.try_close().await];
            assert_eq!(closed, [Err(CloseError::Closed); 2]);
            assert!(matches!(written.result, Err(FileError::Closed)) && written.buffer.is_some());
            assert!(matches!(synced, Err(FileError::Closed)));
            matches!(read.result, Err(FileError::Closed)) && read.buffer == Some(vec![0; 8])
        });
        assert_eq!(stale_reads.await, [true; 4]);
        assert_eq!(std::fs::read(new.path()).unwrap(), b"new content");
        assert_eq!(reads_on_every_core(file).await, [Some(8); 4]);
        file.close().await.unwrap();
    });
}

#[test]
fn a_slot_is_used_again_while_its_former_file_has_operations_in_flight() {
    on_both(2, || async {
        let (old, new) = (TempFile::new(b"old"), TempFile::new(b"new content"));
        let former = old.open().await;
        let lease = hold_at(1, former).await;
        let (task, closed) = close_aside(former);
        committed(former).await;
        let file = new.open().await;
        assert_eq!(file.id().slot, former.id().slot);
        assert_eq!(reads_on_every_core(file).await, [Some(8); 2]);
        // The place on the core is another; what drains counts against the limit there.
        at(1, || driver(|driver| driver.limit_files(2))).await;
        let third = SharedFile::open(old.path(), &super::tests_support::read_write()).await;
        assert!(matches!(third, Err(OpenError::Full { by, limit: 2 }) if by.index() == 1), "{third:?}");
        assert!(!closed.load(Ordering::Acquire));
        drop(lease);
        task.await.unwrap();
        old.open().await.close().await.unwrap();
        assert_eq!(reads_on_every_core(file).await, [Some(8); 2]);
        file.close().await.unwrap();
        assert_eq!((old.descriptors(), new.descriptors()), (0, 0));
    });
}

#[test]
fn a_close_that_nobody_waits_for_closes_all_the_same() {
    on_both(3, || async {
        let temp = TempFile::new(b"content");
        let file = temp.open().await;
        let lease = hold_at(2, file).await;
        assert_eq!(poll_times(file.close(), 1).await, None);
        committed(file).await;
        assert_eq!(file.close().await, Err(CloseError::Closed));
        assert_eq!(temp.descriptors(), 1);
        drop(lease);
        nothing_is_kept().await;
        assert_eq!(temp.descriptors(), 0);
        // Before the first poll nothing is proposed.
        let file = temp.open().await;
        drop(file.close());
        assert_eq!(reads_on_every_core(file).await, [Some(7); 3]);
        file.close().await.unwrap();
    });
}
