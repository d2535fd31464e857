//! Every future of a stream and of a listener is dropped at the points where it waits, and they work on.

use std::io;

use multikernel::io::{AsyncReadExt, AsyncWriteExt, Interest};
use multikernel::net::{UnixListener, UnixStream};

use crate::support::{Folder, give_up_after, on_both, pattern};

#[test]
fn reads_and_waits_given_up_lose_nothing() {
    on_both(2, || async {
        for waits in 1..4 {
            let (mut near, mut far) = UnixStream::pair()?;
            let mut buf = [0; 8];
            assert!(!give_up_after(waits, near.read(&mut buf)).await);
            assert!(!give_up_after(waits, near.recv()).await);
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
        let (mut near, mut far) = UnixStream::pair()?;
        let data = pattern(500);
        let mut got = Vec::new();
        for (number, piece) in data.chunks(5).enumerate() {
            if number % 2 == 0 {
                assert!(!give_up_after(1, near.read(&mut [0; 5])).await);
            } else {
                assert!(!give_up_after(1, near.recv()).await);
            }
            far.write_all(piece).await?;
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
            let (mut near, mut far) = UnixStream::pair()?;
            let block = pattern(1 << 16);
            let mut sent = 0;
            while let Ok(put) = near.try_write(&block[sent % block.len()..]) {
                sent += put;
            }
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
fn accepts_given_up_lose_no_connection() {
    on_both(1, || async {
        let folder = Folder::new("accepts");
        let listener = UnixListener::bind(folder.join("server.sock"))?;
        for waits in 1..4 {
            assert!(!give_up_after(waits, listener.accept()).await);
            let mut client = UnixStream::connect_addr(&listener.local_addr()?).await?;
            let (mut server, _) = listener.accept().await?;
            client.write_all(b"x").await?;
            server.read_exact(&mut [0]).await?;
        }
        Ok(())
    });
}
