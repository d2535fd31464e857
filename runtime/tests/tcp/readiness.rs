//! Waiting for readiness and trying; options; the standard library's sockets.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::pin::pin;
use std::time::Duration;

use multikernel::io::Interest;
use multikernel::net::{TcpListener, TcpStream};
use multikernel::{spawn, spawn_local};

use crate::common::{on_both, pair, pattern, poll_once, read, read_exact, write_all};

#[test]
fn echo() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let server = spawn(async move {
            let mut buf = [0; 64];
            loop {
                match read(&far, &mut buf).await? {
                    0 => return io::Result::Ok(()),
                    got => write_all(&far, &buf[..got]).await?,
                }
            }
        });
        for round in 0..1000u32 {
            write_all(&near, &round.to_le_bytes()).await?;
            let mut back = [0; 4];
            read_exact(&near, &mut back).await?;
            assert_eq!(u32::from_le_bytes(back), round);
        }
        drop(near);
        server.await.unwrap()
    });
}

#[test]
fn nothing_to_read_and_no_room_to_write_would_block() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let mut buf = [0; 16];
        assert_eq!(near.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        let block = pattern(1 << 16);
        let mut sent = 0;
        let full = loop {
            match near.try_write(&block) {
                Ok(put) => sent += put,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let reader = spawn_local(async move {
            let mut got = 0;
            let mut buf = vec![0; 1 << 16];
            while got < sent {
                got += read(&far, &mut buf).await?;
            }
            io::Result::Ok(far)
        });
        near.writable().await?;
        assert!(near.try_write(b"more")? > 0);
        reader.await.unwrap()?;
        Ok(())
    });
}

#[test]
fn ready_says_what_is_ready() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let ready = near.ready(both).await?;
        assert!(ready.is_writable() && !ready.is_readable());
        write_all(&far, b"x").await?;
        near.readable().await?;
        let ready = near.ready(both).await?;
        assert!(ready.is_readable() && ready.is_writable() && !ready.is_read_closed());
        drop(far);
        let mut buf = [0; 4];
        assert_eq!(read(&near, &mut buf).await?, 1);
        assert_eq!(read(&near, &mut buf).await?, 0);
        assert!(near.ready(Interest::READABLE).await?.is_read_closed());
        Ok(())
    });
}

#[test]
fn peek_leaves_the_bytes() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let peeking = spawn(async move {
            let mut first = [0; 2];
            for _ in 0..3 {
                assert_eq!(far.peek(&mut first).await?, 2);
                assert_eq!(&first, b"he");
            }
            let mut all = [0; 5];
            read_exact(&far, &mut all).await?;
            assert_eq!(&all, b"hello");
            assert_eq!(far.peek(&mut first).await?, 0);
            io::Result::Ok(())
        });
        multikernel::task::yield_now().await;
        write_all(&near, b"hello").await?;
        drop(near);
        peeking.await.unwrap()
    });
}

#[test]
fn vectored_and_growing_buffers() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        near.writable().await?;
        assert_eq!(
            near.try_write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")])?,
            6
        );
        // More buffers than one call takes.
        let byte = [7];
        let many: Vec<_> = (0..3000).map(|_| IoSlice::new(&byte)).collect();
        let put = near.try_write_vectored(&many)?;
        assert!((1..=1024).contains(&put));

        far.readable().await?;
        let (mut left, mut right) = ([0; 4], [0; 2]);
        let got = far.try_read_vectored(&mut [IoSliceMut::new(&mut left), IoSliceMut::new(&mut right)])?;
        assert_eq!((got, &left, &right), (6, b"onet", b"wo"));
        let mut rest = Vec::new();
        while rest.len() < put {
            far.readable().await?;
            assert_ne!(far.try_read_buf(&mut rest)?, 0);
        }
        assert_eq!(rest, vec![7; put]);
        Ok(())
    });
}

