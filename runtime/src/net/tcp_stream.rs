//! A TCP connection.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{Domain, Socket, Type};

use super::addr::{ip_address, resolve};
use super::owned::exchanges;
use super::readiness::tries;
use super::split::{self, ReadHalf, WriteHalf};
use super::split_owned::{self, OwnedReadHalf, OwnedWriteHalf};
use super::stream::Stream;
use super::waits::waits;
use super::{SendAll, StableBuf, StreamIo, ToSocketAddrs};

/// A TCP connection, made by [`connect`](TcpStream::connect) or [`TcpListener::accept`](super::TcpListener::accept).
///
/// It is read and written through tokio's `AsyncRead` and `AsyncWrite` (feature `tokio`, on by default), the traits of
/// `futures` or hyper (features `futures-io`, `hyper`), in whole buffers ([`recv`](Self::recv),
/// [`send_all`](Self::send_all)), or by waiting for readiness and trying. `Ok(n)` from a write means that the system has
/// the bytes; they arrive also when the stream is dropped right after. Dropping it closes the connection in both
/// directions, at once.
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
        TcpStream::connect_socket(socket, addr).await
    }

    /// Connects a socket that is non-blocking.
    pub(super) async fn connect_socket(socket: Socket, addr: SocketAddr) -> io::Result<TcpStream> {
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
    /// No descriptor number is free, or bytes could be lost that a core receives ahead of the reader. The connection is
    /// closed then. Cores receive ahead on io_uring, for streams that are read with [`recv`](Self::recv) or through the
    /// traits of [`compat`](crate::compat); never for one that is read with [`try_read`](Self::try_read) alone.
    /// [`into_parts`](Self::into_parts) gives such bytes too.
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

    /// The stream of the standard library, in non-blocking mode, and the bytes that a core has received ahead of the reader:
    /// those come before what is read from the stream. There may be some where [`into_std`](Self::into_std) is an error.
    ///
    /// # Errors
    ///
    /// No descriptor number is free, or the connection has failed, so that nothing follows what was received. It is closed
    /// then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the connection is closed when the future is dropped.
    ///
    /// # Examples
    ///
    /// A connection whose first bytes say that a thread is to serve it:
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// client.send_all(&b"thread\nhello"[..]).await.result?;
    /// drop(client);
    /// let first = server.recv().await?; // more may be received already
    /// let (mut stream, ahead) = server.into_parts().await?;
    /// stream.set_nonblocking(false)?;
    /// let mut all = [&first[..], &ahead].concat();
    /// stream.read_to_end(&mut all)?;
    /// assert_eq!(all, b"thread\nhello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn into_parts(self) -> io::Result<(std::net::TcpStream, Vec<u8>)> {
        let (fd, ahead) = self.io.into_parts().await?;
        Ok((fd.into(), ahead))
    }

    /// Lends out one half for reading and one for writing. Costs nothing; the halves cannot go to two tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// let (reader, writer) = server.split();
    /// writer.try_write(b"welcome\n")?; // while `reader` may wait
    /// client.try_write(b"hello\n")?;
    /// reader.readable().await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Makes one half for reading and one for writing, which may go to two tasks on two cores.
    ///
    /// Dropping the write half ends that direction, so that the peer reads the end of the stream. What the halves lack,
    /// such as [`recv`](Self::recv), the stream behind them has: `reader.as_ref().recv()`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = server.into_split();
    /// let receiving = multikernel::spawn(async move { reader.as_ref().recv().await });
    /// let sending = multikernel::spawn(async move { writer.as_ref().send_all(&b"welcome"[..]).await.result });
    ///
    /// client.send_all(&b"hello"[..]).await.result?;
    /// assert_eq!(&receiving.await??[..], b"hello");
    /// sending.await??;
    /// assert_eq!(&client.recv().await?[..], b"welcome");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned::split(self)
    }

    /// This side's address.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// assert_eq!(server.local_addr()?, listener.local_addr()?);
    /// assert_eq!(client.local_addr()?, server.peer_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().local_addr()?)
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the connection has been reset.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// println!("serving {}", server.peer_addr()?);
    /// assert_eq!(client.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().peer_addr()?)
    }
}

impl TcpStream {
    waits!(
        "# use multikernel::net::{TcpListener, TcpStream};
# let listener = TcpListener::bind(\"127.0.0.1:0\").await?;
# let client = TcpStream::connect(listener.local_addr()?).await?;
# let (server, _) = listener.accept().await?;",
        "client.try_write(b\"hello\")?;"
    );
    tries!(
        "# use multikernel::net::{TcpListener, TcpStream};
# let listener = TcpListener::bind(\"127.0.0.1:0\").await?;
# let client = TcpStream::connect(listener.local_addr()?).await?;
# let (server, _) = listener.accept().await?;"
    );
    /// Sends all of `buffer` without a copy in the system, and gives it back once nobody reads it any more: when the peer has
    /// acknowledged the last byte.
    ///
    /// As [`send_all`](Self::send_all) otherwise, and exactly that where it would not pay or is not to be had: below 64 KiB; on
    /// epoll; before Linux 6.2; where the user may lock no more memory (`RLIMIT_MEMLOCK`; the bytes count while they are sent);
    /// and on a socket for which the system has reported that it copied after all, from its next send on. So it is over the
    /// loopback, between containers of one host and while packets are captured.
    ///
    /// It saves a copy, and costs a round trip before the buffer is back: a peer that does not read keeps it. Use it for much
    /// data at a time, towards another host, with a network card that takes scattered pages and computes checksums. Send one
    /// buffer after the other: two sends at once may mix their bytes.
    ///
    /// # Errors
    ///
    /// Those of the connection, such as `BrokenPipe`, as the `result` of [`Sent`](super::Sent); with the buffer, when the system
    /// has let go of it too. Some of the bytes may have been sent.
    ///
    /// # Panics
    ///
    /// The future panics on a thread that is neither a core nor inside `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a future dropped early has sent a part of the buffer, or all, or none. The runtime keeps the memory until
    /// the system has let go of it. A core that ends waits up to a second for that, and never frees what is in use then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{TcpListener, TcpStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let sent = server.send_zero_copy(vec![0; 64 * 1024]).await;
    /// sent.result?;
    /// let buffer = sent.buffer.unwrap_or_default(); // the peer has received it
    /// # assert_eq!(buffer.len(), 64 * 1024);
    /// # drop(client);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn send_zero_copy<B: StableBuf>(&self, buffer: B) -> SendAll<'_, B> {
        self.io.send_zero_copy(buffer)
    }

    exchanges!(
        "# use multikernel::net::{TcpListener, TcpStream};
# let listener = TcpListener::bind(\"127.0.0.1:0\").await?;
# let client = TcpStream::connect(listener.local_addr()?).await?;
# let (server, _) = listener.accept().await?;"
    );
}

impl Stream for TcpStream {
    type Addr = SocketAddr;

    #[expect(private_interfaces, reason = "see the trait")]
    fn io(&self) -> &StreamIo {
        &self.io
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
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
