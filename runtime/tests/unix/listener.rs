//! Accepting: from each core, when descriptors run out, and when too many wait.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use multikernel::net::{UnixListener, UnixStream};
use multikernel::time::timeout;
use multikernel::{CoreId, spawn, spawn_on};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{Folder, OpenSocket, give_up_after, hoard, on_both, poll_once, with_few_descriptors};

#[test]
fn several_cores_accept_from_one_listener() {
    on_both(4, || async {
        let folder = Folder::new("cores");
        let path = folder.join("server.sock");
        let listener = Arc::new(UnixListener::bind(&path)?);
        let acceptors: Vec<_> = multikernel::cores()
            .map(|core| {
                let listener = listener.clone();
                spawn_on(core, move || async move {
                    loop {
                        let (stream, _) = listener.accept().await?;
                        let bytes = stream.recv().await?;
                        let is_last = &bytes[..] == b"q";
                        stream.send_all(bytes).await.result?;
                        if is_last {
                            return io::Result::Ok(());
                        }
                    }
                })
            })
            .collect();
        for round in 0..104 {
            let client = UnixStream::connect(&path).await?;
            let byte: &'static [u8] = if round < 100 { b"x" } else { b"q" };
            client.send_all(byte).await.result?;
            assert_eq!(&client.recv().await?[..], byte);
        }
        for acceptor in acceptors {
            acceptor.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn accepted_connections_spread_over_cores() {
    on_both(4, || async {
        let folder = Folder::new("spread");
        let listener = UnixListener::bind(folder.join("server.sock"))?;
        let mut on_core = [0; 4];
        let mut open = Vec::new();
        for _ in 0..8 {
            let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
            let (server, _) = listener.accept().await?;
            let (tell, core) = futures::channel::oneshot::channel();
            open.push(spawn(async move {
                tell.send(CoreId::current().index()).unwrap();
                server.recv().await.map(|bytes| bytes.len())
            }));
            on_core[core.await.unwrap()] += 1;
            open.push(spawn(async move { client.recv().await.map(|bytes| bytes.len()) }));
        }
        assert_eq!(on_core, [2; 4]);
        open.iter().for_each(|task| task.abort());
        Ok(())
    });
}

#[test]
fn accept_waits_while_there_are_no_descriptors_and_goes_on() {
    with_few_descriptors("listener::accept_waits_while_there_are_no_descriptors_and_goes_on", || {
        on_both(1, || async {
            let folder = Folder::new("shortage");
            let listener = UnixListener::bind(folder.join("server.sock"))?;
            let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
            let hoarded = hoard();
            assert!(hoarded.len() > 50);
            // Neither an error nor a hot loop: it waits, both ways.
            let mut polls = 0;
            let mut accept = pin!(listener.accept());
            let counted = poll_fn(|cx| {
                polls += 1;
                accept.as_mut().poll(cx)
            });
            assert!(timeout(Duration::from_millis(100), counted).await.is_err());
            assert!((2..=12).contains(&polls), "{polls} polls in 100 ms");
            let through_poll = poll_fn(|cx| listener.poll_accept(cx));
            assert!(timeout(Duration::from_millis(20), through_poll).await.is_err());
            // A connection that cannot be made is an error, and takes nothing with it.
            let error = UnixStream::connect_addr(&listener.local_addr()?).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            drop(hoarded);
            // The connection has waited.
            let (server, _) = accept.await?;
            server.send_all(&b"late"[..]).await.result?;
            assert_eq!(&client.recv().await?[..], b"late");
            Ok(())
        });
    });
}

/// The system refuses a connection that does not wait for room, and does not tell when there is some.
#[test]
fn connecting_waits_while_too_many_wait_to_be_accepted() {
    on_both(1, || async {
        let folder = Folder::new("backlog");
        let path = folder.join("server.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&path)?)?;
        socket.listen(0)?;
        let listener = UnixListener::from_std(socket.into())?;
        let first = UnixStream::connect(&path).await?;
        assert!(!give_up_after(1, UnixStream::connect(&path)).await);
        let mut second = pin!(UnixStream::connect(&path));
        assert!(poll_once(&mut second).await.is_pending());
        // Room, but nobody tells: it finds out by itself.
        let (first_server, _) = listener.accept().await?;
        let second = second.await?;
        let (second_server, _) = listener.accept().await?;
        for (client, server) in [(first, first_server), (second, second_server)] {
            client.send_all(&b"hello"[..]).await.result?;
            assert_eq!(&server.recv().await?[..], b"hello");
        }
        // What was given up on left nothing behind.
        assert!(poll_once(&mut pin!(listener.accept())).await.is_pending());
        Ok(())
    });
}

#[test]
fn a_name_is_free_again_when_its_listener_is_dropped() {
    on_both(2, || async {
        let name = format!("\0multikernel-free-again-{}", std::process::id());
        for wait_first in [false, true] {
            let listener = UnixListener::bind(&name)?;
            let open = OpenSocket::of(&listener);
            if wait_first {
                assert!(poll_once(&mut pin!(listener.accept())).await.is_pending());
            }
            drop(listener);
            drop(UnixListener::bind(&name)?);
            assert_eq!(open.descriptors(), 0);
        }
        let listener = Arc::new(UnixListener::bind(&name)?);
        let open = OpenSocket::of(&*listener);
        let shared = listener.clone();
        let waited = spawn_on(CoreId::new(1), move || async move {
            assert!(poll_once(&mut pin!(shared.accept())).await.is_pending());
        });
        waited.await.unwrap();
        drop(listener);
        open.until_closed().await;
        Ok(())
    });
}
