//! Copying from a file.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, SeekFrom, Write};
use std::pin::Pin;
use std::task::Poll;

use multikernel::fs::File;
use multikernel::io::{
    AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufWriter, copy, duplex,
};
use multikernel::net::{TcpStream, UnixStream};
use multikernel::spawn;
use multikernel::task::{JoinHandle, yield_now};
use socket2::SockRef;

use crate::common::{on_both, pair, pattern, poll_once};
use crate::support::{Folder, done_within};

const LENGTH: usize = 3_000_000;

fn receive(mut stream: TcpStream) -> JoinHandle<io::Result<Vec<u8>>> {
    spawn(async move {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.map(|_| got)
    })
}

/// What a copy from `file` brings, which must be as much as it says.
async fn copied(file: &mut File) -> io::Result<Vec<u8>> {
    let (mut near, far) = pair().await?;
    let received = receive(far);
    let count = copy(file, &mut near).await?;
    drop(near);
    let got = received.await.unwrap()?;
    assert_eq!(count, got.len() as u64);
    Ok(got)
}

/// A connection that cannot hold so much as half a file.
async fn narrow_pair() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = pair().await?;
    SockRef::from(&near).set_send_buffer_size(64 * 1024)?;
    SockRef::from(&far).set_recv_buffer_size(64 * 1024)?;
    Ok((near, far))
}

/// A copy from a file to a connection that is in its midst, for nobody reads yet.
async fn stuck(mut file: File) -> io::Result<(TcpStream, JoinHandle<io::Result<(File, u64)>>)> {
    let (mut near, far) = narrow_pair().await?;
    let copying = spawn(async move { copy(&mut file, &mut near).await.map(|count| (file, count)) });
    far.peek(&mut [0]).await?;
    Ok((far, copying))
}

#[test]
fn it_begins_at_the_position_and_leaves_it_at_the_end() {
    on_both(2, || async {
        let (folder, data) = (Folder::new("copy-position"), pattern(LENGTH));
        std::fs::write(folder.join("file"), &data)?;
        let opened = || OpenOptions::new().read(true).write(true).open(folder.join("file"));
        let ours = File::options().read(true).write(true).open(folder.join("file")).await?;
        for mut file in [ours, File::from_std(opened()?)] {
            for from in [0, 1, LENGTH / 2, LENGTH - 8192, LENGTH - 1, LENGTH, LENGTH + 10] {
                file.seek(SeekFrom::Start(from as u64)).await?;
                assert!(copied(&mut file).await? == data[from.min(LENGTH)..], "from {from}");
                assert_eq!(file.stream_position().await?, from.max(LENGTH) as u64);
            }
            // Behind what reads have handed out, and not what those that were given up have brought.
            for waits in 0..4 {
                file.seek(SeekFrom::Start(1000)).await?;
                let mut room = [0; 5000];
                let read = done_within(waits, file.read(&mut room)).await.transpose()?.unwrap_or(0);
                assert!(copied(&mut file).await? == data[1000 + read..], "{waits} waits");
            }
            // A seek that was begun and one to its end, and a write that was not waited for.
            file.rewind().await?;
            Pin::new(&mut file).start_seek(SeekFrom::End(-17))?;
            assert!(copied(&mut file).await? == data[LENGTH - 17..]);
            file.seek(SeekFrom::Start(10)).await?;
            file.write_all(&data[10..15]).await?;
            assert!(copied(&mut file).await? == data[15..]);
        }
        Ok(())
    });
}

#[test]
fn a_buffer_may_be_small_and_the_writer_any() {
    on_both(1, || async {
        let (folder, data) = (Folder::new("copy-writers"), pattern(200_000));
        std::fs::write(folder.join("file"), &data)?;
        let mut file = File::open(folder.join("file")).await?;
        file.set_max_buf_size(999);
        let mut got = Vec::new();
        assert_eq!(copy(&mut file, &mut got).await?, 200_000);
        assert!(got == data);
        // The last part is flushed.
        file.rewind().await?;
        let (mut near, mut far) = duplex(100);
        let reading = spawn(async move {
            let mut got = vec![0; 200_000];
            far.read_exact(&mut got).await.map(|_| (got, far))
        });
        let mut writer = BufWriter::new(&mut near);
        assert_eq!(copy(&mut file, &mut writer as &mut (dyn AsyncWrite + Unpin)).await?, 200_000);
        assert!(reading.await.unwrap()?.0 == data);
        // A half, and a Unix stream.
        file.rewind().await?;
        let (near, far) = pair().await?;
        let received = receive(far);
        copy(&mut file, &mut near.into_split().1).await?;
        assert!(received.await.unwrap()? == data);
        file.rewind().await?;
        let (mut near, mut far) = UnixStream::pair()?;
        let mut got = vec![0; 200_000];
        let (count, read) = multikernel::join!(copy(&mut file, &mut near), far.read_exact(&mut got));
        assert_eq!((count?, read?), (200_000, 200_000));
        assert!(got == data);
        Ok(())
    });
}

