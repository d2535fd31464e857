//! Sockets that are set up before they become something.

use std::io::{self, ErrorKind};
use std::os::fd::{FromRawFd, IntoRawFd};

use multikernel::net::{UnixDatagram, UnixListener, UnixSocket, UnixStream};
use multikernel::{CoreId, spawn_on};
use socket2::SockRef;

use crate::support::{Folder, OpenSocket, done_within, on_both, woken_within};

fn abstract_name(who: &str) -> String {
    format!("\0multikernel-socket-{who}-{}", std::process::id())
}

#[test]
fn clients_and_listeners_have_the_addresses_that_were_bound() {
    on_both(2, || async {
        let folder = Folder::new("socket");
        for is_abstract in [false, true] {
            let name = |who| match is_abstract {
                true => abstract_name(who).into(),
                false => folder.join(who),
            };
            let (server, client) = (name("server"), name("client"));
            let socket = UnixSocket::new_stream()?;
            socket.bind(&server)?;
            let listener = socket.listen(16)?;
            let socket = UnixSocket::new_stream()?;
            socket.bind(&client)?;
            let stream = socket.connect(&server).await?;
            let (accepted, peer) = listener.accept().await?;
            for (address, name) in [
                (&listener.local_addr()?, &server),
                (&stream.peer_addr()?, &server),
                (&stream.local_addr()?, &client),
                (&peer, &client),
            ] {
                match is_abstract {
                    false => assert_eq!(address.as_pathname(), Some(&**name)),
                    true => assert_eq!(
                        address.as_abstract_name(),
                        name.to_str().map(|name| &name.as_bytes()[1..])
                    ),
                }
            }
            // On another core than the one that connected.
            let answer = spawn_on(CoreId::new(1), move || async move {
                stream.send_all(&b"ping"[..]).await.result?;
                stream.recv().await
            });
            assert_eq!(&accepted.recv().await?[..], b"ping");
            accepted.send_all(&b"pong"[..]).await.result?;
            assert_eq!(&answer.await.unwrap()?[..], b"pong");
        }
        Ok(())
    });
}

#[test]
fn datagrams_are_answered_at_the_address_that_was_bound() {
    on_both(1, || async {
        let folder = Folder::new("socket");
        for (server, client) in [
            (folder.join("server"), folder.join("client")),
            (abstract_name("dserver").into(), abstract_name("dclient").into()),
        ] {
            let bound = |name| {
                let socket = UnixSocket::new_datagram()?;
                socket.bind(name)?;
                socket.datagram()
            };
            let (near, far) = (bound(&client)?, bound(&server)?);
            near.send_to(b"ping", &server).await?;
            let mut buf = [0; 8];
            let (length, from) = far.recv_from(&mut buf).await?;
            assert_eq!(&buf[..length], b"ping");
            far.send_to_addr(b"pong", &from).await?;
            assert_eq!(near.recv(&mut buf).await?, 4);
        }
        Ok(())
    });
}

#[test]
fn options_hold_for_what_it_becomes() {
    on_both(1, || async {
        let socket = UnixSocket::new_stream()?;
        SockRef::from(&socket).set_send_buffer_size(100_000)?;
        let size = SockRef::from(&socket).send_buffer_size()?;
        let name = abstract_name("options");
        let listener = UnixListener::bind(&name)?;
        let stream = socket.connect(&name).await?;
        assert_eq!(SockRef::from(&stream).send_buffer_size()?, size);
        assert!(SockRef::from(&stream).nonblocking()?);
        assert_ne!(SockRef::from(&listener).send_buffer_size()?, size);
        Ok(())
    });
}

#[test]
fn what_it_is_not_for_is_refused_and_closes_it() {
    on_both(1, || async {
        let name = abstract_name("refused");
        let listener = UnixListener::bind(&name)?;
        let kinds = |error: io::Error| assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        let (socket, datagrams) = (UnixSocket::new_datagram()?, UnixSocket::new_datagram()?);
        let open = OpenSocket::of(&socket);
        kinds(socket.connect(&name).await.unwrap_err());
        assert_eq!(open.descriptors(), 0);
        kinds(datagrams.listen(1).unwrap_err());
        kinds(UnixSocket::new_stream()?.datagram().unwrap_err());

        let socket = UnixSocket::new_stream()?;
        let error = socket.bind(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains("multikernel-socket-refused"), "{error}");
        for (name, why) in [("", "empty"), ("/tmp/a\0b", "zero"), (&*"x".repeat(200), "longer")] {
            for error in
                [socket.bind(name).unwrap_err(), UnixSocket::new_stream()?.connect(name).await.unwrap_err()]
            {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(why), "{error}");
            }
        }
        assert_eq!(socket.listen(1).unwrap_err().kind(), ErrorKind::InvalidInput, "it is not bound");
        drop(listener);
        let refused = UnixSocket::new_stream()?.connect(&name).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let nowhere = UnixSocket::new_stream()?.connect("/nowhere/server.sock").await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::NotFound);
        Ok(())
    });
}

#[test]
fn descriptors_go_in_and_out() {
    on_both(1, || async {
        let (near, far) = UnixDatagram::pair()?;
        let number = std::os::fd::OwnedFd::from(near.into_std()?).into_raw_fd();
        // SAFETY: just let go of, and non-blocking.
        let socket = unsafe { UnixSocket::from_raw_fd(number) };
        assert!(format!("{socket:?}").contains(&number.to_string()));
        // SAFETY: as above.
        let socket = unsafe { UnixSocket::from_raw_fd(socket.into_raw_fd()) };
        let near = socket.datagram()?;
        far.send(b"x").await?;
        assert_eq!(near.recv(&mut [0; 8]).await?, 1);
        Ok(())
    });
}

#[test]
fn connects_given_up_close_the_socket() {
    on_both(1, || async {
        let name = abstract_name("cancel");
        let socket = UnixSocket::new_stream()?;
        socket.bind(&name)?;
        let listener = socket.listen(0)?;
        // The queue is full, so that who connects now tries again and again.
        let mut waiting: Vec<UnixStream> = Vec::new();
        while let Some(stream) = done_within(1, UnixStream::connect(&name)).await {
            waiting.push(stream?);
            assert!(waiting.len() < 10, "the backlog holds");
        }
        for waits in 1..4 {
            let socket = UnixSocket::new_stream()?;
            let open = OpenSocket::of(&socket);
            let connecting = socket.connect(&name);
            assert!(woken_within(waits, connecting).await.is_none());
            open.until_closed().await;

            let socket = UnixSocket::new_stream()?;
            let open = OpenSocket::of(&socket);
            drop(socket.connect(&name)); // not even begun
            assert_eq!(open.descriptors(), 0);
        }
        // Those that were given up are not in the queue; who waits for room gets it.
        let connecting = UnixSocket::new_stream()?.connect(&name);
        let accepting = async {
            for _ in &waiting {
                listener.accept().await?;
            }
            listener.accept().await
        };
        let (connected, accepted) = futures::future::join(connecting, accepting).await;
        connected?.send_all(&b"hello"[..]).await.result?;
        assert_eq!(&accepted?.0.recv().await?[..], b"hello");
        Ok(())
    });
}
