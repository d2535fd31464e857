//! The options of a TCP socket before it is one of the two. Errors are the system's.

use std::io;
use std::time::Duration;

use super::TcpSocket;
#[expect(unused_imports, reason = "for the documentation")]
use super::TcpStream;

impl TcpSocket {
    /// Whether the system probes a connection on which nothing moves (`SO_KEEPALIVE`). Off at first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(!socket.keepalive()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn keepalive(&self) -> io::Result<bool> {
        self.socket.keepalive()
    }

    /// Sets whether the system probes a connection on which nothing moves.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_keepalive(true)?;
    /// assert!(socket.keepalive()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_keepalive(&self, on: bool) -> io::Result<()> {
        self.socket.set_keepalive(on)
    }

    /// Whether an address may be bound while connections of an earlier run linger (`SO_REUSEADDR`). Off at first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(!socket.reuseaddr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn reuseaddr(&self) -> io::Result<bool> {
        self.socket.reuse_address()
    }

    /// Sets whether an address may be bound while connections of an earlier run linger.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_reuseaddr(true)?;
    /// assert!(socket.reuseaddr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_reuseaddr(&self, on: bool) -> io::Result<()> {
        self.socket.set_reuse_address(on)
    }

    /// Whether several sockets of one user may listen on one address (`SO_REUSEPORT`). Off at first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(!socket.reuseport()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn reuseport(&self) -> io::Result<bool> {
        self.socket.reuse_port()
    }

    /// Sets whether several sockets of one user may listen on one address.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_reuseport(true)?;
    /// assert!(socket.reuseport()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_reuseport(&self, on: bool) -> io::Result<()> {
        self.socket.set_reuse_port(on)
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Off at first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(!socket.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.tcp_nodelay()
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_nodelay(true)?;
    /// assert!(socket.nodelay()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket.set_tcp_nodelay(on)
    }

    /// The bytes that the system holds for what is sent and not confirmed (`SO_SNDBUF`): twice what was set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(socket.send_buffer_size()? > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        self.socket.send_buffer_size().map(clamp)
    }

    /// Sets how much the system holds for what is sent and not confirmed. It may give less, and keeps to the size
    /// instead of finding one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_send_buffer_size(1 << 16)?;
    /// assert!(socket.send_buffer_size()? >= 1 << 16);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
        self.socket.set_send_buffer_size(size as usize)
    }

    /// The bytes that the system holds for what is received and not read (`SO_RCVBUF`): twice what was set.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert!(socket.recv_buffer_size()? > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        self.socket.recv_buffer_size().map(clamp)
    }

    /// Sets how much the system holds for what is received and not read. It may give less, and keeps to the size
    /// instead of finding one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_recv_buffer_size(1 << 16)?;
    /// assert!(socket.recv_buffer_size()? >= 1 << 16);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.socket.set_recv_buffer_size(size as usize)
    }

    /// How long closing waits for written data to arrive (`SO_LINGER`); `None`, the default, sends it in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert_eq!(socket.linger()?, None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
    }

    /// Sets how long closing waits. As [`TcpStream::set_linger`], which says why to be careful.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// use std::time::Duration;
    ///
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_linger(Some(Duration::ZERO))?; // resets the connection when it is dropped
    /// assert_eq!(socket.linger()?, Some(Duration::ZERO));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(linger)
    }

    /// Makes dropping the stream reset the connection. As [`TcpStream::set_zero_linger`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_zero_linger()?;
    /// assert_eq!(socket.linger()?, Some(std::time::Duration::ZERO));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))
    }

    /// The type of service of what is sent (`IP_TOS`).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert_eq!(socket.tos_v4()?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn tos_v4(&self) -> io::Result<u32> {
        self.socket.tos_v4()
    }

    /// Sets the type of service of what is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// socket.set_tos_v4(0b101110_00)?;
    /// assert_eq!(socket.tos_v4()?, 0b101110_00);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
        self.socket.set_tos_v4(tos)
    }

    #[doc(hidden)]
    #[deprecated(note = "it is of IPv4 only, and called `tos_v4`")]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    #[doc(hidden)]
    #[deprecated(note = "it is of IPv4 only, and called `set_tos_v4`")]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// As [`tos_v4`](Self::tos_v4), for IPv6 (`IPV6_TCLASS`).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// # let Ok(socket) = TcpSocket::new_v6() else { return std::io::Result::Ok(()) }; // where there is IPv6
    /// assert_eq!(socket.tclass_v6()?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn tclass_v6(&self) -> io::Result<u32> {
        self.socket.tclass_v6()
    }

    /// As [`set_tos_v4`](Self::set_tos_v4), for IPv6.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// # let Ok(socket) = TcpSocket::new_v6() else { return std::io::Result::Ok(()) }; // where there is IPv6
    /// socket.set_tclass_v6(0b101110_00)?;
    /// assert_eq!(socket.tclass_v6()?, 0b101110_00);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
        self.socket.set_tclass_v6(tclass)
    }

    /// The network device that the socket is bound to (`SO_BINDTODEVICE`), if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// assert_eq!(socket.device()?, None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.socket.device()
    }

    /// Binds the socket to a network device; `None` undoes it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::TcpSocket;
    /// let socket = TcpSocket::new_v4()?;
    /// # let Ok(()) = socket.bind_device(Some(b"lo")) else { return Ok(()) }; // where that is allowed
    /// assert_eq!(socket.device()?.as_deref(), Some(&b"lo"[..]));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.socket.bind_device(interface)
    }
}

/// The system's sizes fit; if one day they do not, as much as can be said.
fn clamp(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