#[test]
fn what_is_empty_or_has_no_length_is_copied_to_its_end() {
    on_both(1, || async {
        let folder = Folder::new("copy-odd");
        std::fs::write(folder.join("file"), b"")?;
        assert!(copied(&mut File::open(folder.join("file")).await?).await?.is_empty());
        let mut made_up = File::open("/proc/version").await?;
        assert_eq!(made_up.metadata().await?.len(), 0);
        assert!(copied(&mut made_up).await? == std::fs::read("/proc/version")?);
        let error = copied(&mut File::open("/proc").await?).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let mut unreadable = OpenOptions::new().write(true).open(folder.join("file")).map(File::from_std)?;
        assert_eq!(copied(&mut unreadable).await.unwrap_err().raw_os_error(), Some(libc::EBADF));
        // A pipe ends when its last writer does.
        let (reader, mut writer) = io::pipe()?;
        let sending = std::thread::spawn(move || writer.write_all(&pattern(LENGTH)));
        assert!(
            copied(&mut File::from_std(std::os::fd::OwnedFd::from(reader).into())).await? == pattern(LENGTH)
        );
        sending.join().unwrap()
    });
}

#[test]
fn a_file_that_changes_meanwhile_is_copied_as_it_is_read() {
    on_both(2, || async {
        let (folder, data) = (Folder::new("copy-changing"), pattern(LENGTH));
        let path = folder.join("file");
        std::fs::write(&path, &data)?;
        let (far, copying) = stuck(File::open(&path).await?).await?;
        OpenOptions::new().append(true).open(&path)?.write_all(b"and more")?;
        let got = receive(far);
        assert_eq!(copying.await.unwrap()?.1, LENGTH as u64 + 8);
        assert!(got.await.unwrap()? == [&data[..], b"and more"].concat());

        let (far, copying) = stuck(File::open(&path).await?).await?;
        OpenOptions::new().write(true).open(&path)?.set_len(0)?;
        let got = receive(far);
        let (mut file, count) = copying.await.unwrap()?;
        assert_eq!(file.stream_position().await?, count);
        assert!((1..LENGTH as u64).contains(&count), "{count}");
        assert!(got.await.unwrap()? == data[..count as usize]);
        Ok(())
    });
}

#[test]
fn what_is_written_to_the_file_after_the_copy_does_not_reach_the_peer() {
    on_both(1, || async {
        let folder = Folder::new("copy-after");
        let data = pattern(20_000);
        std::fs::write(folder.join("file"), &data)?;
        let mut file = File::open(folder.join("file")).await?;
        let (mut near, far) = pair().await?;
        // It is in the connection's buffers by then.
        assert_eq!(copy(&mut file, &mut near).await?, 20_000);
        OpenOptions::new().write(true).open(folder.join("file"))?.write_all(&[0; 20_000])?;
        drop(near);
        assert!(receive(far).await.unwrap()? == data);
        Ok(())
    });
}

#[test]
fn a_peer_that_goes_is_an_error() {
    on_both(1, || async {
        let folder = Folder::new("copy-peer");
        std::fs::write(folder.join("file"), pattern(LENGTH))?;
        let mut file = File::open(folder.join("file")).await?;
        let (mut near, far) = narrow_pair().await?;
        drop(far);
        let error = copy(&mut file, &mut near).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        let at = file.stream_position().await? as usize;
        assert!(at < LENGTH);
        assert!(copied(&mut file).await? == pattern(LENGTH)[at..]);
        // A writer that is full.
        file.rewind().await?;
        let full = copy(&mut file, &mut io::Cursor::new(&mut [0; 10][..])).await;
        assert_eq!(full.unwrap_err().kind(), ErrorKind::WriteZero);
        assert_eq!(file.stream_position().await?, 10);
        Ok(())
    });
}

#[test]
fn dropped_at_any_await_the_position_is_behind_what_was_written() {
    on_both(1, || async {
        let (folder, data) = (Folder::new("copy-dropped"), pattern(1 << 20));
        std::fs::write(folder.join("file"), &data)?;
        for waits in 0.. {
            let mut file = File::open(folder.join("file")).await?;
            let (mut near, mut far) = narrow_pair().await?;
            let (mut got, mut part) = (Vec::new(), vec![0; 50_000]);
            let mut copying = Box::pin(copy(&mut file, &mut near));
            let mut is_done = false;
            for _ in 0..waits {
                if let Poll::Ready(count) = poll_once(&mut copying.as_mut()).await {
                    assert_eq!(count?, data.len() as u64);
                    is_done = true;
                    break;
                }
                yield_now().await;
                if let Some(count) = done_within(1, far.read(&mut part)).await {
                    got.extend_from_slice(&part[..count?]);
                }
            }
            drop(copying);
            // Another takes up where that one was.
            let received = receive(far);
            copy(&mut file, &mut near).await?;
            drop(near);
            got.extend(received.await.unwrap()?);
            assert!(got == data, "{waits} waits");
            if is_done {
                return Ok(());
            }
        }
        unreachable!("it would have to wait for ever")
    });
}
