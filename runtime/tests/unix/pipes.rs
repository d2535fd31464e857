//! Pipes, with and without a name.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use futures::future::join;
use multikernel::io::Interest;
use multikernel::net::unix::pipe::{OpenOptions, Receiver, Sender, pipe};
use multikernel::net::{UnixDatagram, UnixStream};
use multikernel::task::yield_now;
use multikernel::{CoreId, spawn_on};

use crate::support::{Folder, OpenSocket, done_within, give_up_after, on_both, pattern};

async fn read_all(receiver: &Receiver) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let bytes = receiver.recv().await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

/// Writes until nothing fits, and says how much did.
fn fill(sender: &Sender) -> usize {
    let mut full = 0;
    loop {
        match sender.try_write(&[b'x'; 4096]) {
            Ok(put) => full += put,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return full;
            }
        }
    }
}

fn fifo(folder: &Folder) -> PathBuf {
    let path = folder.join("fifo");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name is a string that ends with zero.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    path
}

fn flags(fd: &impl AsRawFd) -> i32 {
    // SAFETY: the call takes numbers.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
}

fn open_for(path: &Path, read: bool, write: bool) -> io::Result<File> {
    File::options().read(read).write(write).open(path)
}

#[test]
fn what_is_written_is_read_until_the_end() {
    on_both(1, || async {
        let (sender, receiver) = pipe()?;
        let data = pattern(3_000_000);
        let writing = async {
            let sent = sender.send_all(data.clone()).await;
            drop(sender);
            sent.result.map(|()| sent.buffer.unwrap())
        };
        let (sent, got) = join(writing, read_all(&receiver)).await;
        assert!(sent? == data && got? == data);
        assert!(receiver.recv().await?.is_empty(), "the end stays");
        assert!(receiver.ready(Interest::READABLE).await?.is_read_closed());
        Ok(())
    });
}

#[test]
fn ends_go_to_other_cores_after_use() {
    on_both(2, || async {
        let (sender, receiver) = pipe()?;
        // Watched by this core.
        assert!(!give_up_after(1, receiver.recv()).await);
        fill(&sender);
        assert!(!give_up_after(1, sender.writable()).await);
        assert!(receiver.recv().await?.iter().all(|byte| *byte == b'x'));
        let (of_sender, of_receiver) = (OpenSocket::of(&sender), OpenSocket::of(&receiver));
        let reading = spawn_on(CoreId::new(1), move || async move { read_all(&receiver).await });
        sender.send_all(pattern(300_000)).await.result?;
        let writing =
            spawn_on(CoreId::new(1), move || async move { sender.send_all(pattern(300_000)).await.result });
        writing.await.unwrap()?; // and drops it there
        let all = reading.await.unwrap()?;
        let piece = pattern(300_000);
        assert!(all.ends_with(&[&piece[..], &piece].concat()));
        of_sender.until_closed().await;
        of_receiver.until_closed().await;
        Ok(())
    });
}

#[test]
fn attempts_never_wait_and_miss_nothing() {
    on_both(1, || async {
        let (sender, receiver) = pipe()?;
        let data = pattern(400_000);
        assert_eq!(receiver.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let writing = async {
            let mut rest = &data[..];
            while !rest.is_empty() {
                sender.writable().await?;
                let (first, second) = rest[..rest.len().min(7000)].split_at(rest.len().min(1000));
                match sender.try_write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    put => rest = &rest[put?..],
                }
            }
            drop(sender);
            io::Result::Ok(())
        };
        let reading = async {
            let mut all = Vec::new();
            for way in 0.. {
                receiver.readable().await?;
                let (mut first, mut second) = ([0; 100], [0; 4000]);
                let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
                let got = match way % 3 {
                    0 => receiver
                        .try_read_vectored(&mut bufs)
                        .map(|got| [&first[..], &second].concat()[..got].to_vec()),
                    1 => receiver.try_read(&mut second).map(|got| second[..got].to_vec()),
                    _ => {
                        let mut buf = Vec::with_capacity(3000);
                        receiver.try_read_buf(&mut buf).map(|got| {
                            assert_eq!(got, buf.len());
                            buf
                        })
                    }
                };
                match got {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(got) if got.is_empty() => break,
                    got => all.extend_from_slice(&got?),
                }
            }
            io::Result::Ok(all)
        };
        let (written, read) = join(writing, reading).await;
        written?;
        assert!(read? == data);
        Ok(())
    });
}

