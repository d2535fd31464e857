//! Files through tokio's traits.

use std::io::{ErrorKind, IoSlice, Read, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::pin::pin;

use multikernel::fs::{File, OpenOptions};
use multikernel::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};

use crate::common::{give_up_after, on_both, pattern, poll_once, until_descriptors};

#[test]
fn what_is_written_is_read() {
    on_both(1, |folder| async move {
        let data = pattern(5_000_000);
        let mut file = File::create_new(folder.join("file")).await?;
        file.write_all(&data).await?;
        file.flush().await?;
        assert!(std::fs::read(folder.join("file"))? == data);
        assert_eq!(file.stream_position().await?, 5_000_000);
        file.rewind().await?;
        let mut all = Vec::new();
        file.read_to_end(&mut all).await?;
        assert!(all == data);
        assert_eq!(file.read(&mut [0; 8]).await?, 0);
        assert_eq!(file.read(&mut []).await?, 0);
        Ok(())
    });
}

#[test]
fn small_buffers_and_several_slices_change_nothing() {
    on_both(1, |folder| async move {
        let data = pattern(3000);
        let mut file = File::create_new(folder.join("file")).await?;
        file.set_max_buf_size(7);
        assert_eq!(file.write(&data).await?, 7);
        file.write_all(&data[7..1000]).await?;
        let slices = [IoSlice::new(&data[1000..1003]), IoSlice::new(&[]), IoSlice::new(&data[1003..])];
        assert_eq!(file.write_vectored(&slices).await?, 7);
        file.write_all(&data[1007..]).await?;
        file.shutdown().await?;
        file.seek(SeekFrom::Start(0)).await?;
        let mut text = Vec::new();
        BufReader::new(&mut file).read_to_end(&mut text).await?;
        assert!(text == data);
        Ok(())
    });
}

#[test]
fn the_position_counts_from_what_was_handed_out() {
    on_both(1, |folder| async move {
        let data = pattern(1000);
        std::fs::write(folder.join("file"), &data)?;
        let options = OpenOptions::new().read(true).write(true).clone();
        for waits in 0..4 {
            let mut file = options.open(folder.join("file")).await?;
            let mut some = [0; 10];
            file.read_exact(&mut some).await?;
            // Brings a hundred bytes that nobody takes.
            let gone = give_up_after(waits, file.read(&mut [0; 100])).await;
            let at = 10 + gone.transpose()?.unwrap_or(0);
            assert_eq!(file.stream_position().await?, at as u64);
            file.read_exact(&mut some).await?;
            assert_eq!(some, data[at..at + 10]);
            let gone = give_up_after(waits, file.read(&mut [0; 100])).await;
            let at = at + 10 + gone.transpose()?.unwrap_or(0);
            // What was read ahead comes first, in parts too.
            file.read_exact(&mut some[..5]).await?;
            assert_eq!(some[..5], data[at..at + 5]);
            assert_eq!(file.seek(SeekFrom::Current(-5)).await?, at as u64);
            drop(give_up_after(waits, file.seek(SeekFrom::End(-1))).await);
            assert_eq!(file.seek(SeekFrom::Start(20)).await?, 20);
            assert!(file.seek(SeekFrom::Current(-21)).await.is_err());
            assert_eq!(file.stream_position().await?, 20);
            // A write goes where the reader is.
            let gone = give_up_after(waits, file.read(&mut [0; 100])).await;
            let at = 20 + gone.transpose()?.unwrap_or(0);
            file.write_all(&data[at..at + 10]).await?;
            file.flush().await?;
            assert_eq!(file.stream_position().await?, at as u64 + 10);
            assert!(std::fs::read(folder.join("file"))? == data);
            // And so does std.
            let gone = give_up_after(waits, file.read(&mut [0; 100])).await;
            let at = at + 10 + gone.transpose()?.unwrap_or(0);
            let mut file = file.into_std().await;
            file.read_exact(&mut some)?;
            assert_eq!(some, data[at..at + 10]);
        }
        Ok(())
    });
}

#[test]
fn writes_given_up_are_written_whole_or_not_at_all() {
    on_both(1, |folder| async move {
        let mut expected = Vec::new();
        let mut file = File::create(folder.join("file")).await?;
        for round in 0..200 {
            let block = pattern(round * 10 + 1);
            // Ready means taken; given up means not.
            if let Some(taken) = give_up_after(round % 3, file.write(&block)).await {
                expected.extend_from_slice(&block[..taken?]);
            }
            drop(give_up_after(round % 4, file.flush()).await);
        }
        file.flush().await?;
        assert!(std::fs::read(folder.join("file"))? == expected);
        drop(file);
        until_descriptors(&folder, 0).await;
        Ok(())
    });
}

