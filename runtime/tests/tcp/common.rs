//! What the tests of TCP share.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverChoice, DriverKind, Handle};
use multikernel::time::timeout;

/// A test that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub const DRIVERS: [(DriverChoice, DriverKind); 2] =
    [(DriverChoice::Uring, DriverKind::Uring), (DriverChoice::Epoll, DriverKind::Epoll)];

/// Runs `test` on a Machine with `cores`, once for each driver; fails if it does not end.
pub fn on_both<F, Fut>(cores: usize, test: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = io::Result<()>> + 'static,
{
    for (choice, kind) in DRIVERS {
        let test = &test;
        Builder::new_test()
            .cores(cores)
            .driver(choice)
            .run(|| {
                assert_driver(&Handle::current(), kind);
                let test = test();
                async { timeout(PATIENCE, test).await }
            })
            .unwrap()
            .unwrap_or_else(|_| panic!("the test hangs on {kind}"))
            .unwrap_or_else(|error| panic!("on {kind}: {error}"));
    }
}

/// Holds that `kind` is what runs, wherever this system allows it and the environment does not say otherwise.
pub fn assert_driver(handle: &Handle, kind: DriverKind) {
    let allowed = kind == DriverKind::Epoll || io_uring::IoUring::new(8).is_ok();
    if allowed && std::env::var_os("MULTIKERNEL_DRIVER").is_none() {
        assert_eq!(handle.driver().kind, kind, "{}", handle.driver().why);
    }
}

/// Both ends of a connection.
pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    let (far, peer) = listener.accept().await?;
    assert_eq!(peer, near.local_addr()?);
    Ok((near, far))
}

pub async fn read(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

pub async fn read_exact(stream: &TcpStream, buf: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match read(stream, &mut buf[done..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => done += got,
        }
    }
    Ok(())
}

pub async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => bytes = &bytes[result?..],
        }
    }
    Ok(())
}

/// Bytes that differ from place to place, so that lost, doubled and swapped pieces show.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
}

/// Polls once.
pub async fn poll_once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