#[test]
fn writing_when_nobody_reads_is_an_error_and_no_signal() {
    on_both(1, || async {
        for is_full in [false, true] {
            let (sender, receiver) = pipe()?;
            let ready = sender.ready(Interest::WRITABLE).await?;
            assert!(ready.is_writable() && !ready.is_write_closed());
            if is_full {
                fill(&sender);
            }
            // Also one that the core watches is closed at once.
            assert!(is_full || !give_up_after(1, receiver.recv()).await);
            drop(receiver);
            while !sender.ready(Interest::WRITABLE).await?.is_write_closed() {
                yield_now().await;
            }
            let sent = sender.send_all(vec![0; 100_000]).await;
            assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
            assert_eq!(sent.buffer.unwrap().len(), 100_000);
            assert_eq!(sender.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
            let error = sender.try_write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        }
        // While the writer waits for room.
        let (sender, receiver) = pipe()?;
        let (sent, ()) = join(sender.send_all(vec![0; 1_000_000]), async {
            yield_now().await;
            drop(receiver);
        })
        .await;
        assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn packets_are_read_one_by_one_and_none_is_left() {
    on_both(1, || async {
        let (sender, receiver) = pipe()?;
        // SAFETY: the call takes numbers.
        let set = unsafe { libc::fcntl(sender.as_raw_fd(), libc::F_SETFL, flags(&sender) | libc::O_DIRECT) };
        assert_eq!(set, 0);
        assert!(!give_up_after(1, receiver.recv()).await);
        for packet in [&b"one"[..], b"two", b"three"] {
            assert_eq!(sender.try_write(packet)?, packet.len());
        }
        for packet in [&b"one"[..], b"two", b"three"] {
            assert_eq!(&receiver.recv().await?[..], packet);
        }
        Ok(())
    });
}

#[test]
fn a_pipe_with_a_name_has_writers_one_after_the_other() {
    on_both(1, || async {
        let folder = Folder::new("fifo");
        let path = fifo(&folder);
        let error = OpenOptions::new().open_sender(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO), "nobody reads");

        let receiver = OpenOptions::new().open_receiver(&path)?;
        assert!(receiver.recv().await?.is_empty(), "nobody writes");
        for data in [&b"first"[..], b"second", b"third"] {
            let sender = OpenOptions::new().open_sender(&path)?;
            assert!(!give_up_after(2, receiver.recv()).await, "there is a writer, so this is not the end");
            sender.send_all(data).await.result?;
            assert_eq!(&receiver.recv().await?[..], data);
            drop(sender);
            assert!(receiver.recv().await?.is_empty());
        }
        Ok(())
    });
}

#[test]
fn a_pipe_open_both_ways_needs_nobody_and_has_no_end() {
    on_both(1, || async {
        let folder = Folder::new("both-ways");
        let path = fifo(&folder);
        let sender = OpenOptions::new().read_write(true).open_sender(&path)?;
        sender.send_all(&b"early"[..]).await.result?;
        let receiver = OpenOptions::new().read_write(true).unchecked(true).open_receiver(&path)?;
        drop(sender);
        assert_eq!(&receiver.recv().await?[..], b"early");
        assert!(!give_up_after(3, receiver.recv()).await, "it writes itself");
        // A writer that comes and goes is not the end either.
        let sender = OpenOptions::new().open_sender(&path)?;
        sender.send_all(&b"late"[..]).await.result?;
        drop(sender);
        assert_eq!(&receiver.recv().await?[..], b"late");
        assert!(!give_up_after(3, receiver.recv()).await);
        Ok(())
    });
}

#[test]
fn what_is_no_pipe_or_not_open_this_way_is_refused() {
    fn refused<T: std::fmt::Debug>(result: io::Result<T>) {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    on_both(1, || async {
        let folder = Folder::new("no-pipe");
        let file = folder.join("file");
        std::fs::write(&file, "text")?;
        for path in [&file, Path::new("/dev/null")] {
            refused(OpenOptions::new().open_receiver(path));
            refused(OpenOptions::new().open_sender(path));
            refused(OpenOptions::new().read_write(true).open_sender(path));
            refused(Receiver::from_file(open_for(path, true, true)?));
            refused(Sender::from_file(open_for(path, true, true)?));
        }
        assert_eq!(std::fs::read(&file)?, b"text", "opened, and no more");
        refused(Receiver::from_owned_fd(UnixStream::pair()?.0.into_std()?.into()));
        refused(Sender::from_owned_fd(UnixDatagram::pair()?.0.into_std()?.into()));
        assert_eq!(
            OpenOptions::new().open_receiver(folder.join("x")).unwrap_err().kind(),
            ErrorKind::NotFound
        );

        let (reader, writer) = io::pipe()?;
        refused(Sender::from_owned_fd(reader.try_clone()?.into()));
        refused(Receiver::from_owned_fd(writer.try_clone()?.into()));
        assert_eq!(flags(&reader) & libc::O_NONBLOCK, 0, "what is refused stays as it is");
        let (receiver, sender) =
            (Receiver::from_owned_fd(reader.into())?, Sender::from_file(OwnedFd::from(writer).into())?);
        sender.send_all(&b"hello"[..]).await.result?;
        assert_eq!(&receiver.recv().await?[..], b"hello");

        let path = fifo(&folder);
        let both = open_for(&path, true, true)?;
        let (receiver, sender) = (Receiver::from_file(both.try_clone()?)?, Sender::from_file(both)?);
        sender.send_all(&b"hello"[..]).await.result?;
        assert_eq!(&receiver.recv().await?[..], b"hello");
        Ok(())
    });
}

#[test]
fn descriptors_come_back_as_they_are_asked_for() {
    on_both(1, || async {
        for is_watched in [false, true] {
            let (sender, receiver) = pipe()?;
            if is_watched {
                assert!(!give_up_after(1, receiver.recv()).await);
            }
            assert_ne!(flags(&sender) & flags(&receiver) & libc::O_NONBLOCK, 0);
            assert_eq!(sender.try_write(b"hello")?, 5);
            let receiver = receiver.into_nonblocking_fd()?;
            assert_ne!(flags(&receiver) & libc::O_NONBLOCK, 0);
            let sender = sender.into_blocking_fd()?;
            assert_eq!(flags(&sender) & libc::O_NONBLOCK, 0);
            let receiver = Receiver::from_owned_fd_unchecked(receiver)?;
            File::from(sender).write_all(b" all")?;
            assert!(read_all(&receiver).await? == b"hello all");
        }
        Ok(())
    });
}

#[test]
fn io_of_ones_own_is_tried_only_when_it_may_succeed() {
    on_both(1, || async {
        let (sender, receiver) = pipe()?;
        let mut file = File::from(receiver.as_fd().try_clone_to_owned()?);
        assert!(!give_up_after(1, receiver.readable()).await);
        let uncalled = || -> io::Result<()> { panic!("it is known that nothing is there") };
        assert_eq!(receiver.try_io(uncalled).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(sender.try_io(|| File::from(sender.as_fd().try_clone_to_owned()?).write(b"hello"))?, 5);
        receiver.readable().await?;
        assert_eq!(receiver.try_io(|| io::Read::read(&mut file, &mut [0; 8]))?, 5);
        Ok(())
    });
}

#[test]
fn reads_and_waits_given_up_take_no_bytes() {
    on_both(1, || async {
        let (sender, receiver) = pipe()?;
        for round in 0..60_u8 {
            let waits = usize::from(round % 3) + 1;
            assert!(!give_up_after(waits, receiver.recv()).await);
            assert!(!give_up_after(waits, receiver.readable()).await);
            assert!(!give_up_after(waits, receiver.ready(Interest::READABLE)).await);
            assert_eq!(sender.try_write(&[round; 10])?, 10);
            // Given up when the core may have heard of the bytes or not.
            if round % 2 == 0 {
                give_up_after(waits, receiver.readable()).await;
            }
            let mut got =
                done_within(1, receiver.recv()).await.transpose()?.map_or(Vec::new(), |got| got.to_vec());
            while got.len() < 10 {
                got.extend_from_slice(&receiver.recv().await?);
            }
            assert_eq!(got, [round; 10]);
        }
        Ok(())
    });
}

#[test]
fn writes_given_up_write_nothing_later() {
    on_both(1, || async {
        for waits in 1..4 {
            let (sender, receiver) = pipe()?;
            let full = fill(&sender);
            assert!(!give_up_after(waits, sender.send_all(&b"never"[..])).await);
            assert!(!give_up_after(waits, sender.writable()).await);
            assert!(!give_up_after(waits, sender.ready(Interest::WRITABLE)).await);
            drop(sender);
            let all = read_all(&receiver).await?;
            assert_eq!(all.len(), full);
            assert!(all.iter().all(|byte| *byte == b'x'));

            // Each wait of a long write, with some of it read in between: what has arrived is a beginning.
            let (sender, receiver) = pipe()?;
            let data = pattern(1_000_000);
            let (done, got) = join(give_up_after(waits, sender.send_all(data.clone())), async {
                receiver.recv().await.map(|got| got.to_vec())
            })
            .await;
            assert!(!done);
            drop(sender);
            let all = [got?, read_all(&receiver).await?].concat();
            assert!(all.len() < data.len() && data.starts_with(&all));
        }
        Ok(())
    });
}
