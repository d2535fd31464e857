//! A socket that accepts connections from processes of this machine.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::UnixStream;
use super::acceptor::Acceptor;
use super::unix::SocketAddr;
use super::unix_addr::{system_addr, with_path};
use crate::limits::BACKLOG;

/// A socket that accepts connections from processes of this machine.
///
/// Any core may accept from it, several at once too. As with a [`TcpListener`](super::TcpListener), the first task spawned
/// in the poll in which `accept` gave a connection goes to the core with the fewest.
///
/// # Examples
///
/// ```
/// use multikernel::net::{UnixListener, UnixStream};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// // A name instead of a path: no file is left behind.
/// let name = format!("\0multikernel-example-{}", std::process::id());
/// let listener = UnixListener::bind(&name)?;
/// let client = UnixStream::connect(&name).await?;
/// let (server, _peer) = listener.accept().await?;
/// server.send_all(&b"welcome"[..]).await.result?;
/// assert_eq!(&client.recv().await?[..], b"welcome");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct UnixListener {
    acceptor: Acceptor,
}

impl UnixListener {
    pub(super) fn from_fd(fd: OwnedFd) -> UnixListener {
        UnixListener { acceptor: Acceptor::new(fd) }
    }

    /// Listens at `path`, where it makes a file of the kind socket; if the first byte of `path` is zero, the rest is an
    /// abstract name.
    ///
    /// Dropping the listener leaves the file where it is, and a file that is there already is not replaced.
    ///
    /// # Errors
    ///
    /// Why it cannot be bound, with the path in the message: `AddrInUse`, `PermissionDenied`, `NotFound` for the folder,
    /// `InvalidInput` for what is no name of a Unix socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixListener;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let path = std::env::temp_dir().join(format!("multikernel-example-bind-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    ///
    /// let error = UnixListener::bind(&path).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    /// drop(listener);
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        let path = path.as_ref();
        bind(&system_addr(path)?).map_err(|error| with_path(path, &error))
    }

    /// As [`bind`](Self::bind), at an address that is at hand.
    ///
    /// # Errors
    ///
    /// As there; `InvalidInput` when the address is unnamed.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixListener;
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    ///
    /// let name = format!("multikernel-bind-addr-{}", std::process::id());
    /// let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?.into())?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        bind(&addr.to_system()?).map_err(|error| io::Error::new(error.kind(), format!("{addr:?}: {error}")))
    }

    /// Waits for a connection; gives it and the peer's address, which is unnamed unless the peer was bound.
    ///
    /// When the process or the system is out of descriptors or memory, this waits and goes on, as
    /// [`TcpListener::accept`](super::TcpListener::accept) does.
    ///
    /// # Errors
    ///
    /// The listener itself is unusable.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::{UnixListener, UnixStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = UnixListener::bind(format!("\0multikernel-accept-{}", std::process::id()))?;
    /// # let _client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// let (stream, peer) = listener.accept().await?;
    /// assert!(peer.is_unnamed());
    /// assert_eq!(stream.peer_cred()?.pid(), Some(std::process::id() as i32));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.acceptor.accept().await.and_then(connection)
    }

    /// Polls for a connection, as [`accept`](Self::accept). Only the last task that polled is sure to be woken.
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
    /// # use multikernel::net::{UnixListener, UnixStream};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = UnixListener::bind(format!("\0multikernel-poll-accept-{}", std::process::id()))?;
    /// # let _client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// let (stream, _peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    /// # drop(stream);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor.poll_accept(cx).map(|accepted| accepted.and_then(connection))
    }

    /// The address it listens at.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixListener;
    /// let name = format!("multikernel-local-addr-{}", std::process::id());
    /// let listener = UnixListener::bind(format!("\0{name}"))?;
    /// assert_eq!(listener.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        SocketAddr::from_system(&SockRef::from(self).local_addr()?)
    }

    /// Fetches and clears the error pending on the socket (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixListener;
    /// # let listener = UnixListener::bind(format!("\0multikernel-take-error-{}", std::process::id()))?;
    /// assert!(listener.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// Takes over a listener of the standard library and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// The system refuses to make it non-blocking.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixListener;
    ///
    /// let path = std::env::temp_dir().join(format!("multikernel-example-from-std-{}", std::process::id()));
    /// let listener = UnixListener::from_std(std::os::unix::net::UnixListener::bind(&path)?)?;
    /// std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener::from_fd(listener.into()))
    }

    /// Gives the listener to the standard library, non-blocking still.
    ///
    /// Where a core was watching it, its descriptor has another number now.
    ///
    /// # Errors
    ///
    /// No descriptor number is free; the listener is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UnixListener;
    /// # let listener = UnixListener::bind(format!("\0multikernel-into-std-{}", std::process::id()))?;
    /// let listener: std::os::unix::net::UnixListener = listener.into_std()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        Ok(self.acceptor.into_fd()?.into())
    }
}

fn bind(addr: &SockAddr) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from_fd(socket.into()))
}

fn connection((fd, peer): (OwnedFd, SockAddr)) -> io::Result<(UnixStream, SocketAddr)> {
    Ok((UnixStream::from_fd(fd), SocketAddr::from_system(&peer)?))
}

impl TryFrom<net::UnixListener> for UnixListener {
    type Error = io::Error;

    /// As [`UnixListener::from_std`].
    fn try_from(listener: net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::from_std(listener)
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.fd()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.acceptor.fd().as_raw_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UnixListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<UnixListener>();
};