#[test]
fn what_is_under_way_goes_on_when_the_file_is_dropped() {
    on_both(1, |folder| async move {
        for round in 0..20 {
            let data = pattern(100_000 + round);
            let mut file = File::create(folder.join("file")).await?;
            assert_eq!(file.write(&data).await?, data.len());
            drop(file);
            until_descriptors(&folder, 0).await;
            assert!(std::fs::read(folder.join("file"))? == data);
        }
        Ok(())
    });
}

#[test]
fn appended_writes_go_to_the_end() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), "one")?;
        let options = OpenOptions::new().append(true).clone();
        let mut first = options.open(folder.join("file")).await?;
        let mut second = options.open(folder.join("file")).await?;
        first.write_all(b", two").await?;
        first.flush().await?;
        second.write_all(b", three").await?;
        second.sync_all().await?;
        first.write_all(b", four").await?;
        first.sync_data().await?;
        assert_eq!(std::fs::read_to_string(folder.join("file"))?, "one, two, three, four");
        Ok(())
    });
}

#[test]
fn a_failed_write_is_told_once_by_whatever_comes_next() {
    on_both(1, |folder| async move {
        std::fs::write(folder.join("file"), "content")?;
        let next: [Way; 4] = [
            ("write", |mut file| Box::pin(async move { (file.write(b"x").await.map(drop), file) })),
            ("flush", |mut file| Box::pin(async move { (file.flush().await, file) })),
            ("sync_all", |file| Box::pin(async move { (file.sync_all().await, file) })),
            ("shutdown", |mut file| Box::pin(async move { (file.shutdown().await, file) })),
        ];
        for (name, next) in next {
            // Not open for writing: the error comes when the write is under way.
            let mut file = File::open(folder.join("file")).await?;
            assert_eq!(file.write(b"lost").await?, 4);
            let (told, mut file) = next(file).await;
            assert_eq!(told.unwrap_err().raw_os_error(), Some(libc::EBADF), "{name}");
            file.flush().await?;
            let mut text = String::new();
            file.read_to_string(&mut text).await?;
            assert_eq!(text, "content", "{name}");
        }
        Ok(())
    });
}

/// The name of a call, and the call.
type Way = (&'static str, fn(File) -> Next);

type Next = std::pin::Pin<Box<dyn Future<Output = (std::io::Result<()>, File)>>>;

#[test]
fn pipes_are_read_and_written_as_streams() {
    on_both(1, |_| async move {
        let (reader, mut writer) = std::io::pipe()?;
        let mut file = File::from(OwnedFd::from(reader));
        let mut some = [0; 5];
        // Nobody writes: what waits is given up, and gets what comes then.
        {
            let mut read = pin!(file.read(&mut some));
            assert!(poll_once(&mut read).await.is_pending());
        }
        writer.write_all(b"hello, all")?;
        drop(writer);
        let mut text = String::new();
        file.read_to_string(&mut text).await?;
        assert_eq!(text, "hello, all");

        let (mut reader, writer) = std::io::pipe()?;
        let mut file = File::from(OwnedFd::from(writer));
        file.write_all(b"hello").await?;
        file.flush().await?;
        reader.read_exact(&mut some)?;
        assert_eq!(&some, b"hello");
        assert_eq!(file.seek(SeekFrom::Start(0)).await.unwrap_err().raw_os_error(), Some(libc::ESPIPE));
        drop(reader);
        file.write_all(b"gone").await?;
        assert_eq!(file.flush().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn a_seek_begun_during_another_operation_is_refused() {
    on_both(1, |_| async move {
        use multikernel::io::AsyncSeek;
        let (reader, writer) = std::io::pipe()?;
        let mut file = File::from(OwnedFd::from(reader));
        assert!(give_up_after(1, file.read(&mut [0; 4])).await.is_none());
        assert!(pin!(&mut file).start_seek(SeekFrom::Start(0)).is_err());
        let mut file = file.try_into_std().expect_err("a read is under way");
        drop(writer);
        assert!(matches!(give_up_after(usize::MAX, file.read(&mut [0; 4])).await, Some(Ok(0))));
        Ok(())
    });
}
