//! A Unix socket that is neither a connection nor a listener yet, nor sends datagrams.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::unix_addr::{system_addr, with_path};
use super::{UnixDatagram, UnixListener, UnixStream};

/// A Unix socket that is neither a connection nor a listener yet, nor sends datagrams: for a client that has an address, a
/// listener's backlog, and options that must be set before.
///
/// [`UnixStream::connect`], [`UnixListener::bind`] and [`UnixDatagram::bind`] are shorter where there is nothing of that.
///
/// # Examples
///
/// ```
/// use multikernel::net::UnixSocket;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let name = |who| format!("\0multikernel-example-{who}-{}", std::process::id());
/// let socket = UnixSocket::new_stream()?;
/// socket.bind(name("server"))?;
/// let listener = socket.listen(16)?;
///
/// let socket = UnixSocket::new_stream()?;
/// socket.bind(name("client"))?; // to connect from this address
/// let _stream = socket.connect(name("server")).await?;
/// let (_stream, peer) = listener.accept().await?;
/// assert_eq!(peer.as_abstract_name(), Some(&name("client").as_bytes()[1..]));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixSocket {
    socket: Socket,
}

impl UnixSocket {
    fn new(kind: Type) -> io::Result<UnixSocket> {
        Ok(UnixSocket { socket: Socket::new(Domain::UNIX, kind.nonblocking(), None)? })
    }

    /// Makes a socket for [`datagram`](Self::datagram).
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free, for instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixSocket;
    ///
    /// let socket = UnixSocket::new_datagram()?.datagram()?;
    /// assert!(socket.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_datagram() -> io::Result<UnixSocket> {
        UnixSocket::new(Type::DGRAM)
    }

    /// Makes a socket for [`connect`](Self::connect) or [`listen`](Self::listen).
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free, for instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixSocket;
    ///
    /// let socket = UnixSocket::new_stream()?;
    /// socket2::SockRef::from(&socket).set_send_buffer_size(1 << 20)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_stream() -> io::Result<UnixSocket> {
        UnixSocket::new(Type::STREAM)
    }

    /// Binds the socket to `path`, where it makes a file of the kind socket; if the first byte of `path` is zero, the rest
    /// is an abstract name.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixSocket;
    /// let name = format!("\0multikernel-socket-bind-{}", std::process::id());
    /// UnixSocket::new_stream()?.bind(&name)?; // and dropped
    /// UnixSocket::new_datagram()?.bind(&name)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.socket.bind(&system_addr(path)?).map_err(|error| with_path(path, &error))
    }

    /// Listens at the address that the socket is bound to; `backlog` connections may wait to be accepted. The system may
    /// hold fewer (`net.core.somaxconn`).
    ///
    /// # Errors
    ///
    /// The system's: `InvalidInput` when it is not bound. That it is a socket for datagrams. The socket is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixSocket;
    /// let socket = UnixSocket::new_stream()?;
    /// socket.bind(format!("\0multikernel-socket-listen-{}", std::process::id()))?;
    /// let listener = socket.listen(128)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.only_for(Type::STREAM, "a socket for datagrams does not listen")?;
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(UnixListener::from_fd(self.socket.into()))
    }

    /// Connects to the socket at `path`, as [`UnixStream::connect`] does.
    ///
    /// # Errors
    ///
    /// As there. That it is a socket for datagrams. The socket is closed then.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the attempt under way, and the socket with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{UnixListener, UnixSocket};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let name = format!("\0multikernel-socket-connect-{}", std::process::id());
    /// let listener = UnixListener::bind(&name)?;
    /// let stream = UnixSocket::new_stream()?.connect(&name).await?;
    /// # drop((listener, stream));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        self.only_for(Type::STREAM, "a socket for datagrams becomes no stream")?;
        UnixStream::connect_socket(self.socket, &system_addr(path.as_ref())?).await
    }

    /// Makes it a socket that sends and receives datagrams.
    ///
    /// # Errors
    ///
    /// That it is a socket for streams. It is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let name = format!("\0multikernel-socket-datagram-{}", std::process::id());
    /// let socket = UnixSocket::new_datagram()?;
    /// socket.bind(&name)?;
    /// let server = socket.datagram()?;
    /// UnixSocket::new_datagram()?.datagram()?.send_to(b"hello", &name).await?;
    /// assert_eq!(server.recv(&mut [0; 8]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn datagram(self) -> io::Result<UnixDatagram> {
        self.only_for(Type::DGRAM, "a socket for streams sends no datagrams")?;
        Ok(UnixDatagram::from_fd(self.socket.into()))
    }

    fn only_for(&self, kind: Type, why: &'static str) -> io::Result<()> {
        if self.socket.r#type()? == kind { Ok(()) } else { Err(io::Error::other(why)) }
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl FromRawFd for UnixSocket {
    /// Takes over a socket that the caller has made non-blocking.
    ///
    /// # Safety
    ///
    /// As for [`OwnedFd`]; the descriptor is that of a Unix socket.
    unsafe fn from_raw_fd(fd: RawFd) -> UnixSocket {
        // SAFETY: the caller's promise is the same.
        UnixSocket { socket: unsafe { OwnedFd::from_raw_fd(fd) }.into() }
    }
}

impl IntoRawFd for UnixSocket {
    fn into_raw_fd(self) -> RawFd {
        self.socket.into_raw_fd()
    }
}

impl fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixSocket").field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<UnixSocket>();
};
