//! A TCP socket that is neither a connection nor a listener yet.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use socket2::{Domain, Socket, Type};

use super::addr::ip_address;
use super::{TcpListener, TcpStream};

/// A TCP socket that is neither a connection nor a listener yet: for options that must be set before.
///
/// [`TcpStream::connect`] and [`TcpListener::bind`] are shorter where there are none.
///
/// # Examples
///
/// ```
/// use multikernel::net::TcpSocket;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.set_recv_buffer_size(1 << 20)?; // connections inherit it
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?; // to connect from this address
/// let stream = socket.connect(listener.local_addr()?).await?;
/// assert_eq!(listener.accept().await?.1, stream.local_addr()?);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct TcpSocket {
    pub(super) socket: Socket,
}

impl TcpSocket {
    fn new(domain: Domain) -> io::Result<TcpSocket> {
        Ok(TcpSocket { socket: Socket::new(domain, Type::STREAM.nonblocking(), None)? })
    }

    /// Makes a socket for IPv4.
    ///
    /// # Errors
    ///
    /// The system's: no descriptor is free, for instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpSocket;
    ///
    /// let socket = TcpSocket::new_v4()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV4)
    }

    /// Makes a socket for IPv6.
    ///
    /// # Errors
    ///
    /// The system's: it does not know IPv6, for instance.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpSocket;
    ///
    /// if let Ok(socket) = TcpSocket::new_v6() {
    ///     let bound = socket.bind("[::1]:0".parse().unwrap());
    /// #   drop(bound);
    /// }
    /// ```
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new(Domain::IPV6)
    }

    /// Takes over a socket of the standard library that is not connected, as crates that build sockets give it, and makes it
    /// non-blocking.
    ///
    /// If the system refuses that, which it does not do to a socket, waiting for this one blocks a core.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::TcpSocket;
    /// use socket2::{Domain, Socket, Type};
    ///
    /// let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    /// let socket = TcpSocket::from_std_stream(socket.into());
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std_stream(stream: std::net::TcpStream) -> TcpSocket {
        let socket = Socket::from(stream);
        let _refused = socket.set_nonblocking(true);
        TcpSocket { socket }
    }

    /// Binds the socket to `addr`. Port 0 asks for any free port.
    ///
    /// # Errors
    ///
    /// The system's, with the address in the message.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        let with_address = |error: io::Error| io::Error::new(error.kind(), format!("{addr}: {error}"));
        self.socket.bind(&addr.into()).map_err(with_address)
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    ///
    /// The system's. The socket is closed then.
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
    /// # use multikernel::net::{TcpListener, TcpSocket};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_nodelay(true)?;
    /// let stream = socket.connect(listener.local_addr()?).await?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_socket(self.socket, addr).await
    }

    /// Listens on the address that the socket is bound to; `backlog` connections may wait to be accepted. The system may
    /// hold fewer (`net.core.somaxconn`).
    ///
    /// # Errors
    ///
    /// The system's. The socket is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = TcpSocket::new_v4()?;
    /// socket.bind("127.0.0.1:0".parse().unwrap())?;
    /// let listener = socket.listen(128)?;
    /// # drop(listener);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::from_fd(self.socket.into()))
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// assert_eq!(TcpSocket::new_v4()?.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.socket.local_addr()?)
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
    /// # use multikernel::net::TcpSocket;
    /// assert!(TcpSocket::new_v4()?.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl FromRawFd for TcpSocket {
    /// Takes over a socket that the caller has made non-blocking.
    ///
    /// # Safety
    ///
    /// As for [`OwnedFd`]; the descriptor is that of a TCP socket.
    unsafe fn from_raw_fd(fd: RawFd) -> TcpSocket {
        // SAFETY: the caller's promise is the same.
        TcpSocket { socket: unsafe { OwnedFd::from_raw_fd(fd) }.into() }
    }
}

impl IntoRawFd for TcpSocket {
    fn into_raw_fd(self) -> RawFd {
        self.socket.into_raw_fd()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpSocket");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<TcpSocket>();
};
