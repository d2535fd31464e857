//! The reading end of a pipe.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use bytes::BufMut;

use super::pipe::checked;
use super::pipe_io::PipeIo;
use crate::driver::{Interest, Ready, RecvBuf};

/// The reading end of a pipe, from [`pipe`](super::unix::pipe::pipe),
/// [`open_receiver`](super::unix::pipe::OpenOptions::open_receiver), or a descriptor at hand.
///
/// It implements `AsyncRead` of tokio and of `futures`, with those features. The stream ends when the last writer is gone;
/// of a pipe with a name there may be another one later, which [`readable`](Self::readable) tells of. One that is opened
/// for [both directions](super::unix::pipe::OpenOptions::read_write) has no end.
///
/// # Examples
///
/// ```
/// use multikernel::net::unix::pipe;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (sender, receiver) = pipe::pipe()?;
/// let reading = multikernel::spawn(async move { receiver.recv().await });
/// sender.send_all(&b"hello"[..]).await.result?;
/// assert_eq!(&reading.await??[..], b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Receiver {
    pipe: PipeIo,
}

impl Receiver {
    pub(super) fn new(pipe: PipeIo) -> Receiver {
        Receiver { pipe }
    }

    /// Takes over the reading end of a pipe, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the file is no pipe, or was not opened to read. Else the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    /// use std::fs::File;
    ///
    /// let error = pipe::Receiver::from_file(File::open("/dev/null")?).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_file(file: File) -> io::Result<Receiver> {
        Receiver::from_owned_fd(file.into())
    }

    /// As [`from_file`](Self::from_file), of a descriptor.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    ///
    /// let (reader, writer) = std::io::pipe()?;
    /// let receiver = pipe::Receiver::from_owned_fd(reader.into())?;
    /// let error = pipe::Receiver::from_owned_fd(writer.into()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Receiver> {
        Ok(Receiver { pipe: checked(fd, libc::O_RDONLY)? })
    }

    /// As [`from_file`](Self::from_file), for a file that is known to be a pipe, to be open to read and to be non-blocking.
    /// One that blocks would block its core.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    /// use std::fs::File;
    ///
    /// let (sender, receiver) = pipe::pipe()?;
    /// let file = File::from(receiver.into_nonblocking_fd()?);
    /// let receiver = pipe::Receiver::from_file_unchecked(file)?;
    /// # drop(sender);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_file_unchecked(file: File) -> io::Result<Receiver> {
        Receiver::from_owned_fd_unchecked(file.into())
    }

    /// As [`from_file_unchecked`](Self::from_file_unchecked), of a descriptor.
    ///
    /// # Errors
    ///
    /// None today.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    ///
    /// let (sender, receiver) = pipe::pipe()?;
    /// let receiver = pipe::Receiver::from_owned_fd_unchecked(receiver.into_nonblocking_fd()?)?;
    /// # drop(sender);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_owned_fd_unchecked(fd: OwnedFd) -> io::Result<Receiver> {
        Ok(Receiver::new(PipeIo::from_nonblocking(fd)))
    }

    /// Waits until `interest` is ready, and says what is. It may be wrong: what is tried next may still find nothing.
    ///
    /// `READ_CLOSED` says that nobody writes any more; there may still be bytes to read.
    ///
    /// # Errors
    ///
    /// The driver cannot watch the pipe.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor inside a `block_on`. The same holds for all that waits.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not lost when the future is dropped: the next one finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::io::Interest;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// drop(sender);
    /// assert!(receiver.ready(Interest::READABLE).await?.is_read_closed());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.pipe.ready(interest).await
    }

    /// Waits until there is something to read, the end included. As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// sender.try_write(b"hello")?;
    /// receiver.readable().await?;
    /// assert_eq!(receiver.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    /// Polls what [`readable`](Self::readable) waits for. Errors and panics are those of [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// sender.try_write(b"hello")?;
    /// poll_fn(|cx| receiver.poll_read_ready(cx)).await?;
    /// assert_eq!(receiver.try_read(&mut [0; 8])?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_ready(cx, Interest::READABLE).map_ok(drop)
    }

    /// Reads what is there, without waiting. `Ok(0)` is the end of the stream, if `buf` is not empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found nothing:
    /// wait with [`readable`](Self::readable) between attempts.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// let mut buf = [0; 64];
    /// assert_eq!(receiver.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// drop(sender);
    /// receiver.readable().await?;
    /// assert_eq!(receiver.try_read(&mut buf)?, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_read(buf)
    }

    /// As [`try_read`](Self::try_read), into several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSliceMut;
    ///
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// sender.try_write(b"\x05hello")?;
    /// let (mut length, mut body) = ([0], [0; 64]);
    /// receiver.try_read_vectored(&mut [IoSliceMut::new(&mut length), IoSliceMut::new(&mut body)])?;
    /// assert_eq!(&body[..length[0].into()], b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.pipe.try_read_vectored(bufs)
    }

    /// As [`try_read`](Self::try_read), into the spare room of `buf`, which advances; nothing is zeroed first.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// sender.try_write(b"hello")?;
    /// let mut buf = Vec::with_capacity(64);
    /// receiver.try_read_buf(&mut buf)?;
    /// assert_eq!(buf, b"hello");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.pipe.try_read_buf(buf)
    }

    /// The next bytes, at most 4096 of them; none at the end of the stream. While it waits it holds no buffer.
    ///
    /// # Errors
    ///
    /// The system's.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: bytes that have arrived wait for the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// # sender.try_write(b"hello")?;
    /// # drop(sender);
    /// let mut all = Vec::new();
    /// loop {
    ///     let bytes = receiver.recv().await?;
    ///     if bytes.is_empty() {
    ///         break;
    ///     }
    ///     all.extend_from_slice(&bytes);
    /// }
    /// # assert_eq!(all, b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn recv(&self) -> io::Result<RecvBuf> {
        self.pipe.recv().await
    }

    /// Calls `f`, which does I/O of its own on the descriptor, once and without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock`, without calling `f`, when this core knows that nothing is ready. Else what `f` returns; when that is
    /// `WouldBlock`, the readiness seen so far is forgotten, so `f` may say so only when the descriptor did.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    ///
    /// sender.try_write(b"hello")?;
    /// receiver.readable().await?;
    /// let mut file = std::fs::File::from(receiver.as_fd().try_clone_to_owned()?);
    /// assert_eq!(receiver.try_io(|| file.read(&mut [0; 8]))?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.pipe.try_io(Interest::READABLE, f)
    }

    /// The descriptor, which blocks: for a child, or a thread of its own.
    ///
    /// All descriptors of the same open file block then, or do not.
    ///
    /// # Errors
    ///
    /// No descriptor number is free: one that a driver watches comes back under a new one. The pipe is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// use multikernel::process::Command;
    ///
    /// sender.send_all(&b"hello"[..]).await.result?;
    /// drop(sender);
    /// let output = Command::new("cat").stdin(receiver.into_blocking_fd()?).output().await?;
    /// assert_eq!(output.stdout, b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
        self.pipe.into_blocking_fd()
    }

    /// As [`into_blocking_fd`](Self::into_blocking_fd), left non-blocking.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// let fd = receiver.into_nonblocking_fd()?;
    /// # drop(sender);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
        self.pipe.into_nonblocking_fd()
    }

    pub(crate) fn io(&self) -> &PipeIo {
        &self.pipe
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<Receiver>();
};
