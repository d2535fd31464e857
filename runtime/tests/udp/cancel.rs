//! Every future of a socket is dropped at the points where it waits, and the socket works on.

use std::io;

use multikernel::io::Interest;
use multikernel::net::udp::{Datagram, RecvBatch};

use crate::pair;
use crate::support::{give_up_after, on_both};

#[test]
fn what_is_given_up_takes_no_datagram() {
    on_both(2, || async {
        for waits in 1..4 {
            let (near, far) = pair().await?;
            let mut buf = [0; 8];
            let mut room = Vec::with_capacity(8);
            let mut batch = RecvBatch::new(4, 8);
            assert!(!give_up_after(waits, far.recv(&mut buf)).await);
            assert!(!give_up_after(waits, far.recv_from(&mut buf)).await);
            assert!(!give_up_after(waits, far.recv_buf(&mut room)).await);
            assert!(!give_up_after(waits, far.recv_buf_from(&mut room)).await);
            assert!(!give_up_after(waits, far.peek(&mut buf)).await);
            assert!(!give_up_after(waits, far.peek_from(&mut buf)).await);
            assert!(!give_up_after(waits, far.peek_sender()).await);
            assert!(!give_up_after(waits, far.recv_batch(&mut batch)).await);
            assert!(!give_up_after(waits, far.readable()).await);
            assert!(!give_up_after(waits, far.ready(Interest::READABLE)).await);
            let never = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            assert!(!give_up_after(waits, far.async_io(Interest::READABLE, never)).await);
            assert!(!give_up_after(waits, far.async_io(Interest::WRITABLE, never)).await);
            assert!(room.is_empty() && batch.is_empty());
            near.send(b"hello").await?;
            assert_eq!(far.recv(&mut buf).await?, 5);
            far.send(b"world").await?;
            assert_eq!(near.recv(&mut buf).await?, 5);
        }
        Ok(())
    });
}

#[test]
fn a_receive_given_up_while_datagrams_arrive_takes_none() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let mut batch = RecvBatch::new(4, 8);
        for number in 0..100_u32 {
            assert!(!give_up_after(1, far.recv(&mut [0; 8])).await);
            assert!(!give_up_after(1, far.recv_batch(&mut batch)).await);
            near.send(&number.to_le_bytes()).await?;
            let mut buf = [0; 4];
            far.recv(&mut buf).await?;
            assert_eq!(u32::from_le_bytes(buf), number);
        }
        Ok(())
    });
}

/// On loopback there is always room, so they are ready at the first poll; none is sent before that.
#[test]
fn sends_that_are_never_polled_send_nothing() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        drop(near.send(b"never"));
        drop(near.send_to(b"never", far.local_addr()?));
        drop(near.send_batch(&[Datagram::new(b"never")]));
        // By name, so that it waits for the resolver, unless that is very quick.
        let by_name = ("localhost", far.local_addr()?.port());
        if give_up_after(1, near.send_to(b"quick", by_name)).await {
            assert_eq!(far.recv(&mut [0; 8]).await?, 5);
        }
        assert!(give_up_after(1, near.send(b"once")).await);
        let mut buf = [0; 8];
        assert_eq!(far.recv(&mut buf).await?, 4);
        assert_eq!(far.try_recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        Ok(())
    });
}
