//! One datagram at a time.

use std::io::{ErrorKind, IoSliceMut, Read};
use std::net::SocketAddr;
use std::pin::pin;

use multikernel::io::Interest;
use multikernel::net::UdpSocket;
use socket2::SockRef;

use crate::pair;
use crate::support::{OpenSocket, on_both, own_address, pattern, poll_once};

#[test]
fn datagrams_keep_their_ends_and_tell_their_sender() {
    on_both(1, || async {
        let server = UdpSocket::bind("127.0.0.1:0").await?;
        let client = UdpSocket::bind("127.0.0.1:0").await?;
        let data = pattern(3000);
        let mut buf = [0; 4000];
        for length in [1, 0, 3000, 7] {
            assert_eq!(client.send_to(&data[..length], server.local_addr()?).await?, length);
            let (got, from) = server.recv_from(&mut buf).await?;
            assert_eq!((&buf[..got], from), (&data[..length], client.local_addr()?));
            assert_eq!(server.send_to(&buf[..got], from).await?, length);
            assert_eq!(client.recv_from(&mut buf).await?, (length, server.local_addr()?));
        }
        Ok(())
    });
}

#[test]
fn a_datagram_that_does_not_fit_is_cut_off_and_the_next_is_whole() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let mut buf = [0; 4];
        for _ in 0..2 {
            near.send(b"too long").await?;
            near.send(b"fits").await?;
            assert_eq!(far.recv(&mut buf).await?, 4);
            assert_eq!(&buf, b"too ");
            assert_eq!(far.recv(&mut buf).await?, 4);
            assert_eq!(&buf, b"fits");
        }
        near.send(b"too long").await?;
        let mut room = Vec::with_capacity(3);
        assert_eq!(far.recv_buf(&mut room).await?, 3);
        assert_eq!(room, b"too");
        Ok(())
    });
}

#[test]
fn a_look_takes_nothing() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        near.send(b"hello").await?;
        let mut buf = [0; 2];
        assert_eq!(far.peek(&mut buf).await?, 2);
        assert_eq!(far.peek_from(&mut buf).await?, (2, near.local_addr()?));
        assert_eq!(far.peek_sender().await?, near.local_addr()?);
        assert_eq!(far.try_peek(&mut buf)?, 2);
        assert_eq!(far.try_peek_from(&mut buf)?, (2, near.local_addr()?));
        assert_eq!(far.try_peek_sender()?, near.local_addr()?);
        assert_eq!(far.recv(&mut [0; 8]).await?, 5);
        assert_eq!(far.try_peek(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn a_refusal_is_told_once_and_the_socket_works_on() {
    on_both(1, || async {
        let near = UdpSocket::bind(own_address()).await?;
        let closed = UdpSocket::bind(own_address()).await?.local_addr()?;
        near.connect(closed).await?;
        near.send(b"anyone?").await?;
        let error = near.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let far = UdpSocket::bind(own_address()).await?;
        near.connect(far.local_addr()?).await?;
        near.send(b"hello").await?;
        assert_eq!(far.recv(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn what_cannot_be_sent_is_an_error_and_nothing_goes_out() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let error = near.send(&vec![0; 70_000]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let stranger = UdpSocket::bind("127.0.0.1:0").await?;
        assert_eq!(stranger.send(b"x").await.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        let nowhere: &[SocketAddr] = &[];
        assert_eq!(stranger.send_to(b"x", nowhere).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(stranger.connect(nowhere).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        // A peer receives from its peer only.
        stranger.send_to(b"stranger", far.local_addr()?).await?;
        near.send(b"peer").await?;
        let mut buf = [0; 8];
        assert_eq!(far.recv(&mut buf).await?, 4);
        assert_eq!(&buf[..4], b"peer");
        Ok(())
    });
}

#[test]
fn the_callers_own_calls_wait_and_try() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let nothing = far.try_io(Interest::READABLE, || (&*SockRef::from(&far)).read(&mut [0; 8]));
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(poll_once(&mut pin!(far.readable())).await.is_pending());
        near.send(b"hello").await?;
        let (mut head, mut tail) = ([0; 2], [0; 8]);
        let socket = SockRef::from(&far);
        let parts =
            || (&*socket).read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)]);
        assert_eq!(far.async_io(Interest::READABLE, parts).await?, 5);
        assert_eq!((&head, &tail[..3]), (b"he", &b"llo"[..]));
        assert!(far.ready(Interest::WRITABLE).await?.is_writable());
        Ok(())
    });
}

#[test]
fn a_socket_goes_to_the_standard_library_and_comes_back() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        assert!(poll_once(&mut pin!(far.recv(&mut [0; 8]))).await.is_pending());
        let far = far.into_std()?;
        near.send(b"hello").await?;
        far.set_nonblocking(false)?;
        assert_eq!(far.recv(&mut [0; 8])?, 5);
        let far = UdpSocket::try_from(far)?;
        near.send(b"again").await?;
        assert_eq!(far.recv(&mut [0; 8]).await?, 5);
        Ok(())
    });
}

#[test]
fn an_address_is_free_again_when_its_socket_is_dropped() {
    on_both(1, || async {
        for wait_first in [false, true] {
            let socket = UdpSocket::bind(own_address()).await?;
            let (address, open) = (socket.local_addr()?, OpenSocket::of(&socket));
            if wait_first {
                assert!(poll_once(&mut pin!(socket.recv(&mut [0; 8]))).await.is_pending());
            }
            let error = UdpSocket::bind(address).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().starts_with(&address.to_string()), "{error}");
            assert_eq!(open.descriptors(), 1);
            drop(socket);
            UdpSocket::bind(address).await?;
            assert_eq!(open.descriptors(), 0);
        }
        Ok(())
    });
}
