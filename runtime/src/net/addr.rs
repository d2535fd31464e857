//! From what users write to socket addresses. Only names need the system's resolver, which blocks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

use crate::runtime::Handle;

/// What can be turned into socket addresses: an address, an IP address or host name with a port, several addresses.
///
/// Implemented for the types tokio and the standard library implement theirs for, and for no others:
///
/// ```
/// use multikernel::net::lookup_host;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// for addr in ["127.0.0.1:80".to_owned(), format!("{}:80", "localhost")] {
///     assert!(lookup_host(addr).await?.any(|found| found.ip().is_loopback() && found.port() == 80));
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub trait ToSocketAddrs: sealed::Resolve {}

impl<T: sealed::Resolve + ?Sized> ToSocketAddrs for T {}

/// Resolves `host`, on the pool for blocking calls if it is a name.
///
/// The order of the addresses is the resolver's.
///
/// # Errors
///
/// `InvalidInput` when the port is missing or is no number; when the name cannot be resolved, an error that says which, and what
/// the resolver said. The runtime remembers neither errors nor addresses.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest of a runtime, if `host` is a name.
///
/// # Cancel safety
///
/// Dropping the future abandons the answer. A look-up under way keeps its thread of the pool until the resolver gives up; one
/// that waits for a thread is never made.
///
/// # Examples
///
/// ```
/// use multikernel::net::lookup_host;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut found = lookup_host(("localhost", 443)).await?;
/// assert!(found.all(|addr| addr.ip().is_loopback()));
///
/// let error = lookup_host("no-port").await.err().unwrap();
/// assert!(error.to_string().contains("no-port"));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn lookup_host<T: ToSocketAddrs>(host: T) -> io::Result<impl Iterator<Item = SocketAddr>> {
    resolve(&host).await
}

/// The addresses of `host`, in the order to try them in. The future holds nothing of the caller's.
pub(crate) fn resolve<T>(host: &T) -> impl Future<Output = io::Result<Addresses>> + use<T>
where
    T: ToSocketAddrs + ?Sized,
{
    let request = host.request();
    async move {
        match request {
            Request::Known(addresses) => Ok(addresses),
            Request::Invalid(error) => Err(error),
            Request::Name(name, port) => look_up(name, port).await.map(Addresses::Many),
        }
    }
}

async fn look_up(name: String, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    let blocking = Handle::current().machine.blocking.clone();
    blocking
        .run(move || {
            std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port))
                .map_err(|error| io::Error::new(error.kind(), format!("cannot resolve {name:?}: {error}")))
        })
        .await
}

/// Socket addresses, one of them without an allocation.
#[derive(Debug)]
pub(crate) enum Addresses {
    One(Option<SocketAddr>),
    Many(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addresses::One(addr) => addr.take(),
            Addresses::Many(addrs) => addrs.next(),
        }
    }
}

/// What is left to do to get from the user's value to addresses.
#[derive(Debug)]
pub enum Request {
    Known(#[allow(private_interfaces)] Addresses),
    Name(String, u16),
    Invalid(io::Error),
}

impl From<SocketAddr> for Request {
    fn from(addr: SocketAddr) -> Request {
        Request::Known(Addresses::One(Some(addr)))
    }
}

fn host_and_port(host: &str, port: u16) -> Request {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).into(),
        Err(_) => Request::Name(host.to_owned(), port),
    }
}

fn address(text: &str) -> Request {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return addr.into();
    }
    let invalid = |why| Request::Invalid(io::Error::new(io::ErrorKind::InvalidInput, why));
    let Some((host, port)) = text.rsplit_once(':') else {
        return invalid(format!("{text:?} names no port: write host:port"));
    };
    match port.parse::<u16>() {
        Ok(port) => host_and_port(host, port),
        Err(_) => invalid(format!("{port:?} is no port, in {text:?}")),
    }
}

/// Calls `bind` with each address in turn until it succeeds; an error says which address it is about.
pub(super) async fn bind_first<A: ToSocketAddrs, T>(
    addr: A,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for addr in resolve(&addr).await? {
        match bind(addr) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(io::Error::new(error.kind(), format!("{addr}: {error}"))),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "there is no address to bind to")
}

pub(crate) fn ip_address(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not an IP socket"))
}

mod sealed {
    use super::*;

    pub trait Resolve {
        fn request(&self) -> Request;
    }

    impl Resolve for SocketAddr {
        fn request(&self) -> Request {
            (*self).into()
        }
    }

    impl Resolve for SocketAddrV4 {
        fn request(&self) -> Request {
            SocketAddr::V4(*self).into()
        }
    }

    impl Resolve for SocketAddrV6 {
        fn request(&self) -> Request {
            SocketAddr::V6(*self).into()
        }
    }

    impl Resolve for (IpAddr, u16) {
        fn request(&self) -> Request {
            SocketAddr::from(*self).into()
        }
    }

    impl Resolve for (Ipv4Addr, u16) {
        fn request(&self) -> Request {
            SocketAddr::from(*self).into()
        }
    }

    impl Resolve for (Ipv6Addr, u16) {
        fn request(&self) -> Request {
            SocketAddr::from(*self).into()
        }
    }

    impl Resolve for (&str, u16) {
        fn request(&self) -> Request {
            host_and_port(self.0, self.1)
        }
    }

    impl Resolve for (String, u16) {
        fn request(&self) -> Request {
            host_and_port(&self.0, self.1)
        }
    }

    impl Resolve for str {
        fn request(&self) -> Request {
            address(self)
        }
    }

    impl Resolve for String {
        fn request(&self) -> Request {
            address(self)
        }
    }

    impl Resolve for [SocketAddr] {
        fn request(&self) -> Request {
            Request::Known(Addresses::Many(Vec::from(self).into_iter()))
        }
    }

    impl<T: Resolve + ?Sized> Resolve for &T {
        fn request(&self) -> Request {
            (**self).request()
        }
    }
}
