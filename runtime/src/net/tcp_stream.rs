//! A TCP connection.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use bytes::BufMut;
use socket2::{Domain, Socket, Type};

use super::addr::resolve;
use super::split::{self, ReadHalf, WriteHalf};
use super::split_owned::{self, OwnedReadHalf, OwnedWriteHalf};
use super::{StreamIo, ToSocketAddrs};
use crate::driver::{Interest, Ready};

/// A TCP connection, made by [`connect`](TcpStream::connect) or [`TcpListener::accept`](super::TcpListener::accept).
///
/// It is read and written through tokio's `AsyncRead` and `AsyncWrite` (feature `tokio`, on by default), the traits of
/// `futures` or hyper (features `futures-io`, `hyper`), or by waiting for readiness and trying. `Ok(n)` from a write
/// means that the system has the bytes; they arrive also when the stream is dropped right after. Dropping it closes the
/// connection in both directions, at once.
///
/// Any core may use the stream at any time. Several tasks, on several cores, may wait for it at once; what arrives goes
/// to whoever reads first.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::io::{AsyncReadExt, AsyncWriteExt};
/// use multikernel::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
///
/// client.write_all(b"ping").await?;
/// drop(client);
/// let mut all = Vec::new();
/// server.read_to_end(&mut all).await?;
/// assert_eq!(all, b"ping");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct TcpStream {
    pub(super) io: StreamIo,
}

impl TcpStream {
    /// Takes over a connected, non-blocking socket.
    pub(super) fn from_fd(fd: OwnedFd) -> TcpStream {
        TcpStream { io: StreamIo::new(fd) }
    }

    pub(crate) fn io(&self) -> &StreamIo {
        &self.io
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.io.shutdown(Shutdown::Write)
    }

    /// Connects to the first address of `addr` that answers, trying them in turn.
    ///
    /// # Errors
    ///
    /// When `addr` cannot be resolved, as [`lookup_host`](super::lookup_host). Else the error of the last address tried.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the attempt under way.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let port = listener.local_addr()?.port();
    /// let stream = TcpStream::connect(("localhost", port)).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = None;
        for addr in resolve(&addr).await? {
            match TcpStream::connect_one(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "there is no address to connect to");
        Err(last.unwrap_or_else(none))
    }

    async fn connect_one(addr: SocketAddr) -> io::Result<TcpStream> {
        // Non-blocking and closed on exec from the start.
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
        match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            // A signal does not stop the attempt.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
        let stream = TcpStream::from_fd(socket.into());
        stream.io.connected().await?;
        Ok(stream)
    }

    /// Takes over a connection of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system refuses to make it non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpStream;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::from_std(std::net::TcpStream::connect(listener.local_addr()?)?)?;
    /// stream.writable().await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_fd(stream.into()))
    }

    /// Gives the connection to the standard library, non-blocking still.
    ///
    /// Where a core was watching it, its descriptor has another number now.
    ///
    /// # Errors
    ///
    /// No descriptor number is free; the connection is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{TcpListener, TcpStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?.into_std()?;
    /// stream.set_nonblocking(false)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.io.into_fd()?.into())
    }

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
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Polls what [`readable`](Self::readable) waits for.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::READABLE).map_ok(drop)
    }

    /// Polls what [`writable`](Self::writable) waits for.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_ready(cx, Interest::WRITABLE).map_ok(drop)
    }

    /// Reads what is there, without waiting. `Ok(0)` is the end of the stream, if `buf` is not empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found nothing:
    /// wait with [`readable`](Self::readable) between attempts. Else the error of the connection.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.try_read(buf)
    }

    /// As [`try_read`](Self::try_read), into several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
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
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.try_write(buf)
    }

    /// As [`try_write`](Self::try_write), from several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io.try_write_vectored(bufs)
    }

    /// Calls `f`, which does I/O of its own on this socket's descriptor, once and without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, without calling `f`, when this core knows that nothing is ready. Else what `f` returns; when that is
    /// `WouldBlock`, the readiness seen so far is forgotten, so `f` may say so only when the descriptor did.
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

    /// Waits for bytes and copies them out without taking them: the next read finds them again.
    ///
    /// # Errors
    ///
    /// The error of the connection.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.try_write(b"\x16\x03")?;
    /// let mut first = [0];
    /// server.peek(&mut first).await?;
    /// let is_tls = first == [0x16];
    /// # assert!(is_tls);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: `poll_peek` writes only what it received.
        std::future::poll_fn(|cx| self.io.poll_peek(cx, unsafe { super::stream_io::as_uninit(buf) })).await
    }

    /// Lends out one half for reading and one for writing. Costs nothing; the halves cannot go to two tasks.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Makes one half for reading and one for writing, which may go to two tasks on two cores.
    ///
    /// Dropping the write half ends that direction, so that the peer reads the end of the stream.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned::split(self)
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().local_addr()?)
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection has been reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().peer_addr()?)
    }
}

pub(super) fn ip_address(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))
}

impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// As [`TcpStream::from_std`].
    fn try_from(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<TcpStream>();
};
