//! Waiting for descriptors of other libraries.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use super::async_fd_error::AsyncFdRegisterError;
use super::{Interest, Ready};
use crate::driver::{Seen, Source};

/// Waits until a descriptor that another library opened can be read or written: a pipe, an eventfd, a timerfd, inotify, a
/// socket of a kind that [`net`](crate::net) does not know.
///
/// The file must be non-blocking, or the calls made when it is ready may still block the core. Wait with
/// [`readable`](Self::readable) or [`writable`](Self::writable), try, and say through the guard when the attempt found
/// nothing; [`async_io`](Self::async_io) does all three. Drivers report changes only: who takes part of what is there and
/// then calls [`clear_ready`](super::unix::AsyncFdReadyGuard::clear_ready) hears nothing of the rest.
///
/// Any core may wait at any time, and several tasks at once. The drivers watch a copy of the descriptor (`dup(2)`), so it
/// takes two descriptors, and whatever becomes of the original, they never watch somebody else's file by mistake. The copy
/// is closed before the value is dropped or given back; cores other than the calling one, where they waited too, let go of
/// it a moment later.
///
/// What finds readiness takes a unit of the task's [budget](crate::task::coop), whether or not anything is read or written
/// then, as it does for sockets. (Tokio's takes one in the methods that poll and in `async_io` only.) What does not wait,
/// [`try_io`](Self::try_io) and the guards, takes none.
///
/// # Examples
///
/// ```
/// use multikernel::io::unix::AsyncFd;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// let socket = AsyncFd::new(ours)?;
///
/// theirs.write_all(b"hello")?;
/// let mut buf = [0; 16];
/// let count = loop {
///     let mut guard = socket.readable().await?;
///     if let Ok(result) = guard.try_io(|socket| socket.get_ref().read(&mut buf)) {
///         break result?;
///     }
/// };
/// assert_eq!(&buf[..count], b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct AsyncFd<T: AsRawFd> {
    /// `None` only while it is taken apart.
    source: Option<Source>,
    interest: Interest,
    inner: Option<T>,
}

