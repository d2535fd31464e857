//! Waiting until a TCP connection is ready, and the calls that try without waiting.

use std::io::{self, IoSlice, IoSliceMut};
use std::task::{Context, Poll};

use bytes::BufMut;

use super::TcpStream;
use crate::driver::{Interest, Ready};

impl TcpStream {
    /// Waits until `interest` is ready, and says what is. It may be wrong: what is tried next may still find nothing.
    ///
    /// # Errors
    ///
    /// The driver cannot watch the socket.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor inside a `block_on`. The same holds for all that waits.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not lost when the future is dropped: the next one finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// let ready = stream.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(ready.is_writable() && !ready.is_readable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.io.ready(interest).await
    }

    /// Waits until there is something to read, the end included. As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// One buffer serves any number of idle connections:
    ///
    /// ```
    /// use multikernel::net::TcpStream;
    /// use std::io;
    ///
    /// async fn next_bytes(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    ///     loop {
    ///         stream.readable().await?;
    ///         match stream.try_read(buf) {
    ///             Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
    ///             result => return result,
    ///         }
    ///     }
    /// }
    /// # use multikernel::net::TcpListener;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # client.try_write(b"hello")?;
    /// # assert_eq!(next_bytes(&server, &mut [0; 8]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Waits until there is room to write, or writing fails. As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    /// let mut sent = 0;
    /// while sent < answer.len() {
    ///     server.writable().await?;
    ///     match server.try_write(&answer[sent..]) {
    ///         Ok(count) => sent += count,
    ///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Polls what [`readable`](Self::readable) waits for. Errors and panics are those of [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// poll_fn(|cx| server.poll_read_ready(cx)).await?;
    /// assert_eq!(server.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::READABLE).map_ok(drop)
    }

    /// Polls what [`writable`](Self::writable) waits for. Errors and panics are those of [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// poll_fn(|cx| server.poll_write_ready(cx)).await?;
    /// assert_eq!(server.try_write(b"hello")?, 5);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::WRITABLE).map_ok(drop)
    }

    /// Reads what is there, without waiting. `Ok(0)` is the end of the stream, if `buf` is not empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found nothing:
    /// wait with [`readable`](Self::readable) between attempts. Else the error of the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let mut buf = [0; 1024];
    /// assert_eq!(server.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    ///
    /// client.try_write(b"hello")?;
    /// server.readable().await?;
    /// let count = server.try_read(&mut buf)?;
    /// assert_eq!(&buf[..count], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_read(buf)
    }

    /// As [`try_read`](Self::try_read), into several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// A header of four bytes and what follows, in one call:
    ///
    /// ```
    /// use std::io::IoSliceMut;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"\0\0\0\x05hello")?;
    /// let (mut length, mut body) = ([0; 4], [0; 1020]);
    /// server.readable().await?;
    /// server.try_read_vectored(&mut [IoSliceMut::new(&mut length), IoSliceMut::new(&mut body)])?;
    /// assert_eq!(u32::from_be_bytes(length), 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.io.try_read_vectored(bufs)
    }

    /// As [`try_read`](Self::try_read), into the spare room of `buf`, which advances; nothing is zeroed first.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let mut buf = Vec::with_capacity(64);
    /// server.readable().await?;
    /// server.try_read_buf(&mut buf)?;
    /// assert_eq!(buf, b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.io.try_read_buf(buf)
    }

    /// Writes what fits, without waiting, and says how much that was.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits: wait with [`writable`](Self::writable) between attempts. Else the error of the
    /// connection.
    ///
    /// # Examples
    ///
    /// A metric that is not worth waiting for:
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// match client.try_write(b"requests:1|c\n") {
    ///     Ok(_) => {}
    ///     Err(error) if error.kind() == ErrorKind::WouldBlock => println!("dropped"),
    ///     Err(error) => return Err(error),
    /// }
    /// # server.readable().await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_write(buf)
    }

    /// As [`try_write`](Self::try_write), from several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (head, body) = (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"hello");
    /// server.writable().await?;
    /// let sent = server.try_write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
    /// assert_eq!(sent, head.len() + body.len());
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_write_vectored(bufs)
    }

    /// Calls `f`, which does I/O of its own on this socket's descriptor, once and without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, without calling `f`, when this core knows that nothing is ready. Else what `f` returns; when that is
    /// `WouldBlock`, the readiness seen so far is forgotten, so `f` may say so only when the descriptor did.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// server.readable().await?;
    /// let socket = socket2::SockRef::from(&server);
    /// let mut buf = Vec::with_capacity(64);
    /// let got = server.try_io(Interest::READABLE, || socket.recv(buf.spare_capacity_mut()))?;
    /// assert_eq!(got, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(interest, f)
    }

    /// Calls `f`, which does I/O of its own on this socket's descriptor, until it does not return `WouldBlock`.
    ///
    /// # Errors
    ///
    /// As `f`; `Interrupted` is retried.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"hello")?;
    /// let socket = socket2::SockRef::from(&server);
    /// let mut buf = Vec::with_capacity(64);
    /// let got = server.async_io(Interest::READABLE, || socket.recv(buf.spare_capacity_mut())).await?;
    /// assert_eq!(got, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn async_io<R>(&self, interest: Interest, f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.io.async_io(interest, f).await
    }
}
