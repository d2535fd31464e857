//! Reads and writes at offsets.

use std::io;

use multikernel::fs::{File, OpenOptions};
use multikernel::{CoreId, on_each_core, spawn_local, spawn_on};

use crate::common::{on_both, pattern};

#[test]
fn what_is_written_at_offsets_is_read_there() {
    on_both(1, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        let data = pattern(100_000);
        let written = file.write_all_at(data.clone(), 5).await;
        assert_eq!((written.result?, written.buffer.unwrap().len()), (100_000, 100_000));
        let read = file.read_exact_at(vec![0; 100_000].into_boxed_slice(), 5).await;
        assert_eq!(read.result?, 100_000);
        assert_eq!(*read.buffer.unwrap(), *data);
        // What was not written is zero, and what lies behind is nothing.
        let read = file.read_at(Vec::with_capacity(8), 0).await;
        assert_eq!((read.result?, read.buffer.unwrap()[..5].to_vec()), (8, vec![0; 5]));
        let read = file.read_at(vec![1; 8], 100_005).await;
        assert_eq!((read.result?, read.buffer.unwrap()), (0, vec![]));
        Ok(())
    });
}

#[test]
fn buffers_are_filled_and_written_one_after_the_other() {
    on_both(1, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        let parts = vec![pattern(10), vec![], pattern(3000), pattern(7)];
        let all = parts.concat();
        let written = file.write_vectored_at(parts.clone(), 0).await;
        assert_eq!(written.result?, all.len());
        assert_eq!(written.buffer.unwrap(), parts);
        let buffers = vec![Vec::with_capacity(1000), vec![9; 2000], Vec::with_capacity(1000)];
        let read = file.read_vectored_at(buffers, 0).await;
        assert_eq!(read.result?, all.len());
        let buffers = read.buffer.unwrap();
        assert_eq!(buffers.iter().map(Vec::len).collect::<Vec<_>>(), [1000, 2000, 17]);
        assert_eq!(buffers.concat(), all);
        // More than one call takes.
        let many = vec![pattern(1); 1100];
        assert_eq!(file.write_vectored_at(many, 0).await.result?, 1024);
        assert_eq!(file.write_vectored_at(Vec::<Vec<u8>>::new(), 0).await.result?, 0);
        Ok(())
    });
}

#[test]
fn the_end_of_the_file_ends_an_exact_read_and_the_buffer_has_what_there_was() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), pattern(10))?;
        let file = File::open(folder.join("file")).await?;
        let read = file.read_exact_at(Vec::with_capacity(11), 0).await;
        assert_eq!(read.result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read.buffer.unwrap(), pattern(10));
        let nothing = file.read_exact_at(Vec::new(), 1000).await;
        assert_eq!(nothing.result?, 0);
        Ok(())
    });
}

#[test]
fn offsets_and_lengths_beyond_all_files_are_refused() {
    on_both(1, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        for offset in [u64::MAX, 1 << 63] {
            let read = file.read_at(vec![0; 4], offset).await;
            assert_eq!(read.result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(read.buffer.unwrap().len(), 4);
            let written = file.write_at(vec![0; 4], offset).await;
            assert_eq!(written.result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            let parts = file.read_vectored_at(vec![vec![0; 4]], offset).await;
            assert_eq!(parts.result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(file.set_len(offset).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(file.allocate(offset, 1).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        // The last offset there is: nothing to read, and too far to write.
        assert_eq!(file.read_at(vec![0; 4], i64::MAX as u64 - 4).await.result?, 0);
        assert!(file.write_at(vec![0; 4], i64::MAX as u64).await.result.is_err());
        assert_eq!(file.metadata().await?.len(), 0);
        Ok(())
    });
}

#[test]
fn nothing_is_read_and_written_at_no_cost() {
    on_both(1, |folder| async move {
        let file = File::create_new(folder.join("file")).await?;
        assert_eq!(file.write_at(Vec::new(), 0).await.result?, 0);
        assert_eq!(file.write_all_at(&b""[..], 10).await.result?, 0);
        assert_eq!(file.read_at(Vec::new(), 0).await.result?, 0);
        assert_eq!(file.metadata().await?.len(), 0);
        Ok(())
    });
}

#[test]
fn a_file_that_appends_grows_whatever_the_offset() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), "one")?;
        let file = OpenOptions::new().append(true).read(true).open(folder.join("file")).await?;
        file.write_at(&b", two"[..], 0).await.result?;
        assert_eq!(std::fs::read(folder.join("file"))?, b"one, two");
        Ok(())
    });
}

