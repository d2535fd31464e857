//! A connection between two processes of one machine.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use super::StreamIo;
use super::owned::exchanges;
use super::readiness::tries;
use super::shortage::Pause;
use super::split;
use super::split_owned;
use super::stream::Stream;
use super::ucred::UCred;
use super::unix::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, SocketAddr, WriteHalf};
use super::unix_addr::system_addr;
use super::waits::waits;

/// A connection between two processes of one machine, made by [`connect`](UnixStream::connect),
/// [`pair`](UnixStream::pair) or [`UnixListener::accept`](super::UnixListener::accept).
///
/// It is read and written as a [`TcpStream`](super::TcpStream) is, with the same traits and the same meaning.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::io::{AsyncReadExt, AsyncWriteExt};
/// use multikernel::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("multikernel-example-stream-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let mut client = UnixStream::connect(&path).await?;
/// let (mut server, _) = listener.accept().await?;
/// std::fs::remove_file(&path)?; // connections do not need it
///
/// client.write_all(b"ping").await?;
/// drop(client);
/// let mut all = Vec::new();
/// server.read_to_end(&mut all).await?;
/// assert_eq!(all, b"ping");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixStream {
    io: StreamIo,
}

impl UnixStream {
    /// Takes over a connected, non-blocking socket.
    pub(super) fn from_fd(fd: OwnedFd) -> UnixStream {
        UnixStream { io: StreamIo::with_boundaries(fd) }
    }

    pub(crate) fn io(&self) -> &StreamIo {
        &self.io
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.io.shutdown(Shutdown::Write)
    }

    /// Connects to the socket at `path`; if the first byte of `path` is zero, the rest is an abstract name.
    ///
    /// While too many connections wait for the listener to accept them, this tries again, every 10 to 100 ms.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such socket, `ConnectionRefused` when nobody listens, `InvalidInput` when `path` is no
    /// name for a Unix socket.
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
    /// use multikernel::net::UnixStream;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let nobody = UnixStream::connect("/nowhere/server.sock").await.unwrap_err();
    /// assert_eq!(nobody.kind(), std::io::ErrorKind::NotFound);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        let addr = system_addr(path.as_ref())?;
        UnixStream::connect_to(addr).await
    }

    /// As [`connect`](Self::connect), to an address that is at hand.
    ///
    /// # Errors
    ///
    /// As there; `InvalidInput` when the address is unnamed.
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::{UnixListener, UnixStream};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let listener = UnixListener::bind(format!("\0multikernel-connect-addr-{}", std::process::id()))?;
    /// let stream = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// assert!(stream.peer_addr()?.as_abstract_name().is_some());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(addr.to_system()?).await
    }

    async fn connect_to(addr: SockAddr) -> io::Result<UnixStream> {
        // Non-blocking and closed on exec from the start.
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        UnixStream::connect_socket(socket, &addr).await
    }

    pub(super) async fn connect_socket(socket: Socket, addr: &SockAddr) -> io::Result<UnixStream> {
        let mut pause = Pause::default();
        loop {
            match socket.connect(addr) {
                // The listener's queue is full; nothing tells when it no longer is.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause.begin(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    result?;
                    return Ok(UnixStream::from_fd(socket.into()));
                }
            }
            std::future::poll_fn(|cx| pause.poll(cx)).await;
        }
    }

    /// Makes two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let (near, far) = UnixStream::pair()?;
    /// near.send_all(&b"hello"[..]).await.result?;
    /// assert_eq!(&far.recv().await?[..], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        Ok((UnixStream::from_fd(near.into()), UnixStream::from_fd(far.into())))
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
    /// use multikernel::net::UnixStream;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    /// UnixStream::from_std(near)?.writable().await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_fd(stream.into()))
    }

    /// Gives the connection to the standard library, non-blocking still.
    ///
    /// Where a core was watching it, its descriptor has another number now.
    ///
    /// # Errors
    ///
    /// As [`TcpStream::into_std`](super::TcpStream::into_std).
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// let (near, _far) = UnixStream::pair()?;
    /// let near = near.into_std()?;
    /// near.set_nonblocking(false)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_std(self) -> io::Result<net::UnixStream> {
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
    /// # use multikernel::net::UnixStream;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = UnixStream::pair()?;
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
    pub async fn into_parts(self) -> io::Result<(net::UnixStream, Vec<u8>)> {
        let (fd, ahead) = self.io.into_parts().await?;
        Ok((fd.into(), ahead))
    }

    /// Lends out one half for reading and one for writing. Costs nothing; the halves cannot go to two tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixStream;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, mut server) = UnixStream::pair()?;
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
    /// Dropping the write half ends that direction, so that the peer reads the end of the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixStream;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = UnixStream::pair()?;
    /// let (reader, writer) = server.into_split();
    /// let receiving = multikernel::spawn(async move { reader.as_ref().recv().await });
    /// client.send_all(&b"hello"[..]).await.result?;
    /// assert_eq!(&receiving.await??[..], b"hello");
    /// drop(writer);
    /// assert!(client.recv().await?.is_empty());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned::split(self)
    }

    /// This side's address; unnamed for those that connected.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixStream;
    /// let (near, _far) = UnixStream::pair()?;
    /// assert!(near.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_system(&self.io.socket().local_addr()?)
    }

    /// The other side's address.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixStream;
    /// let (near, _far) = UnixStream::pair()?;
    /// assert!(near.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_system(&self.io.socket().peer_addr()?)
    }

    /// The user, group and process at the other end, as they were when the connection was made.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixStream;
    /// let (near, _far) = UnixStream::pair()?;
    /// println!("user {} is connected", near.peer_cred()?.uid());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.io.as_fd())
    }
}

impl UnixStream {
    waits!(
        "# let (client, server) = multikernel::net::UnixStream::pair()?;",
        "client.try_write(b\"hello\")?;"
    );
    tries!("# let (client, server) = multikernel::net::UnixStream::pair()?;");
    exchanges!("# let (client, server) = multikernel::net::UnixStream::pair()?;");
}

impl Stream for UnixStream {
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

impl TryFrom<net::UnixStream> for UnixStream {
    type Error = io::Error;

    /// As [`UnixStream::from_std`].
    fn try_from(stream: net::UnixStream) -> io::Result<UnixStream> {
        UnixStream::from_std(stream)
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixStream");
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
    is_send_sync::<UnixStream>();
};
