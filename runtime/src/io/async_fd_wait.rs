//! How one waits for an [`AsyncFd`].

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use super::Interest;
use super::async_fd_guard::{AsyncFdReadyGuard, AsyncFdReadyMutGuard};
use super::unix::AsyncFd;

impl<T: AsRawFd> AsyncFd<T> {
    /// Waits until some of `interest` is ready; the guard says what. It may be wrong: what is tried next may still find
    /// nothing.
    ///
    /// # Errors
    ///
    /// The driver cannot watch the descriptor, or it is not to be watched for any of `interest`: see
    /// [`with_interest`](Self::with_interest).
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not lost when the future is dropped: the next one finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// let guard = socket.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(guard.ready().is_writable() && !guard.ready().is_readable());
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        let seen = poll_fn(|cx| self.poll_seen(cx, interest)).await?;
        Ok(AsyncFdReadyGuard::new(self, seen))
    }

    /// As [`ready`](Self::ready), with a guard that lends the value mutably.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As [`ready`](Self::ready).
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
    /// let mut guard = socket.ready_mut(Interest::WRITABLE).await?;
    /// guard.get_inner_mut().write_all(b"hello")?;
    /// # drop(guard);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready_mut(&mut self, interest: Interest) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        let seen = poll_fn(|cx| self.poll_seen(cx, interest)).await?;
        Ok(AsyncFdReadyMutGuard::new(self, seen))
    }

    /// Waits until there is something to read, the end included.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// theirs.shutdown(std::net::Shutdown::Both)?;
    /// assert!(socket.readable().await?.ready().is_read_closed());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::READABLE).await
    }

    /// Waits until there is something to read, the end included.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As [`ready_mut`](Self::ready_mut).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// theirs.shutdown(std::net::Shutdown::Both)?;
    /// assert!(socket.readable_mut().await?.ready().is_read_closed());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::READABLE).await
    }

    /// Waits until there is room to write, or writing fails.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// let mut guard = socket.writable().await?;
    /// let sent = guard.try_io(|socket| socket.get_ref().write(b"hello")).expect("there is room")?;
    /// assert_eq!(sent, 5);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// Waits until there is room to write, or writing fails.
    ///
    /// # Errors, panics and cancel safety
    ///
    /// As [`ready_mut`](Self::ready_mut).
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
    /// let mut guard = socket.writable_mut().await?;
    /// let sent = guard.try_io(|socket| socket.get_mut().write(b"hello")).expect("there is room")?;
    /// assert_eq!(sent, 5);
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable_mut(&mut self) -> io::Result<AsyncFdReadyMutGuard<'_, T>> {
        self.ready_mut(Interest::WRITABLE).await
    }

    /// Polls what [`readable`](Self::readable) waits for.
    ///
    /// # Errors and panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// # theirs.shutdown(std::net::Shutdown::Write)?;
    /// let guard = poll_fn(|cx| socket.poll_read_ready(cx)).await?;
    /// assert!(guard.ready().is_readable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_read_ready<'a>(&'a self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let seen = ready!(self.poll_seen(cx, Interest::READABLE))?;
        Poll::Ready(Ok(AsyncFdReadyGuard::new(self, seen)))
    }

    /// Polls what [`readable_mut`](Self::readable_mut) waits for.
    ///
    /// # Errors and panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// # theirs.shutdown(std::net::Shutdown::Write)?;
    /// let ready = poll_fn(|cx| socket.poll_read_ready_mut(cx).map_ok(|guard| guard.ready())).await?;
    /// assert!(ready.is_readable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_read_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let seen = ready!(self.poll_seen(cx, Interest::READABLE))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard::new(self, seen)))
    }

    /// Polls what [`writable`](Self::writable) waits for.
    ///
    /// # Errors and panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let socket = AsyncFd::new(ours)?;
    /// # theirs.shutdown(std::net::Shutdown::Write)?;
    /// let guard = poll_fn(|cx| socket.poll_write_ready(cx)).await?;
    /// assert!(guard.ready().is_writable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_write_ready<'a>(
        &'a self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'a, T>>> {
        let seen = ready!(self.poll_seen(cx, Interest::WRITABLE))?;
        Poll::Ready(Ok(AsyncFdReadyGuard::new(self, seen)))
    }

    /// Polls what [`writable_mut`](Self::writable_mut) waits for.
    ///
    /// # Errors and panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    /// # use multikernel::io::unix::AsyncFd;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// let mut socket = AsyncFd::new(ours)?;
    /// # theirs.shutdown(std::net::Shutdown::Write)?;
    /// let ready = poll_fn(|cx| socket.poll_write_ready_mut(cx).map_ok(|guard| guard.ready())).await?;
    /// assert!(ready.is_writable());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_write_ready_mut<'a>(
        &'a mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyMutGuard<'a, T>>> {
        let seen = ready!(self.poll_seen(cx, Interest::WRITABLE))?;
        Poll::Ready(Ok(AsyncFdReadyMutGuard::new(self, seen)))
    }
}
