//! Datagrams between processes of one machine: none is lost, and a sender waits for its receiver.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;

use multikernel::io::Interest;
use multikernel::net::UnixDatagram;
use multikernel::{CoreId, spawn_on};

use crate::support::{Folder, OpenSocket, give_up_after, on_both, poll_once};

#[test]
fn datagrams_tell_whom_to_answer() {
    on_both(1, || async {
        let folder = Folder::new("answer");
        let (server_path, client_path) = (folder.join("server.sock"), folder.join("client.sock"));
        let server = UnixDatagram::bind(&server_path)?;
        let client = UnixDatagram::bind(&client_path)?;
        let mut buf = [0; 16];
        for text in [&b"hello"[..], b"", b"again"] {
            client.send_to(text, &server_path).await?;
            let (length, from) = server.recv_from(&mut buf).await?;
            assert_eq!((&buf[..length], from.as_pathname()), (text, Some(&*client_path)));
            server.send_to_addr(text, &from).await?;
            assert_eq!(client.recv(&mut buf).await?, text.len());
        }
        client.connect(&server_path)?;
        assert_eq!(client.peer_addr()?.as_pathname(), Some(&*server_path));
        client.send(b"too long for it").await?;
        assert_eq!(server.recv(&mut [0; 3]).await?, 3);
        client.try_send(b"next")?;
        assert_eq!(server.recv(&mut buf).await?, 4);
        // The receiver is gone.
        drop(server);
        assert_eq!(client.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn a_sender_waits_while_its_receiver_is_behind_and_nothing_is_lost() {
    on_both(2, || async {
        const COUNT: u32 = 1000;
        let (near, far) = UnixDatagram::pair()?;
        let sending = spawn_on(CoreId::new(1), move || async move {
            for number in 0..COUNT {
                assert_eq!(near.send(&number.to_le_bytes()).await?, 4);
            }
            near.shutdown(Shutdown::Write)?;
            io::Result::Ok(near)
        });
        for number in 0..COUNT {
            let mut buf = [0; 8];
            assert_eq!(far.recv(&mut buf).await?, 4);
            assert_eq!(buf[..4], number.to_le_bytes());
        }
        assert!(sending.await.unwrap()?.try_send(b"x").is_err());
        Ok(())
    });
}

#[test]
fn what_is_given_up_sends_and_takes_nothing() {
    on_both(1, || async {
        for waits in 1..4 {
            let (near, far) = UnixDatagram::pair()?;
            let mut buf = [0; 8];
            let mut room = Vec::with_capacity(8);
            assert!(!give_up_after(waits, far.recv(&mut buf)).await);
            assert!(!give_up_after(waits, far.recv_from(&mut buf)).await);
            assert!(!give_up_after(waits, far.recv_buf(&mut room)).await);
            assert!(!give_up_after(waits, far.recv_buf_from(&mut room)).await);
            assert!(!give_up_after(waits, far.peek(&mut buf)).await);
            assert!(!give_up_after(waits, far.peek_from(&mut buf)).await);
            assert!(!give_up_after(waits, far.peek_sender()).await);
            assert!(!give_up_after(waits, far.readable()).await);
            assert!(!give_up_after(waits, far.ready(Interest::READABLE)).await);
            let mut sent = 0_u32;
            while near.try_send(&sent.to_le_bytes()).is_ok() {
                sent += 1;
            }
            assert!(sent > 0);
            // There is no room: these wait, and leave nothing behind that would be sent later.
            assert!(!give_up_after(waits, near.send(b"never")).await);
            assert!(!give_up_after(waits, near.writable()).await);
            for number in 0..sent {
                assert_eq!(far.recv(&mut buf).await?, 4);
                assert_eq!(buf[..4], number.to_le_bytes());
            }
            assert_eq!(far.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
            near.send(b"hello").await?;
            assert_eq!(far.recv(&mut buf).await?, 5);
        }
        Ok(())
    });
}

#[test]
fn a_sender_to_a_path_waits_for_room_and_gives_up_whole() {
    on_both(1, || async {
        let folder = Folder::new("room");
        let path = folder.join("server.sock");
        let server = UnixDatagram::bind(&path)?;
        let client = UnixDatagram::unbound()?;
        client.connect(&path)?;
        let mut sent = 0;
        while client.try_send_to(b"x", &path).is_ok() {
            sent += 1;
        }
        assert!(!give_up_after(2, client.send_to(b"never", &path)).await);
        let mut buf = [0; 8];
        for _ in 0..sent {
            assert_eq!(server.recv(&mut buf).await?, 1);
        }
        assert_eq!(client.send_to(b"hello", &path).await?, 5);
        assert_eq!(server.recv(&mut buf).await?, 5);
        Ok(())
    });
}

/// The system does not tell of that.
#[test]
fn a_sender_finds_the_room_that_was_taken_by_others() {
    on_both(1, || async {
        let folder = Folder::new("others");
        let path = folder.join("server.sock");
        let server = UnixDatagram::bind(&path)?;
        let (greedy, patient) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        let mut sent = 0;
        while greedy.try_send_to(b"x", &path).is_ok() {
            sent += 1;
        }
        let mut sending = pin!(patient.send_to(b"hello", &path));
        assert!(poll_once(&mut sending).await.is_pending());
        let mut buf = [0; 8];
        for _ in 0..sent {
            assert_eq!(server.recv(&mut buf).await?, 1);
        }
        assert_eq!(sending.await?, 5);
        assert_eq!(server.recv(&mut buf).await?, 5);
        Ok(())
    });
}

#[test]
fn several_tasks_on_several_cores_receive_from_one_socket() {
    on_both(4, || async {
        const COUNT: usize = 400;
        let (near, far) = UnixDatagram::pair()?;
        let open = OpenSocket::of(&far);
        let far = Arc::new(far);
        let receivers: Vec<_> = multikernel::cores()
            .flat_map(|core| [core; 2])
            .map(|core| {
                let far = far.clone();
                spawn_on(core, move || async move {
                    let mut got = 0;
                    let mut buf = [0; 8];
                    while far.recv(&mut buf).await? > 0 {
                        got += 1;
                    }
                    io::Result::Ok(got)
                })
            })
            .collect();
        drop(far);
        for _ in 0..COUNT {
            near.send(b"x").await?;
        }
        // An empty one for each.
        for _ in &receivers {
            near.send(b"").await?;
        }
        let mut got = 0;
        for receiver in receivers {
            got += receiver.await.unwrap()?;
        }
        assert_eq!(got, COUNT);
        open.until_closed().await;
        Ok(())
    });
}
