//! A socket of datagrams between processes of one machine.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockAddr, Socket, Type};

use super::datagram_io::DatagramIo;
use super::datagrams::datagrams;
use super::shortage::Pause;
use super::unix::SocketAddr;
use super::unix_addr::{system_addr, unix_address, with_path};
use super::waits::waits;

/// A socket of datagrams between processes of one machine: none are lost, and they stay in order.
///
/// Sending waits while the receiver has too many unread. Any core may use the socket at any time, and several tasks at
/// once.
///
/// # Examples
///
/// ```
/// use multikernel::net::UnixDatagram;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let name = format!("\0multikernel-example-datagram-{}", std::process::id());
/// let server = UnixDatagram::bind(&name)?;
/// let client = UnixDatagram::unbound()?;
/// client.send_to(b"hello", &name).await?;
///
/// let mut buf = [0; 1024];
/// let (length, from) = server.recv_from(&mut buf).await?;
/// assert_eq!(&buf[..length], b"hello");
/// assert!(from.is_unnamed()); // there is nobody to answer to
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixDatagram {
    pub(crate) io: DatagramIo,
}

impl UnixDatagram {
    /// Takes over a non-blocking socket.
    pub(super) fn from_fd(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram { io: DatagramIo::new(fd) }
    }

    /// Binds a socket to `path`, where it makes a file of the kind socket; if the first byte of `path` is zero, the rest
    /// is an abstract name.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixDatagram;
    ///
    /// let path = std::env::temp_dir().join(format!("multikernel-example-datagram-{}", std::process::id()));
    /// let socket = UnixDatagram::bind(&path)?;
    /// std::fs::remove_file(&path)?; // the system leaves it behind
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixDatagram> {
        let path = path.as_ref();
        bind(&system_addr(path)?).map_err(|error| with_path(path, &error))
    }

