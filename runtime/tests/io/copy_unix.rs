//! Copying between Unix streams, and between those and TCP.

use std::io::{self, ErrorKind};
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::task::Poll;

use multikernel::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use multikernel::net::UnixStream;
use multikernel::spawn;
use multikernel::task::yield_now;

use crate::common::{on_both, pair, pattern, poll_once};

/// A proxy that listens on TCP for a server on a Unix socket, or the other way round, as they are.
#[test]
fn either_side_may_be_either_kind_and_end_first() {
    on_both(2, || async {
        for length in [0, 1, 8192, 8193, 1_000_000] {
            for ends_first in [true, false] {
                let ((client, mut near), (mut far, server)) = (pair().await?, UnixStream::pair()?);
                let copying = spawn(async move { copy_bidirectional(&mut near, &mut far).await });
                let (mut client, mut server) = (client.into_split(), server.into_split());
                let (question, answer) = (pattern(length), pattern(length + 3));
                let (asked, told) = (question.clone(), answer.clone());
                let speaking = spawn(async move {
                    client.1.write_all(&asked).await?;
                    client.1.shutdown().await?;
                    let mut got = Vec::new();
                    client.0.read_to_end(&mut got).await.map(|_| got)
                });
                let mut got = Vec::new();
                if ends_first {
                    server.1.write_all(&told).await?;
                    server.1.shutdown().await?;
                    server.0.read_to_end(&mut got).await?;
                } else {
                    server.0.read_to_end(&mut got).await?;
                    server.1.write_all(&told).await?;
                    server.1.shutdown().await?;
                }
                assert!(got == question);
                assert!(speaking.await.unwrap()? == answer);
                assert_eq!(copying.await.unwrap()?, (length as u64, length as u64 + 3));
            }
        }
        Ok(())
    });
}

/// Sends bytes and a descriptor along with them, which end a read.
fn send_with_descriptor(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut room = [0_u64; 4];
    // SAFETY: zeroes are a valid header, and all it points to lives across the call; the room is large enough and aligned for
    // one header with one number.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<i32>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(stream.as_raw_fd());
        libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// A copy moves bytes; descriptors that come along are closed, as by any read, and hold nothing up.
#[test]
fn boundaries_between_messages_lose_nothing() {
    on_both(1, || async {
        let ((client, mut near), (mut far, mut server)) = (UnixStream::pair()?, UnixStream::pair()?);
        let copying = spawn(async move { copy_bidirectional(&mut near, &mut far).await });
        let bytes = pattern(4 << 20);
        let sent = bytes.clone();
        let sending = spawn(async move {
            let mut rest = &sent[..];
            let mut puts = 0;
            while !rest.is_empty() {
                client.writable().await?;
                let part = &rest[..rest.len().min(20_000)];
                let put =
                    if puts % 3 == 0 { send_with_descriptor(&client, part) } else { client.try_write(part) };
                match put {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
                    put => {
                        rest = &rest[put?..];
                        puts += 1;
                    }
                }
            }
            Ok::<_, io::Error>(())
        });
        let mut got = Vec::new();
        let mut part = vec![0; 1 << 16];
        while got.len() < bytes.len() {
            let count = server.read(&mut part).await?;
            assert!(count > 0, "it has ended after {} bytes", got.len());
            got.extend_from_slice(&part[..count]);
        }
        assert!(got == bytes);
        sending.await.unwrap()?;
        drop(server);
        copying.abort();
        Ok(())
    });
}

#[test]
fn dropped_at_any_await_it_leaves_a_prefix() {
    on_both(1, || async {
        const LENGTH: usize = 1 << 20;
        let bytes = pattern(LENGTH);
        for waits in 0.. {
            let ((mut client, mut near), (mut far, mut server)) = (UnixStream::pair()?, UnixStream::pair()?);
            let sent = bytes.clone();
            let sending = spawn(async move {
                client.write_all(&sent).await?;
                client.shutdown().await.map(|()| client)
            });
            let (mut got, mut received) = (vec![0; LENGTH], 0);
            let mut copying = Box::pin(multikernel::io::copy(&mut near, &mut far));
            let mut is_done = false;
            for _ in 0..waits {
                if let Poll::Ready(copied) = poll_once(&mut copying.as_mut()).await {
                    assert_eq!(copied?, LENGTH as u64);
                    is_done = true;
                    break;
                }
                yield_now().await;
                let end = LENGTH.min(received + 50_000);
                let mut reading = Box::pin(server.read(&mut got[received..end]));
                if received < LENGTH
                    && let Poll::Ready(count) = poll_once(&mut reading.as_mut()).await
                {
                    received += count?;
                }
            }
            drop(copying);
            drop((near, far));
            let mut rest = got[..received].to_vec();
            server.read_to_end(&mut rest).await?;
            assert!(rest[..] == bytes[..rest.len()], "{waits} waits");
            let _ = sending.await.unwrap(); // nobody may have read it
            if is_done {
                assert_eq!(rest.len(), LENGTH);
                return Ok(());
            }
        }
        unreachable!("it would have to wait for ever")
    });
}