#[test]
fn own_calls_through_try_io_and_async_io() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let socket = socket2::SockRef::from(&near);
        let mut called = 0;
        let idle: io::Result<()> = near.try_io(Interest::READABLE, || {
            called += 1;
            Err(ErrorKind::WouldBlock.into())
        });
        assert_eq!((called, idle.unwrap_err().kind()), (1, ErrorKind::WouldBlock));
        let interrupted: io::Result<()> =
            near.try_io(Interest::WRITABLE, || Err(io::Error::from(ErrorKind::Interrupted)));
        assert_eq!(interrupted.unwrap_err().kind(), ErrorKind::Interrupted);
        let writer = spawn(async move { write_all(&far, b"abc").await.map(|()| far) });
        let mut buf = Vec::with_capacity(8);
        let got = near.async_io(Interest::READABLE, || socket.recv(buf.spare_capacity_mut())).await?;
        assert_eq!(got, 3);
        let _far = writer.await.unwrap()?;
        // All of it was taken.
        assert_eq!(near.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        Ok(())
    });
}

#[test]
fn data_written_before_a_drop_arrives() {
    on_both(1, || async {
        for size in [1, 1000, 100_000] {
            let (near, far) = pair().await?;
            // Readers have made the driver watch both ends.
            let _ = poll_once(&mut pin!(near.readable())).await;
            let sent = pattern(size);
            let expected = sent.clone();
            let writer = spawn(async move { write_all(&near, &sent).await });
            let mut got = vec![0; size];
            read_exact(&far, &mut got).await?;
            assert!(got == expected);
            assert_eq!(read(&far, &mut [0]).await?, 0);
            writer.await.unwrap()?;
        }
        Ok(())
    });
}

#[test]
fn a_reset_is_an_error() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        let reading = spawn(async move {
            let error = read(&near, &mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            // The reset has been told; what follows is a plain end, and writing fails.
            assert_eq!(read(&near, &mut [0; 8]).await?, 0);
            let error = write_all(&near, b"x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(near.peer_addr().is_err());
            io::Result::Ok(())
        });
        multikernel::task::yield_now().await;
        far.set_zero_linger()?;
        drop(far);
        reading.await.unwrap()
    });
}

#[test]
fn writing_to_a_peer_that_is_gone_fails_sometime() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        drop(far);
        let block = vec![0; 1 << 16];
        let error = loop {
            if let Err(error) = write_all(&near, &block).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        Ok(())
    });
}

#[test]
fn options() {
    on_both(1, || async {
        let (near, far) = pair().await?;
        assert!(!near.nodelay()?);
        near.set_nodelay(true)?;
        assert!(near.nodelay()?);
        near.set_quickack(true)?;
        assert!(near.quickack()?);
        near.set_ttl(33)?;
        assert_eq!(near.ttl()?, 33);
        assert_eq!(near.linger()?, None);
        near.set_linger(Some(Duration::from_secs(0)))?;
        assert_eq!(near.linger()?, Some(Duration::ZERO));
        near.set_linger(None)?;
        assert_eq!(near.local_addr()?, far.peer_addr()?);
        assert_eq!(near.peer_addr()?, far.local_addr()?);
        assert!(near.take_error()?.is_none());
        assert!(format!("{near:?}").contains(&near.local_addr()?.to_string()));
        Ok(())
    });
}

#[test]
fn from_the_standard_library_and_back() {
    on_both(1, || async {
        let listener = TcpListener::from_std(std::net::TcpListener::bind("127.0.0.1:0")?)?;
        let addr = listener.local_addr()?;
        // One that has been watched, and one that has not.
        for watched in [true, false] {
            let near = TcpStream::from_std(std::net::TcpStream::connect(addr)?)?;
            let (far, _) = listener.accept().await?;
            if watched {
                assert!(poll_once(&mut pin!(near.readable())).await.is_pending());
                write_all(&far, b"seen").await?;
                read_exact(&near, &mut [0; 4]).await?;
            }
            write_all(&far, b"hello").await?;
            let mut near = near.into_std()?;
            near.set_nonblocking(false)?;
            let mut buf = [0; 5];
            near.read_exact(&mut buf)?;
            assert_eq!(&buf, b"hello");
            near.write_all(b"back")?;
            read_exact(&far, &mut buf[..4]).await?;
            assert_eq!(&buf[..4], b"back");
        }
        let listener = listener.into_std()?;
        assert_eq!(listener.local_addr()?, addr);
        let near = spawn(async move { TcpStream::connect(addr).await });
        let near = near.await.unwrap()?;
        assert_eq!(listener.accept()?.1, near.local_addr()?);
        Ok(())
    });
}
