//! Who is at the other end of a Unix socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process at the other end of a Unix stream, as it was when the connection was made.
///
/// # Examples
///
/// ```
/// use multikernel::net::UnixStream;
///
/// let (near, _far) = UnixStream::pair()?;
/// let peer = near.peer_cred()?;
/// assert_eq!(peer.pid(), Some(std::process::id() as i32));
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    pid: libc::pid_t,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl UCred {
    /// Asks the system for the peer of a connected socket.
    pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
        let mut found = MaybeUninit::<libc::ucred>::uninit();
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the option writes at most `length` bytes, which is the room there is; both pointers live across the
        // call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                found.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        assert_eq!(length as usize, size_of::<libc::ucred>(), "the system's structure has another size");
        // SAFETY: the system has written all of it, as the length says.
        let libc::ucred { pid, uid, gid } = unsafe { found.assume_init() };
        Ok(UCred { pid, uid, gid })
    }

    /// The user.
    ///
    /// # Examples
    ///
    /// A server for one user only:
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// let (server, client) = UnixStream::pair()?;
    /// let is_me = server.peer_cred()?.uid() == client.peer_cred()?.uid();
    /// assert!(is_me);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn uid(&self) -> libc::uid_t {
        self.uid
    }

    /// The group.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// let (near, far) = UnixStream::pair()?;
    /// assert_eq!(near.peer_cred()?.gid(), far.peer_cred()?.gid());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn gid(&self) -> libc::gid_t {
        self.gid
    }

    /// The process, unless it is invisible here, as one of another PID namespace may be.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::UnixStream;
    ///
    /// let (near, _far) = UnixStream::pair()?;
    /// assert!(near.peer_cred()?.pid().is_some());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pid(&self) -> Option<libc::pid_t> {
        (self.pid != 0).then_some(self.pid)
    }
}
