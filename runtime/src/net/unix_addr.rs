//! How Unix sockets are named.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;
use std::path::Path;

use socket2::SockAddr;

/// The address of a Unix socket: a path, an abstract name, or none.
///
/// An abstract name is no file: it is gone with the socket, and every process of the network namespace may use it.
/// It is made by the standard library, or by a path whose first byte is zero, wherever a path is asked for.
///
/// # Examples
///
/// ```
/// use multikernel::net::{UnixListener, unix::SocketAddr};
/// use std::os::linux::net::SocketAddrExt;
///
/// let name = format!("multikernel-example-{}", std::process::id());
/// let addr = SocketAddr::from(std::os::unix::net::SocketAddr::from_abstract_name(&name)?);
/// let listener = UnixListener::bind_addr(&addr)?;
/// assert_eq!(listener.local_addr()?.as_abstract_name(), Some(name.as_bytes()));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct SocketAddr(net::SocketAddr);

impl SocketAddr {
    /// Whether the socket has no name. Those that connect have none, unless they are bound before.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// let (near, _far) = UnixStream::pair()?;
    /// assert!(near.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn is_unnamed(&self) -> bool {
        self.0.is_unnamed()
    }

    /// The path, if it is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::SocketAddr;
    /// use std::path::Path;
    ///
    /// let addr = SocketAddr::from(std::os::unix::net::SocketAddr::from_pathname("/run/my.sock")?);
    /// assert_eq!(addr.as_pathname(), Some(Path::new("/run/my.sock")));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn as_pathname(&self) -> Option<&Path> {
        self.0.as_pathname()
    }

    /// The abstract name, if it is one, without the zero byte before it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::SocketAddr;
    ///
    /// let addr = SocketAddr::from(std::os::unix::net::SocketAddr::from_pathname("/run/my.sock")?);
    /// assert_eq!(addr.as_abstract_name(), None);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.0.as_abstract_name()
    }

    /// From what the system says. Anything that is no Unix address is taken as none.
    pub(super) fn from_system(addr: &SockAddr) -> io::Result<SocketAddr> {
        match (addr.as_pathname(), addr.as_abstract_namespace()) {
            (Some(path), _) => net::SocketAddr::from_pathname(path),
            (_, Some(name)) => net::SocketAddr::from_abstract_name(name),
            (None, None) => net::SocketAddr::from_pathname(""),
        }
        .map(SocketAddr)
    }

    pub(super) fn to_system(&self) -> io::Result<SockAddr> {
        match (self.as_pathname(), self.as_abstract_name()) {
            (Some(path), _) => system_addr(path),
            (_, Some(name)) => {
                let with_zero = [&[0], name].concat();
                SockAddr::unix(Path::new(std::ffi::OsStr::from_bytes(&with_zero)))
            }
            (None, None) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the address has no name")),
        }
    }
}

pub(crate) fn unix_address(addr: SockAddr) -> io::Result<SocketAddr> {
    SocketAddr::from_system(&addr)
}

/// The address of a path; of an abstract name if the first byte is zero.
pub(super) fn system_addr(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let invalid = |why: &str| {
        let why = format!("{}: {why}", path.display().to_string().escape_default());
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    };
    match bytes {
        [] => return invalid("the path is empty"),
        [0, ..] => {}
        _ if bytes.contains(&0) => return invalid("a path has no zero bytes"),
        _ => {}
    }
    SockAddr::unix(path).or_else(|_| invalid("longer than the name of a Unix socket may be"))
}

/// The error, with the path in its message.
pub(super) fn with_path(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display().to_string();
    io::Error::new(error.kind(), format!("{}: {error}", path.escape_default()))
}

impl From<net::SocketAddr> for SocketAddr {
    fn from(addr: net::SocketAddr) -> SocketAddr {
        SocketAddr(addr)
    }
}

impl From<SocketAddr> for net::SocketAddr {
    fn from(addr: SocketAddr) -> net::SocketAddr {
        addr.0
    }
}

impl fmt::Debug for SocketAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
