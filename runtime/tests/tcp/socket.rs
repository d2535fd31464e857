//! Sockets that are set up before they connect or listen.

use std::io::ErrorKind;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::pin;

use multikernel::net::{TcpListener, TcpSocket};
use socket2::{Domain, Socket, Type};

use crate::common::{on_both, own_address, poll_once, read_exact, write_all};

#[test]
fn options_are_there_from_the_start() {
    on_both(1, || async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.set_nodelay(true)?;
        socket.bind(own_address())?;
        let addr = socket.local_addr()?;
        let listener = socket.listen(16)?;
        // Another one shares the port; one that did not ask for it may not.
        let second = TcpSocket::new_v4()?;
        let error = second.bind(addr).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&addr.to_string()), "{error}");
        second.set_reuseport(true)?;
        second.bind(addr)?;
        drop(second);

        let socket = TcpSocket::new_v4()?;
        socket.bind(own_address())?;
        let from = socket.local_addr()?;
        let near = socket.connect(addr).await?;
        assert_eq!(near.local_addr()?, from);
        let (far, peer) = listener.accept().await?;
        assert_eq!(peer, from);
        assert!(far.nodelay()?, "connections inherit it");
        write_all(&near, b"hello").await?;
        read_exact(&far, &mut [0; 5]).await
    });
}

#[test]
fn sockets_of_other_crates_and_plain_descriptors_are_taken_over() {
    on_both(1, || async {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let socket = TcpSocket::from_std_stream(socket.into());
        socket.bind(own_address())?;
        // SAFETY: the descriptor was given up one step before.
        let socket = unsafe { TcpSocket::from_raw_fd(socket.into_raw_fd()) };
        let addr = socket.local_addr()?;
        let listener = socket.listen(1)?;
        // It does not block the core, which has to connect.
        let mut accept = pin!(listener.accept());
        assert!(poll_once(&mut accept).await.is_pending());
        let near = TcpSocket::new_v4()?.connect(addr).await?;
        assert_eq!(accept.await?.1, near.local_addr()?);
        Ok(())
    });
}

#[test]
fn connecting_that_fails_or_is_given_up_leaves_nothing() {
    on_both(1, || async {
        let listener = TcpListener::bind(own_address()).await?;
        let addr = listener.local_addr()?;
        let given_up = TcpSocket::new_v4()?.connect(addr);
        drop(given_up);
        assert!(poll_once(&mut pin!(listener.accept())).await.is_pending());
        drop(listener);
        let error = TcpSocket::new_v4()?.connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}
