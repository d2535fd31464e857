//! A UDP socket.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use socket2::{Domain, Socket, Type};

use super::ToSocketAddrs;
use super::addr::{bind_first, ip_address, resolve};
use super::datagram_io::DatagramIo;
use super::datagrams::datagrams;
use super::waits::waits;

/// A UDP socket.
///
/// Any core may use it at any time. Several tasks, on several cores, may send and receive through one `Arc<UdpSocket>`;
/// what arrives goes to whoever receives first. Two ways to spend less on each datagram: many in one call, with
/// [`recv_batch`](Self::recv_batch) and [`send_batch`](Self::send_batch), and leaving it to the system to cut and to
/// join them, with [`Datagram::segments`](super::udp::Datagram::segments) and [`set_gro`](Self::set_gro).
///
/// # Examples
///
/// ```
/// use multikernel::net::UdpSocket;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.send_to(b"hello", server.local_addr()?).await?;
///
/// let mut buf = [0; 1500];
/// let (length, from) = server.recv_from(&mut buf).await?;
/// assert_eq!((&buf[..length], from), (&b"hello"[..], client.local_addr()?));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct UdpSocket {
    pub(crate) io: DatagramIo,
}

impl UdpSocket {
    /// Takes over a non-blocking socket.
    fn from_fd(fd: OwnedFd) -> UdpSocket {
        UdpSocket { io: DatagramIo::new(fd) }
    }

    /// Binds a socket to the first address of `addr` that is free. Port 0 asks for any free port:
    /// [`local_addr`](Self::local_addr) says which it became.
    ///
    /// # Errors
    ///
    /// When `addr` cannot be resolved, as [`lookup_host`](super::lookup_host). Else why the last address tried cannot be
    /// bound, with that address in the message: `AddrInUse`, `PermissionDenied` and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UdpSocket;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// let error = UdpSocket::bind(socket.local_addr()?).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        bind_first(addr, |addr| {
            let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), None)?;
            socket.bind(&addr.into())?;
            Ok(UdpSocket::from_fd(socket.into()))
        })
        .await
    }

    /// Makes one address the peer: [`send`](Self::send) goes there, and what others send is not received.
    ///
    /// # Errors
    ///
    /// When `addr` cannot be resolved, as [`lookup_host`](super::lookup_host); else why no address of it can be a peer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// client.connect(server.local_addr()?).await?;
    /// client.send(b"hello").await?;
    /// assert_eq!(server.recv_from(&mut [0; 1500]).await?, (5, client.local_addr()?));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "there is no address to connect to");
        for addr in resolve(&addr).await? {
            match self.io.socket().connect(&addr.into()) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends one datagram to the first address of `target`, and says how long it was: all of `buf`.
    ///
    /// # Errors
    ///
    /// When `target` cannot be resolved, as [`lookup_host`](super::lookup_host); else as [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped before it is ready, nothing has been sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// let port = server.local_addr()?.port();
    /// client.send_to(b"hello", ("127.0.0.1", port)).await?;
    /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], target: A) -> io::Result<usize> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "there is no address to send to");
        let target = resolve(&target).await?.next().ok_or_else(none)?;
        self.io.send_to(buf, &target.into()).await
    }

    /// Polls what [`send_to`](Self::send_to) waits for.
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
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// let target = server.local_addr()?;
    /// poll_fn(|cx| client.poll_send_to(cx, b"hello", target)).await?;
    /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_send_to(cx, buf, &target.into())
    }

    /// As [`send_to`](Self::send_to), without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room; else as there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (client, server) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    /// client.try_send_to(b"hello", server.local_addr()?)?;
    /// assert_eq!(server.recv(&mut [0; 1500]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io.try_send_to(buf, &target.into())
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
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().local_addr()?)
    }

    /// The peer that [`connect`](Self::connect) has set.
    ///
    /// # Errors
    ///
    /// `NotConnected` when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        ip_address(self.io.socket().peer_addr()?)
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
    /// use multikernel::net::UdpSocket;
    ///
    /// let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket::from_fd(socket.into()))
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
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?.into_std()?;
    /// socket.set_nonblocking(false)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_std(self) -> io::Result<std::net::UdpSocket> {
        Ok(self.io.into_fd()?.into())
    }
}

impl UdpSocket {
    waits!(
        "# use multikernel::net::UdpSocket;
# let (client, server) = (UdpSocket::bind(\"127.0.0.1:0\").await?, UdpSocket::bind(\"127.0.0.1:0\").await?);
# client.connect(server.local_addr()?).await?;",
        "client.try_send(b\"hello\")?;"
    );
    datagrams!(
        SocketAddr,
        ip_address,
        "# use multikernel::net::UdpSocket;
# let (client, server) = (UdpSocket::bind(\"127.0.0.1:0\").await?, UdpSocket::bind(\"127.0.0.1:0\").await?);
# client.connect(server.local_addr()?).await?;
# server.connect(client.local_addr()?).await?;"
    );
}

impl TryFrom<std::net::UdpSocket> for UdpSocket {
    type Error = io::Error;

    /// As [`UdpSocket::from_std`].
    fn try_from(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.io.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("UdpSocket");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<UdpSocket>();
};
