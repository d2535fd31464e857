//! The writing end of a pipe.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::pipe::checked;
use super::pipe_io::PipeIo;
use crate::driver::{Interest, Ready, Sent, StableBuf};

/// The writing end of a pipe, from [`pipe`](super::unix::pipe::pipe),
/// [`open_sender`](super::unix::pipe::OpenOptions::open_sender), or a descriptor at hand.
///
/// It implements `AsyncWrite` of tokio and of `futures`, with those features. Shutting the writer down changes nothing:
/// only dropping it is the end for the reader.
///
/// To write when nobody reads any more is an error, `BrokenPipe`. That is so while the process ignores `SIGPIPE`, as Rust
/// programs do from their start.
///
/// # Examples
///
/// ```
/// use multikernel::net::unix::pipe;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (sender, receiver) = pipe::pipe()?;
/// sender.send_all(&b"hello"[..]).await.result?;
/// drop(sender);
/// assert_eq!(&receiver.recv().await?[..], b"hello");
/// assert!(receiver.recv().await?.is_empty());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Sender {
    pipe: PipeIo,
}

impl Sender {
    pub(super) fn new(pipe: PipeIo) -> Sender {
        Sender { pipe }
    }

    /// Takes over the writing end of a pipe, and makes it non-blocking.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the file is no pipe, or was not opened to write. Else the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    /// use std::fs::File;
    ///
    /// let error = pipe::Sender::from_file(File::open("/dev/null")?).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_file(file: File) -> io::Result<Sender> {
        Sender::from_owned_fd(file.into())
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
    /// let sender = pipe::Sender::from_owned_fd(writer.into())?;
    /// let error = pipe::Sender::from_owned_fd(reader.into()).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Sender> {
        Ok(Sender { pipe: checked(fd, libc::O_WRONLY)? })
    }

    /// As [`from_file`](Self::from_file), for a file that is known to be a pipe, to be open to write and to be non-blocking.
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
    /// let file = File::from(sender.into_nonblocking_fd()?);
    /// let sender = pipe::Sender::from_file_unchecked(file)?;
    /// # drop(receiver);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_file_unchecked(file: File) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(file.into())
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
    /// let sender = pipe::Sender::from_owned_fd_unchecked(sender.into_nonblocking_fd()?)?;
    /// # drop(receiver);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_owned_fd_unchecked(fd: OwnedFd) -> io::Result<Sender> {
        Ok(Sender::new(PipeIo::from_nonblocking(fd)))
    }

    /// Waits until `interest` is ready, and says what is. It may be wrong: what is tried next may still find no room.
    ///
    /// `WRITE_CLOSED` says that nobody reads any more.
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
    /// drop(receiver);
    /// assert!(sender.ready(Interest::WRITABLE).await?.is_write_closed());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.pipe.ready(interest).await
    }

    /// Waits until there is room to write, or writing fails. As [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// sender.writable().await?;
    /// assert_eq!(sender.try_write(b"hello")?, 5);
    /// # drop(receiver);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Polls what [`writable`](Self::writable) waits for. Errors and panics are those of [`ready`](Self::ready).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// poll_fn(|cx| sender.poll_write_ready(cx)).await?;
    /// assert_eq!(sender.try_write(b"hello")?, 5);
    /// # drop(receiver);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_ready(cx, Interest::WRITABLE).map_ok(drop)
    }

    /// Writes what fits, without waiting, and says how much that was. At most `PIPE_BUF` bytes (4096) are written all or
    /// not at all, and not mixed with what others write.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits: wait with [`writable`](Self::writable) between attempts. `BrokenPipe` when nobody
    /// reads any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// while sender.try_write(&[0; 4096]).is_ok() {}
    /// assert_eq!(sender.try_write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
    /// drop(receiver);
    /// sender.writable().await?;
    /// assert_eq!(sender.try_write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.try_write(buf)
    }

    /// As [`try_write`](Self::try_write), from several buffers in turn.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::IoSlice;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// assert_eq!(sender.try_write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")])?, 5);
    /// assert_eq!(&receiver.recv().await?[..], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe.try_write_vectored(bufs)
    }

    /// Writes all of `buffer`, and gives it back.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when nobody reads any more, as the `result` of [`Sent`]. Some of the bytes may have been written.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a future dropped early has written a part of the buffer, or none.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let (sender, receiver) = multikernel::net::unix::pipe::pipe()?;
    /// let sent = sender.send_all(vec![b'x'; 3000]).await;
    /// sent.result?;
    /// let buffer = sent.buffer.unwrap_or_default(); // for what is written next
    /// # drop((receiver, buffer));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_all<B: StableBuf>(&self, buffer: B) -> Sent<B> {
        self.pipe.send_all(buffer).await
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
    /// use std::io::Write;
    /// use std::os::fd::AsFd;
    ///
    /// sender.writable().await?;
    /// let mut file = std::fs::File::from(sender.as_fd().try_clone_to_owned()?);
    /// assert_eq!(sender.try_io(|| file.write(b"hello"))?, 5);
    /// assert_eq!(&receiver.recv().await?[..], b"hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_io<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.pipe.try_io(Interest::WRITABLE, f)
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
    /// let mut child = Command::new("echo").arg("hello").stdout(sender.into_blocking_fd()?).spawn()?;
    /// assert_eq!(&receiver.recv().await?[..], b"hello\n");
    /// # child.wait().await?;
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
    /// let fd = sender.into_nonblocking_fd()?;
    /// # drop(receiver);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
        self.pipe.into_nonblocking_fd()
    }

    pub(crate) fn io(&self) -> &PipeIo {
        &self.pipe
    }

    /// Nothing is kept back, and only a drop ends the stream.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl AsRawFd for Sender {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("fd", &self.as_raw_fd()).finish()
    }
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<Sender>();
};