    /// As [`bind`](Self::bind), to an address that is at hand.
    ///
    /// # Errors
    ///
    /// As there; `InvalidInput` when the address is unnamed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixDatagram;
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let name = format!("multikernel-datagram-bind-{}", std::process::id());
    /// let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?.into())?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        bind(&addr.to_system()?).map_err(|error| io::Error::new(error.kind(), format!("{addr:?}: {error}")))
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixDatagram;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let (near, far) = UnixDatagram::pair()?;
    /// near.send(b"hello").await?;
    /// assert_eq!(far.recv(&mut [0; 1024]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (near, far) = Socket::pair(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
        Ok((UnixDatagram::from_fd(near.into()), UnixDatagram::from_fd(far.into())))
    }

    /// Makes a socket without a name, to send from.
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixDatagram;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let log = UnixDatagram::unbound()?;
    /// if log.send_to(b"<14>started", "/dev/log").await.is_err() {
    ///     println!("there is no syslog here");
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::from_fd(Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?.into()))
    }

    /// Makes the socket at `path` the peer: [`send`](Self::send) goes there, and what others send is not received.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::connect`](super::UnixStream::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let name = format!("\0multikernel-datagram-connect-{}", std::process::id());
    /// # let server = UnixDatagram::bind(&name)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect(&name)?;
    /// client.send(b"hello").await?;
    /// assert_eq!(server.recv(&mut [0; 1024]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        self.io.socket().connect(&system_addr(path.as_ref())?)
    }

    /// As [`connect`](Self::connect), to an address that is at hand.
    ///
    /// # Errors
    ///
    /// As there; `InvalidInput` when the address is unnamed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// # let name = format!("\0multikernel-datagram-connect-addr-{}", std::process::id());
    /// # let server = UnixDatagram::bind(&name)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.connect_addr(&server.local_addr()?)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        self.io.socket().connect(&addr.to_system()?)
    }

    /// Sends one datagram to the socket at `path`, and says how long it was: all of `buf`.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::connect`](super::UnixStream::connect), and as [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped before it is ready, nothing has been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let error = UnixDatagram::unbound()?.send_to(b"hello", "/nowhere/server.sock").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        let addr = system_addr(path.as_ref())?;
        self.send_to_system(buf, &addr).await
    }

    /// As [`send_to`](Self::send_to), without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the receiver has too many unread; else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// # let name = format!("\0multikernel-datagram-try-send-to-{}", std::process::id());
    /// # let server = UnixDatagram::bind(&name)?;
    /// UnixDatagram::unbound()?.try_send_to(b"hello", &name)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_send_to<P: AsRef<Path>>(&self, buf: &[u8], path: P) -> io::Result<usize> {
        self.io.try_send_to(buf, &system_addr(path.as_ref())?)
    }

    /// Polls what [`send_to`](Self::send_to) waits for; it may not be woken when others have filled up a receiver that is
    /// not the peer.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # use multikernel::net::UnixDatagram;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let name = format!("\0multikernel-datagram-poll-send-to-{}", std::process::id());
    /// # let server = UnixDatagram::bind(&name)?;
    /// # let client = UnixDatagram::unbound()?;
    /// assert_eq!(poll_fn(|cx| client.poll_send_to(cx, b"hello", name.as_ref())).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], path: &Path) -> Poll<io::Result<usize>> {
        match system_addr(path) {
            Ok(addr) => self.io.poll_send_to(cx, buf, &addr),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// As [`send_to`](Self::send_to), to an address that is at hand: that of a received datagram, for instance.
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
    /// # use multikernel::net::UnixDatagram;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let client = UnixDatagram::bind(format!("\0multikernel-datagram-client-{}", std::process::id()))?;
    /// # let server = UnixDatagram::bind(format!("\0multikernel-datagram-server-{}", std::process::id()))?;
    /// client.send_to_addr(b"hello", &server.local_addr()?).await?;
    ///
    /// let mut buf = [0; 1024];
    /// let (length, from) = server.recv_from(&mut buf).await?;
    /// server.send_to_addr(&buf[..length], &from).await?;
    /// assert_eq!(client.recv(&mut buf).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        let addr = addr.to_system()?;
        self.send_to_system(buf, &addr).await
    }

    /// The system tells of room with a receiver that is the peer, or that took something of ours. Of room that others
    /// have made with another receiver it does not tell: for that, this looks again now and then.
    async fn send_to_system(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        let mut pause: Option<Pause> = None;
        poll_fn(|cx| {
            if let Poll::Ready(result) = self.io.poll_send_to(cx, buf, addr) {
                return Poll::Ready(result);
            }
            let pause = pause.get_or_insert_with(Pause::begun);
            loop {
                ready!(pause.poll(cx));
                match self.io.send_to_now(buf, addr) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause.begin(),
                    result => return Poll::Ready(result),
                }
            }
        })
        .await
    }

    /// Ends one or both directions: of a connected socket, for both sides.
    ///
    /// # Errors
    ///
    /// `NotConnected` when there is no peer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// let (near, _far) = UnixDatagram::pair()?;
    /// near.shutdown(std::net::Shutdown::Write)?;
    /// assert!(near.try_send(b"more").is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.socket().shutdown(how)
    }

    /// This side's address; unnamed if it is not bound.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// assert!(UnixDatagram::unbound()?.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_system(&self.io.socket().local_addr()?)
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// let (near, _far) = UnixDatagram::pair()?;
    /// assert!(near.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_system(&self.io.socket().peer_addr()?)
    }

    /// Takes over a socket of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system refuses to make it non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// let socket = UnixDatagram::from_std(std::os::unix::net::UnixDatagram::unbound()?)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram::from_fd(socket.into()))
    }

    /// Gives the socket to the standard library, non-blocking still.
    ///
    /// Where a core was watching it, its descriptor has another number now.
    ///
    /// # Errors
    ///
    /// No descriptor number is free; the socket is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixDatagram;
    /// let socket: std::os::unix::net::UnixDatagram = UnixDatagram::unbound()?.into_std()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_std(self) -> io::Result<net::UnixDatagram> {
        Ok(self.io.into_fd()?.into())
    }
}

impl UnixDatagram {
    waits!(
        "# let (client, server) = multikernel::net::UnixDatagram::pair()?;",
        "client.try_send(b\"hello\")?;"
    );
    datagrams!(SocketAddr, unix_address, "# let (client, server) = multikernel::net::UnixDatagram::pair()?;");
}

fn bind(addr: &SockAddr) -> io::Result<UnixDatagram> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM.nonblocking(), None)?;
    socket.bind(addr)?;
    Ok(UnixDatagram::from_fd(socket.into()))
}

impl TryFrom<net::UnixDatagram> for UnixDatagram {
    type Error = io::Error;

    /// As [`UnixDatagram::from_std`].
    fn try_from(socket: net::UnixDatagram) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(socket)
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixDatagram");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<UnixDatagram>();
};
