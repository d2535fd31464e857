//! Direct I/O, with buffers at the right addresses and buffers that the ring knows.

use std::io::{self, ErrorKind};
use std::path::Path;

use multikernel::fs::{AlignedBuf, File, OpenOptions};
use multikernel::runtime::{DriverKind, Handle};
use multikernel::{CoreId, on_each_core, spawn_on};

use crate::common::{on_both, pattern, until_descriptors};
use crate::support::skip;

/// `None`, with the reason printed, on a file system that does not know it.
async fn open_direct(path: &Path) -> io::Result<Option<File>> {
    let options = OpenOptions::new().read(true).write(true).create(true).custom_flags(libc::O_DIRECT).clone();
    match options.open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            skip(format_args!("no O_DIRECT on {}", path.display()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn filled(mut buffer: AlignedBuf, length: usize) -> AlignedBuf {
    buffer.resize(length);
    buffer.copy_from_slice(&pattern(length));
    buffer
}

#[test]
fn aligned_buffers_pass_by_the_cache() {
    on_both(1, |folder| async move {
        let Some(file) = open_direct(&folder.join("file")).await? else { return Ok(()) };
        for buffer in [AlignedBuf::with_capacity(16384), AlignedBuf::registered()] {
            let written = file.write_all_at(filled(buffer, 16384), 4096).await;
            assert_eq!(written.result?, 16384);
            let mut buffer = written.buffer.unwrap();
            buffer.fill(0);
            let read = file.read_at(buffer, 4096).await;
            assert_eq!(read.result?, 16384);
            assert!(*read.buffer.unwrap() == *pattern(16384));
            // In parts, and with what the file has no more of.
            let read = file.read_at(AlignedBuf::with_capacity(8192), 16384).await;
            assert_eq!(read.result?, 4096);
            assert!(*read.buffer.unwrap() == pattern(16384)[12288..]);
        }
        Ok(())
    });
}

#[test]
fn a_buffer_at_a_wrong_address_or_offset_is_refused_by_the_system() {
    on_both(1, |folder| async move {
        let Some(file) = open_direct(&folder.join("file")).await? else { return Ok(()) };
        file.write_all_at(filled(AlignedBuf::registered(), 65536), 0).await.result?;
        let odd = file.read_at(AlignedBuf::with_capacity(4096), 1).await;
        assert_eq!(odd.result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(odd.buffer.unwrap().capacity(), 4096);
        Ok(())
    });
}

#[test]
fn registered_buffers_are_few_and_come_back_from_wherever_they_are_dropped() {
    on_both(2, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        file.write_all_at(pattern(65536), 0).await.result?;
        let has_ring = Handle::current().driver().kind == DriverKind::Uring;
        for round in 0..3 {
            let mut all: Vec<_> = (0..70).map(|_| AlignedBuf::registered()).collect();
            let known = all.iter().filter(|buffer| buffer.is_registered()).count();
            // None where the memory may not be locked.
            assert!(known == if has_ring { 64 } else { 0 } || known == 0 && round == 0, "{known}");
            let mut addresses: Vec<_> = all.iter().map(|buffer| buffer.as_ptr().addr()).collect();
            addresses.sort_unstable();
            assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 65536), "they overlap");
            for buffer in all.drain(..35) {
                let read = file.read_at(buffer, 0).await;
                assert_eq!(read.result?, 65536);
                assert!(*read.buffer.unwrap() == *pattern(65536));
            }
            // The rest on another core, which knows them not, and reads into them all the same.
            let shared = file.try_clone().await?;
            let there = spawn_on(CoreId::new(1), move || async move {
                for buffer in all {
                    let read = shared.read_at(buffer, 0).await;
                    assert_eq!(read.result?, 65536);
                    assert!(*read.buffer.unwrap() == *pattern(65536));
                }
                io::Result::Ok(())
            });
            there.await??;
            // What was dropped there comes by message, before this.
            for task in on_each_core(|| async {}) {
                task.await?;
            }
        }
        drop(file);
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn a_buffer_outlives_its_machine() {
    for (choice, _) in crate::common::DRIVERS {
        let buffer = multikernel::runtime::Builder::new_test()
            .driver(choice)
            .run(async || filled(AlignedBuf::registered(), 100));
        assert_eq!(*buffer.unwrap(), *pattern(100));
    }
}