impl<T: AsRawFd> AsyncFd<T> {
    /// Watches a descriptor for reading and writing. It must be non-blocking.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for a file that is always ready, such as a regular file or a directory, on either driver; else
    /// the error of dup(2). The value is dropped then; [`try_new`](Self::try_new) gives it back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// assert!(socket.writable().await?.ready().is_writable());
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        Ok(AsyncFd::try_new(inner)?)
    }

    /// As [`new`](Self::new), for some directions only: waiting for others is refused.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::with_interest(ours, Interest::READABLE)?;
    /// assert!(socket.writable().await.is_err());
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        Ok(AsyncFd::try_with_interest(inner, interest)?)
    }

    /// As [`new`](Self::new), with an error that gives the value back.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::unix::AsyncFd;
    ///
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let (file, error) = AsyncFd::try_new(file).unwrap_err().into_parts();
    /// assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    /// assert!(file.metadata()?.is_file());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_new(inner: T) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::try_with_interest(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// As [`with_interest`](Self::with_interest), with an error that gives the value back.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::try_with_interest(ours, Interest::READABLE)?;
    /// theirs.shutdown(std::net::Shutdown::Both)?;
    /// assert!(socket.readable().await?.ready().is_read_closed());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_with_interest(inner: T, interest: Interest) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        match Source::of_foreign(inner.as_raw_fd()) {
            Ok(source) => Ok(AsyncFd { source: Some(source), interest, inner: Some(inner) }),
            Err(cause) => Err(AsyncFdRegisterError { inner, cause }),
        }
    }

    /// [`try_new`](Self::try_new) by its newer name. `unsafe` in tokio, since there the descriptor itself is watched.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// let (reader, _writer) = std::io::pipe()?;
    /// let reader = AsyncFd::register(reader)?;
    /// # drop(reader);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn register(inner: T) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::try_new(inner)
    }

    /// [`try_with_interest`](Self::try_with_interest) by its newer name.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::{Interest, unix::AsyncFd};
    /// let (reader, _writer) = std::io::pipe()?;
    /// let reader = AsyncFd::register_with_interest(reader, Interest::READABLE)?;
    /// # drop(reader);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn register_with_interest(
        inner: T,
        interest: Interest,
    ) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::try_with_interest(inner, interest)
    }

    fn source(&self) -> &Source {
        self.source.as_ref().expect("it is taken with the value only")
    }

    /// The value.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// assert!(socket.get_ref().local_addr()?.is_unnamed());
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_ref(&self) -> &T {
        self.inner.as_ref().expect("it is taken by value only")
    }

    /// The value, to change it. It must keep its descriptor: the file watched is the one from the start.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// socket.get_mut().write_all(b"hello")?;
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("it is taken by value only")
    }

    /// Stops watching and gives the value back, non-blocking still.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// let ours = socket.into_inner();
    /// ours.set_nonblocking(false)?;
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_inner(mut self) -> T {
        self.release();
        self.inner.take().expect("it is taken by value only")
    }

    fn release(&mut self) {
        if let Some(source) = self.source.take() {
            source.release();
        }
    }

    fn allowed(&self, interest: Interest) -> io::Result<Interest> {
        let allowed = interest.both(self.interest);
        if allowed.is_none() {
            let what = format!("this AsyncFd waits for {:?} only, not for {interest:?}", self.interest);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        Ok(allowed)
    }

    pub(super) fn poll_seen(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Seen>> {
        let interest = self.allowed(interest)?;
        self.source().poll_seen(cx, interest)
    }

    pub(super) fn use_up(&self, seen: Seen, ready: Ready) {
        self.source().use_up(seen, ready);
    }

    /// Calls `f`, which tries to read or write, until it does not return `WouldBlock`, waiting in between.
    ///
    /// # Errors
    ///
    /// As `f`; `Interrupted` is retried. Else as [`ready`](Self::ready), also for the panics.
    ///
    /// # Cancel safety
    ///
    /// `f` has not been called since it last returned `WouldBlock` when the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// use std::io::{Read, Write};
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    /// let mut buf = [0; 16];
    /// let count = socket.async_io(Interest::READABLE, |mut socket| socket.read(&mut buf)).await?;
    /// assert_eq!(&buf[..count], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut f: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        let interest = self.allowed(interest)?;
        poll_fn(|cx| self.source().poll_io(cx, interest, || f(self.get_ref()))).await
    }

    /// As [`async_io`](Self::async_io), for calls that need the value mutably.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// use std::io::Write;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// let count = socket.async_io_mut(Interest::WRITABLE, |socket| socket.write(b"hello")).await?;
    /// assert_eq!(count, 5);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn async_io_mut<R>(
        &mut self,
        interest: Interest,
        mut f: impl FnMut(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let interest = self.allowed(interest)?;
        let (source, inner) = self.parts();
        poll_fn(|cx| source.poll_io(cx, interest, || f(inner))).await
    }

    /// Calls `f` once, without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, without calling `f`, when this core knows that nothing is ready. Else what `f` returns; when that is
    /// `WouldBlock`, the readiness seen so far is forgotten, so `f` may say so only when the descriptor did.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// use std::io::Read;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// let nothing = socket.try_io(Interest::READABLE, |mut socket| socket.read(&mut [0; 16]));
    /// assert_eq!(nothing.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        let interest = self.allowed(interest)?;
        self.source().try_io_once(interest, || f(self.get_ref()))
    }

    /// As [`try_io`](Self::try_io), for calls that need the value mutably.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// use std::io::Write;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// assert_eq!(socket.try_io_mut(Interest::WRITABLE, |socket| socket.write(b"hello"))?, 5);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io_mut<R>(
        &mut self,
        interest: Interest,
        f: impl FnOnce(&mut T) -> io::Result<R>,
    ) -> io::Result<R> {
        let interest = self.allowed(interest)?;
        let (source, inner) = self.parts();
        source.try_io_once(interest, || f(inner))
    }

    fn parts(&mut self) -> (&Source, &mut T) {
        let source = self.source.as_ref().expect("it is taken with the value only");
        (source, self.inner.as_mut().expect("it is taken by value only"))
    }
}

impl<T: AsRawFd> Drop for AsyncFd<T> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T: AsRawFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}

impl<T: AsRawFd + AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish()
    }
}
