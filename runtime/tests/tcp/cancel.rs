//! Every future of a socket is dropped at the points where it waits, and the socket works on.

use std::future::Future;
use std::io;
use std::pin::pin;

use multikernel::io::{AsyncReadExt, AsyncWriteExt, Interest};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::task::yield_now;

use crate::common::{on_both, pair, pattern, poll_once};
use crate::support::woken_within;

/// Polls `future` until it has waited `waits` times, then drops it. True when it was done before.
async fn give_up_after(waits: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    for _ in 0..waits {
        if poll_once(&mut future).await.is_ready() {
            return true;
        }
        yield_now().await;
    }
    false
}

#[test]
fn reads_and_waits_given_up_lose_nothing() {
    on_both(2, || async {
        for waits in 1..4 {
            let (mut near, mut far) = pair().await?;
            let mut buf = [0; 8];
            assert!(!give_up_after(waits, near.read(&mut buf)).await);
            assert!(!give_up_after(waits, near.readable()).await);
            assert!(!give_up_after(waits, near.peek(&mut buf)).await);
            assert!(!give_up_after(waits, near.ready(Interest::READABLE)).await);
            let never = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            assert!(!give_up_after(waits, near.async_io(Interest::READABLE, never)).await);
            assert!(!give_up_after(waits, near.async_io(Interest::WRITABLE, never)).await);
            let (mut reader, mut writer) = near.split();
            assert!(!give_up_after(waits, reader.read(&mut buf)).await);
            writer.write_all(b"ping").await?;
            far.read_exact(&mut buf[..4]).await?;
            far.write_all(b"pong").await?;
            near.read_exact(&mut buf[..4]).await?;
            assert_eq!(&buf[..4], b"pong");
        }
        Ok(())
    });
}

#[test]
fn a_read_given_up_while_bytes_arrive_takes_none() {
    on_both(1, || async {
        let (mut near, mut far) = pair().await?;
        let data = pattern(500);
        let mut got = Vec::new();
        for piece in data.chunks(5) {
            assert!(!give_up_after(1, near.read(&mut [0; 5])).await);
            far.write_all(piece).await?;
            // Polled or not when the bytes are there: what was not handed out is there for the next.
            let mut buf = [0; 5];
            near.read_exact(&mut buf).await?;
            got.extend_from_slice(&buf);
        }
        assert!(got == data);
        Ok(())
    });
}

#[test]
fn writes_given_up_are_sent_once_or_not_at_all() {
    on_both(1, || async {
        for waits in 1..4 {
            let (mut near, mut far) = pair().await?;
            let block = pattern(1 << 16);
            let mut sent = 0;
            while let Ok(put) = near.try_write(&block[sent % block.len()..]) {
                sent += put;
            }
            // There is no room: these wait, and leave nothing behind that would be sent later.
            assert!(!give_up_after(waits, near.write(b"never")).await);
            assert!(!give_up_after(waits, near.write_all(b"never")).await);
            assert!(!give_up_after(waits, near.writable()).await);
            near.shutdown().await?;
            let mut all = Vec::new();
            far.read_to_end(&mut all).await?;
            assert_eq!(all.len(), sent);
            assert!(all.iter().zip(block.iter().cycle()).all(|(got, put)| got == put));
        }
        Ok(())
    });
}

#[test]
fn accepts_and_connects_given_up() {
    on_both(1, || async {
        let mut waits = 1;
        loop {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let addr = listener.local_addr()?;
            assert!(!give_up_after(waits, listener.accept()).await);
            let client = TcpStream::connect(addr).await?;
            let (server, peer) = listener.accept().await?;
            assert_eq!(peer, client.local_addr()?);
            drop((client, server));
            // By name, so that it waits for the resolver too.
            let connected = woken_within(waits, TcpStream::connect(("localhost", addr.port()))).await;
            let has_connected = connected.is_some();
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let client = TcpStream::connect(listener.local_addr()?).await?;
            assert_eq!(listener.accept().await?.1, client.local_addr()?);
            match connected {
                Some(connected) => assert_eq!(connected?.peer_addr()?, addr),
                None => waits += 1,
            }
            // A thread of the resolver may be faster than this one: then nothing has been given up yet.
            if has_connected && waits > 1 {
                break;
            }
        }
        Ok(())
    });
}
