//! Connections, their halves and what they tell of the peer.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;

use multikernel::net::{UnixListener, UnixStream};
use multikernel::{CoreId, spawn_on};
use socket2::{MsgHdr, SockRef};

use crate::support::{Folder, OpenSocket, on_both, pattern, poll_once};

async fn read(stream: &UnixStream, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

#[test]
fn whole_buffers_go_both_ways_between_cores() {
    on_both(2, || async {
        const TOTAL: usize = 1 << 20;
        let (near, far) = UnixStream::pair()?;
        let echo = spawn_on(CoreId::new(1), move || async move {
            loop {
                let bytes = far.recv().await?;
                if bytes.is_empty() {
                    return io::Result::Ok(());
                }
                far.send_all(bytes).await.result?;
            }
        });
        let near = Arc::new(near);
        let sending = {
            let near = near.clone();
            spawn_on(CoreId::new(1), move || async move { near.send_all(pattern(TOTAL)).await.result })
        };
        let mut got = Vec::new();
        while got.len() < TOTAL {
            got.extend_from_slice(&near.recv().await?);
        }
        assert!(got == pattern(TOTAL));
        sending.await.unwrap()?;
        drop(near);
        echo.await.unwrap()
    });
}

#[test]
fn halves_end_their_direction_and_find_together_again() {
    on_both(2, || async {
        let (near, far) = UnixStream::pair()?;
        let (reader, writer) = near.into_split();
        let (far_reader, far_writer) = far.into_split();
        let error = reader.reunite(far_writer).unwrap_err();
        assert_eq!(error.to_string(), "these two halves are not of the same stream");
        let near = writer.reunite(error.0).unwrap();
        let far = far_reader.reunite(error.1).unwrap();
        let (far_reader, far_writer) = far.into_split();
        far_writer.try_write(b"last")?;
        drop(far_writer);
        assert_eq!(&near.recv().await?[..], b"last");
        assert!(near.recv().await?.is_empty());
        near.try_write(b"still")?;
        let got = spawn_on(CoreId::new(1), move || async move { far_reader.as_ref().recv().await });
        assert_eq!(&got.await.unwrap()?[..], b"still");
        Ok(())
    });
}

#[test]
fn the_peer_is_known() {
    on_both(1, || async {
        let folder = Folder::new("peer");
        let path = folder.join("server.sock");
        let listener = UnixListener::bind(&path)?;
        let client = UnixStream::connect(&path).await?;
        let (server, addr) = listener.accept().await?;
        assert!(addr.is_unnamed() && server.peer_addr()?.is_unnamed());
        assert_eq!(client.peer_addr()?.as_pathname(), Some(&*path));
        assert_eq!(server.local_addr()?.as_pathname(), Some(&*path));
        for end in [&client, &server] {
            let who = end.peer_cred()?;
            assert_eq!(who.pid(), Some(std::process::id() as i32));
            // SAFETY: these two take nothing and cannot fail.
            let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
            assert_eq!((who.uid(), who.gid()), (uid, gid));
        }
        Ok(())
    });
}

/// Sends `bytes` with a descriptor.
fn send_with_descriptor(stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    let mut control = [0_u8; 24];
    control[..8].copy_from_slice(&20_usize.to_ne_bytes());
    control[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    control[16..20].copy_from_slice(&stream.as_raw_fd().to_ne_bytes());
    let parts = [io::IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&parts).with_control(&control);
    assert_eq!(SockRef::from(stream).sendmsg(&message, 0)?, bytes.len());
    Ok(())
}

/// A message that carried a descriptor ends a read, with more behind it: a short read has not emptied the socket.
#[test]
fn a_read_that_ends_at_a_boundary_leaves_the_rest_to_be_found() {
    on_both(1, || async {
        for wait_first in [false, true] {
            let (near, far) = UnixStream::pair()?;
            let mut buf = [0; 100];
            if wait_first {
                assert!(poll_once(&mut pin!(far.readable())).await.is_pending());
            }
            send_with_descriptor(&near, b"abc")?;
            near.try_write(b"def")?;
            assert_eq!(read(&far, &mut buf).await?, 3);
            assert_eq!(read(&far, &mut buf).await?, 3);
            assert_eq!(&buf[..3], b"def");

            let (near, far) = UnixStream::pair()?;
            if wait_first {
                assert!(poll_once(&mut pin!(far.recv())).await.is_pending());
            }
            send_with_descriptor(&near, b"abc")?;
            near.try_write(b"def")?;
            let mut got = Vec::new();
            while got.len() < 6 {
                got.extend_from_slice(&far.recv().await?);
            }
            assert_eq!(got, b"abcdef");
        }
        Ok(())
    });
}

#[test]
fn a_stream_that_other_cores_wait_for_ends_when_it_is_dropped() {
    on_both(3, || async {
        let (near, far) = UnixStream::pair()?;
        let open = OpenSocket::of(&near);
        let near = Arc::new(near);
        for core in multikernel::cores() {
            let near = near.clone();
            let waited = spawn_on(core, move || async move {
                assert!(poll_once(&mut pin!(near.readable())).await.is_pending());
            });
            waited.await.unwrap();
        }
        near.try_write(b"last")?;
        drop(near);
        assert_eq!(read(&far, &mut [0; 8]).await?, 4);
        assert_eq!(read(&far, &mut [0; 8]).await?, 0);
        open.until_closed().await;
        Ok(())
    });
}

#[test]
fn a_stream_goes_to_the_standard_library_and_comes_back() {
    on_both(1, || async {
        let (near, far) = UnixStream::pair()?;
        assert!(poll_once(&mut pin!(far.readable())).await.is_pending());
        let far = far.into_std()?;
        near.try_write(b"hello")?;
        let far = UnixStream::try_from(far)?;
        assert_eq!(read(&far, &mut [0; 8]).await?, 5);
        Ok(())
    });
}
