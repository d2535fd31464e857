//! What waiting for an [`AsyncFd`] gives: readiness that stays until somebody says that it is used up.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use super::Ready;
use super::async_fd_error::TryIoError;
use super::unix::AsyncFd;
use crate::driver::Seen;

/// From [`AsyncFd::readable`] and the like: what was found ready, and the right to say that it is so no more.
///
/// Dropped without a word, it leaves the readiness as it is, and the next wait returns at once.
///
/// # Examples
///
/// ```
/// # use multikernel::io::unix::AsyncFd;
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// # ours.set_nonblocking(true)?;
/// # let socket = AsyncFd::new(ours)?;
/// use multikernel::io::unix::AsyncFdReadyGuard;
///
/// let mut guard: AsyncFdReadyGuard<'_, _> = socket.writable().await?;
/// assert!(guard.ready().is_writable());
/// guard.retain_ready();
/// # drop(guard);
/// # drop(theirs);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "say whether the readiness is used up: clear_ready, retain_ready or try_io"]
pub struct AsyncFdReadyGuard<'a, T: AsRawFd> {
    fd: &'a AsyncFd<T>,
    seen: Seen,
}

impl<'a, T: AsRawFd> AsyncFdReadyGuard<'a, T> {
    pub(super) fn new(fd: &'a AsyncFd<T>, seen: Seen) -> Self {
        Self { fd, seen }
    }

    /// Says that an attempt found nothing: the next wait waits for news. News since the guard was made is kept, and so is
    /// a hang-up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable().await?;
    /// guard.clear_ready();
    /// assert!(guard.ready().is_empty());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn clear_ready(&mut self) {
        self.clear_ready_matching(self.seen.ready);
    }

    /// As [`clear_ready`](Self::clear_ready), for a part of what was found.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// use multikernel::io::{Interest, Ready};
    ///
    /// let mut guard = socket.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// guard.clear_ready_matching(Ready::READABLE);
    /// assert!(guard.ready().is_writable());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn clear_ready_matching(&mut self, ready: Ready) {
        self.fd.use_up(self.seen, ready);
        self.seen.ready = self.seen.ready.without(ready);
    }

    /// Does nothing, and says so: the readiness stays.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable().await?;
    /// guard.retain_ready();
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn retain_ready(&mut self) {}

    /// What was found ready and has not been cleared through this guard.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable().await?;
    /// assert!(guard.ready().is_writable() && !guard.ready().is_error());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ready(&self) -> Ready {
        self.seen.ready
    }

    /// Calls `f`, which tries to read or write, once. Its `WouldBlock` clears the readiness, so `f` may say so only when
    /// the descriptor did.
    ///
    /// # Errors
    ///
    /// [`TryIoError`] in place of `WouldBlock`. The errors of `f` are in the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable().await?;
    /// let sent = guard.try_io(|socket| socket.get_ref().write(b"hello")).expect("there is room")?;
    /// assert_eq!(sent, 5);
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&'a AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        match f(self.fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear_ready();
                Err(TryIoError {})
            }
            result => Ok(result),
        }
    }

    /// The descriptor that was waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable().await?;
    /// assert!(guard.get_ref().get_ref().local_addr()?.is_unnamed());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_ref(&self) -> &'a AsyncFd<T> {
        self.fd
    }

    /// Its value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable().await?;
    /// assert!(guard.get_inner().local_addr()?.is_unnamed());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_inner(&self) -> &'a T {
        self.fd.get_ref()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFdReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFdReadyGuard").field("fd", &self.fd).field("ready", &self.seen.ready).finish()
    }
}

/// From [`AsyncFd::readable_mut`] and the like: what was found ready, and the right to say that it is so no more.
///
/// Dropped without a word, it leaves the readiness as it is, and the next wait returns at once.
///
/// # Examples
///
/// ```
/// # use multikernel::io::unix::AsyncFd;
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// # ours.set_nonblocking(true)?;
/// # let mut socket = AsyncFd::new(ours)?;
/// use multikernel::io::unix::AsyncFdReadyMutGuard;
///
/// let mut guard: AsyncFdReadyMutGuard<'_, _> = socket.writable_mut().await?;
/// assert!(guard.ready().is_writable());
/// guard.retain_ready();
/// # drop(guard);
/// # drop(theirs);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "say whether the readiness is used up: clear_ready, retain_ready or try_io"]
pub struct AsyncFdReadyMutGuard<'a, T: AsRawFd> {
    fd: &'a mut AsyncFd<T>,
    seen: Seen,
}

impl<'a, T: AsRawFd> AsyncFdReadyMutGuard<'a, T> {
    pub(super) fn new(fd: &'a mut AsyncFd<T>, seen: Seen) -> Self {
        Self { fd, seen }
    }

    /// Says that an attempt found nothing: the next wait waits for news. News since the guard was made is kept, and so is
    /// a hang-up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable_mut().await?;
    /// guard.clear_ready();
    /// assert!(guard.ready().is_empty());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn clear_ready(&mut self) {
        self.clear_ready_matching(self.seen.ready);
    }

    /// As [`clear_ready`](Self::clear_ready), for a part of what was found.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// use multikernel::io::{Interest, Ready};
    ///
    /// let mut guard = socket.ready_mut(Interest::READABLE | Interest::WRITABLE).await?;
    /// guard.clear_ready_matching(Ready::READABLE);
    /// assert!(guard.ready().is_writable());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn clear_ready_matching(&mut self, ready: Ready) {
        self.fd.use_up(self.seen, ready);
        self.seen.ready = self.seen.ready.without(ready);
    }

    /// Does nothing, and says so: the readiness stays.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable_mut().await?;
    /// guard.retain_ready();
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn retain_ready(&mut self) {}

    /// What was found ready and has not been cleared through this guard.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable_mut().await?;
    /// assert!(guard.ready().is_writable() && !guard.ready().is_error());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn ready(&self) -> Ready {
        self.seen.ready
    }

    /// Calls `f`, which tries to read or write, once. Its `WouldBlock` clears the readiness, so `f` may say so only when
    /// the descriptor did.
    ///
    /// # Errors
    ///
    /// [`TryIoError`] in place of `WouldBlock`. The errors of `f` are in the value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable_mut().await?;
    /// let sent = guard.try_io(|socket| socket.get_mut().write(b"hello")).expect("there is room")?;
    /// assert_eq!(sent, 5);
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(
        &mut self,
        f: impl FnOnce(&mut AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        match f(self.fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear_ready();
                Err(TryIoError {})
            }
            result => Ok(result),
        }
    }

    /// The descriptor that was waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable_mut().await?;
    /// assert!(guard.get_ref().get_ref().local_addr()?.is_unnamed());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_ref(&self) -> &AsyncFd<T> {
        self.fd
    }

    /// The descriptor that was waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable_mut().await?;
    /// guard.get_mut().get_mut().set_nonblocking(true)?;
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_mut(&mut self) -> &mut AsyncFd<T> {
        self.fd
    }

    /// Its value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let guard = socket.writable_mut().await?;
    /// assert!(guard.get_inner().local_addr()?.is_unnamed());
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_inner(&self) -> &T {
        self.fd.get_ref()
    }

    /// Its value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # let mut socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable_mut().await?;
    /// guard.get_inner_mut().set_nonblocking(true)?;
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_inner_mut(&mut self) -> &mut T {
        self.fd.get_mut()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFdReadyMutGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFdReadyMutGuard").field("fd", &self.fd).field("ready", &self.seen.ready).finish()
    }
}
