//! The options of a UDP socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::UdpSocket;

impl UdpSocket {
    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`). Off at first.
    ///
    /// # Errors
    ///
    /// The system's. As for all options below; those of the other version of IP are refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert!(!socket.broadcast()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn broadcast(&self) -> io::Result<bool> {
        self.io.socket().broadcast()
    }

    /// Allows datagrams to broadcast addresses, or forbids them.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_broadcast(true)?;
    /// assert!(socket.broadcast()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.io.socket().set_broadcast(on)
    }

    /// Whether this host receives what is sent to multicast groups from here (`IP_MULTICAST_LOOP`). On at first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert!(socket.multicast_loop_v4()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.io.socket().multicast_loop_v4()
    }

    /// Sets whether this host receives what is sent to multicast groups from here.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_loop_v4(false)?;
    /// assert!(!socket.multicast_loop_v4()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.io.socket().set_multicast_loop_v4(on)
    }

    /// The most routers that a datagram to a multicast group may pass (`IP_MULTICAST_TTL`). 1 at first: none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.io.socket().multicast_ttl_v4()
    }

    /// Sets the most routers that a datagram to a multicast group may pass.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_multicast_ttl_v4(4)?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 4);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.io.socket().set_multicast_ttl_v4(ttl)
    }

    /// As [`multicast_loop_v4`](Self::multicast_loop_v4), for IPv6.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// assert!(socket.multicast_loop_v6()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.io.socket().multicast_loop_v6()
    }

    /// As [`set_multicast_loop_v4`](Self::set_multicast_loop_v4), for IPv6.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// socket.set_multicast_loop_v6(false)?;
    /// assert!(!socket.multicast_loop_v6()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.io.socket().set_multicast_loop_v6(on)
    }

    /// Receives what is sent to the group `multiaddr` through the interface with the address `interface`; if that is
    /// unspecified, through one that the system chooses.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::net::Ipv4Addr;
    ///
    /// let socket = UdpSocket::bind("0.0.0.0:0").await?;
    /// socket.join_multicast_v4(Ipv4Addr::new(224, 0, 0, 123), Ipv4Addr::LOCALHOST)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.socket().join_multicast_v4(&multiaddr, &interface)
    }

    /// Undoes [`join_multicast_v4`](Self::join_multicast_v4).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::net::Ipv4Addr;
    ///
    /// let group = Ipv4Addr::new(224, 0, 0, 123);
    /// let socket = UdpSocket::bind("0.0.0.0:0").await?;
    /// socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.socket().leave_multicast_v4(&multiaddr, &interface)
    }

    /// As [`join_multicast_v4`](Self::join_multicast_v4), for IPv6; the interface is given by its index, or 0 for any.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::net::Ipv6Addr;
    ///
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x123);
    /// # let Ok(()) = socket.join_multicast_v6(&group, 1) else { return Ok(()) };
    /// socket.leave_multicast_v6(&group, 1)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.socket().join_multicast_v6(multiaddr, interface)
    }

    /// Undoes [`join_multicast_v6`](Self::join_multicast_v6).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// let group = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x123);
    /// assert!(socket.leave_multicast_v6(&group, 1).is_err()); // it has not been joined
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.socket().leave_multicast_v6(multiaddr, interface)
    }

    /// The most routers that a datagram may pass (`IP_TTL`).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert!(socket.ttl()? > 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.socket().ttl_v4()
    }

    /// Sets the most routers that a datagram may pass, from 1 to 255.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_ttl(1)?; // for the local network only
    /// assert_eq!(socket.ttl()?, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.socket().set_ttl_v4(ttl)
    }

    /// The type of service, which is the DSCP and the ECN bits, of what is sent (`IP_TOS`).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.tos_v4()?, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn tos_v4(&self) -> io::Result<u32> {
        self.io.socket().tos_v4()
    }

    /// Sets the type of service of what is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_tos_v4(0b101110_00)?; // expedited forwarding
    /// assert_eq!(socket.tos_v4()?, 0b101110_00);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
        self.io.socket().set_tos_v4(tos)
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
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// assert_eq!(socket.tclass_v6()?, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn tclass_v6(&self) -> io::Result<u32> {
        self.io.socket().tclass_v6()
    }

    /// As [`set_tos_v4`](Self::set_tos_v4), for IPv6.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return Ok(()) }; // where there is IPv6
    /// socket.set_tclass_v6(0b101110_00)?;
    /// assert_eq!(socket.tclass_v6()?, 0b101110_00);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
        self.io.socket().set_tclass_v6(tclass)
    }

    /// The network device that the socket is bound to (`SO_BINDTODEVICE`), if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.device()?, None);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.io.socket().device()
    }

    /// Binds the socket to a network device, so that it sends and receives through that alone; `None` undoes it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::UdpSocket;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// # let Ok(()) = socket.bind_device(Some(b"lo")) else { return Ok(()) }; // where that is allowed
    /// assert_eq!(socket.device()?.as_deref(), Some(&b"lo"[..]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.io.socket().bind_device(interface)
    }
}