#[test]
fn a_thousand_operations_run_at_once() {
    on_both(1, |folder| async move {
        let file = std::rc::Rc::new(File::create_new(folder.join("file")).await?);
        let write = |number: u64| {
            let file = file.clone();
            spawn_local(async move { file.write_all_at(vec![number as u8; 512], number * 512).await.result })
        };
        for task in (0..1000).map(write).collect::<Vec<_>>() {
            assert_eq!(task.await??, 512);
        }
        let read = |number: u64| {
            let file = file.clone();
            spawn_local(async move { file.read_exact_at(vec![0; 512], number * 512).await })
        };
        for (number, task) in (0..1000).map(read).collect::<Vec<_>>().into_iter().enumerate() {
            let read = task.await?;
            assert_eq!(read.result?, 512);
            assert!(read.buffer.unwrap().iter().all(|byte| *byte == number as u8));
        }
        assert_eq!(file.metadata().await?.len(), 512_000);
        Ok(())
    });
}

#[test]
fn every_core_and_other_threads_use_one_file() {
    on_both(3, |folder| async move {
        let file = std::sync::Arc::new(File::create_new(folder.join("file")).await?);
        let shared = file.clone();
        for task in on_each_core(move || {
            let file = shared.clone();
            async move {
                let me = CoreId::current().index() as u64;
                file.write_all_at(vec![me as u8 + 1; 100], me * 100).await.result
            }
        }) {
            task.await??;
        }
        let shared = file.clone();
        let handle = multikernel::runtime::Handle::current();
        let guest = std::thread::spawn(move || {
            handle.block_on(async move { shared.read_exact_at(vec![0; 300], 0).await.buffer.unwrap() })
        });
        // Joined away from the cores, which may have to help.
        let (send, receive) = futures::channel::oneshot::channel();
        std::thread::spawn(move || send.send(guest.join().unwrap()));
        let read = receive.await.unwrap();
        assert_eq!(read, [[1; 100], [2; 100], [3; 100]].concat());
        let there = spawn_on(CoreId::new(2), move || async move { file.sync_all().await });
        there.await??;
        Ok(())
    });
}

#[test]
fn another_task_that_cuts_the_file_leaves_reads_short_and_never_wrong() {
    on_both(2, |folder| async move {
        let data = pattern(256 * 1024);
        std::fs::write(folder.join("file"), &data)?;
        let options = OpenOptions::new().read(true).write(true).clone();
        let file = std::sync::Arc::new(options.open(folder.join("file")).await?);
        let (cut, expected) = (file.clone(), data.clone());
        let cutter = spawn_on(CoreId::new(1), move || async move {
            for round in 0..200_u64 {
                cut.set_len(round % 5 * 50_000).await?;
                cut.write_all_at(data.clone(), 0).await.result?;
            }
            io::Result::Ok(())
        });
        while !cutter.is_finished() {
            let read = file.read_at(Vec::with_capacity(expected.len()), 0).await;
            let (count, read) = (read.result?, read.buffer.unwrap());
            assert_eq!(count, read.len());
            // A cut and a write may meet in the middle of a read: zeros where there was nothing for a moment.
            assert!(read.iter().zip(&expected).all(|(got, put)| got == put || *got == 0));
        }
        cutter.await?
    });
}
