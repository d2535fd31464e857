//! What every end of a pipe can do: those of `unix::pipe`, and those to a child.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use socket2::SockRef;

use super::stream_io::{as_uninit, within_limit};
use crate::driver::{Interest, Ready, RecvBuf, Sent, Source, StableBuf};
use crate::limits::{BUFFERS_PER_CALL, RECEIVE_BUFFER_BYTES};

/// Makes a pipe. Both ends are non-blocking and closed on exec; the first is the one to read from.
pub(crate) fn open() -> io::Result<[OwnedFd; 2]> {
    let mut fds = [-1; 2];
    // SAFETY: there is room for both numbers.
    match unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } {
        // SAFETY: just opened, and nobody else knows them.
        0 => Ok(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `O_RDONLY`, `O_WRONLY` or `O_RDWR`: what the file was opened for.
pub(super) fn access_mode(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: the call takes numbers.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) } {
        -1 => Err(io::Error::last_os_error()),
        flags => Ok(flags & libc::O_ACCMODE),
    }
}

/// Whether somebody has a pipe open to write, or had since `reader` was opened without waiting for that. Blocks no thread.
pub(crate) fn has_met_writer(reader: BorrowedFd<'_>) -> io::Result<bool> {
    let [_other_end, room] = open()?;
    // SAFETY: the call takes numbers.
    match unsafe { libc::tee(reader.as_raw_fd(), room.as_raw_fd(), 1, libc::SPLICE_F_NONBLOCK) } {
        // Empty and without a writer; it hangs up if there was one.
        0 => polled(reader, 0),
        1.. => Ok(true),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            error => Err(error),
        },
    }
}

/// Blocks until there is something to read from a pipe, or a writer has come and gone.
pub(crate) fn wait_for_writing(reader: BorrowedFd<'_>) -> io::Result<()> {
    while !polled(reader, -1)? {}
    Ok(())
}

/// Whether there is something to read, or the end. False if a signal came first.
fn polled(reader: BorrowedFd<'_>, timeout: libc::c_int) -> io::Result<bool> {
    let mut ask = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid structure, which lives across the call.
    match unsafe { libc::poll(&mut ask, 1, timeout) } {
        0.. => Ok(ask.revents != 0),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

/// A non-blocking descriptor that reads or writes like a pipe.
pub(crate) struct PipeIo {
    source: Source,
}

impl PipeIo {
    /// Takes over `fd`, and makes it non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<PipeIo> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Ok(PipeIo::from_nonblocking(fd))
    }

    /// Takes over `fd`, which must be non-blocking.
    pub(super) fn from_nonblocking(fd: OwnedFd) -> PipeIo {
        // Whoever writes may have put the pipe into packet mode (`O_DIRECT`): then a read gives one packet.
        PipeIo { source: Source::with_boundaries(fd) }
    }

    /// The descriptor, non-blocking still.
    pub(super) fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
        self.source.into_fd()
    }

    /// The descriptor, blocking again.
    pub(crate) fn into_blocking_fd(self) -> io::Result<OwnedFd> {
        let fd = self.source.into_fd()?;
        SockRef::from(&fd).set_nonblocking(false)?;
        Ok(fd)
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        let found = ready!(self.source.poll_ready(cx, interest))?;
        // A pipe knows one error only: nobody reads.
        let closed = if found.is_error() { Ready::WRITE_CLOSED } else { Ready::EMPTY };
        Poll::Ready(Ok((found | closed).for_interest(interest)))
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        poll_fn(|cx| self.poll_ready(cx, interest)).await
    }

    /// Calls `f` once, unless it is known that it would block.
    pub(crate) fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.source.try_io_once(interest, f)
    }

    /// Writes bytes read to the front of `buf`, and says how many. Reads nothing from `buf`.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let got = ready!(self.source.poll_io(cx, Interest::READABLE, || read(self.as_fd(), buf)))?;
        self.source.note_part(Interest::READABLE, buf.len(), got);
        Poll::Ready(Ok(got))
    }

    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: what is read is all that is written.
        self.try_read_uninit(unsafe { as_uninit(buf) })
    }

    fn try_read_uninit(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let got = self.source.try_io(Interest::READABLE, || read(self.as_fd(), buf))?;
        self.source.note_part(Interest::READABLE, buf.len(), got);
        Ok(got)
    }

    pub(super) fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let (bufs, asked) = within_limit(bufs);
        let got = self.source.try_io(Interest::READABLE, || read_vectored(self.as_fd(), bufs))?;
        self.source.note_part(Interest::READABLE, asked, got);
        Ok(got)
    }

    pub(super) fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        // SAFETY: what is read is all that is written, so no byte becomes uninitialised.
        let got = self.try_read_uninit(unsafe { buf.chunk_mut().as_uninit_slice_mut() })?;
        // SAFETY: that many bytes have just been written to the front of this chunk.
        unsafe { buf.advance_mut(got) };
        Ok(got)
    }

    /// The next bytes, at most a buffer full; none at the end. While it waits it holds no buffer.
    pub(crate) async fn recv(&self) -> io::Result<RecvBuf> {
        let mut bytes = Vec::new();
        poll_fn(|cx| {
            bytes.reserve_exact(RECEIVE_BUFFER_BYTES);
            let polled = self.poll_read_into(cx, &mut bytes);
            if polled.is_pending() {
                bytes = Vec::new();
            }
            polled
        })
        .await?;
        Ok(RecvBuf::heap(bytes))
    }

    /// Writes all of `buffer`, and gives it back.
    pub(crate) async fn send_all<B: StableBuf>(&self, buffer: B) -> Sent<B> {
        let mut rest = buffer.bytes();
        let result = poll_fn(|cx| {
            while !rest.is_empty() {
                match ready!(self.poll_write(cx, rest))? {
                    0 => return Err(io::ErrorKind::WriteZero.into()).into(),
                    put => rest = &rest[put..],
                }
            }
            Ok(()).into()
        });
        let result = result.await;
        Sent { result, buffer: Some(buffer) }
    }

    /// Reads once into the spare room of `bytes`, of which there must be some; 0 is the end.
    pub(crate) fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let got = ready!(self.poll_read(cx, bytes.spare_capacity_mut()))?;
        // SAFETY: that many bytes have just been written to the front of the spare room.
        unsafe { bytes.set_len(bytes.len() + got) };
        Poll::Ready(Ok(got))
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let put = ready!(self.source.poll_io(cx, Interest::WRITABLE, || write(self.as_fd(), buf)))?;
        self.source.note_part(Interest::WRITABLE, buf.len(), put);
        Poll::Ready(Ok(put))
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(BUFFERS_PER_CALL)];
        let put = ready!(self.source.poll_io(cx, Interest::WRITABLE, || write_vectored(self.as_fd(), bufs)))?;
        self.source.note_part(Interest::WRITABLE, bufs.iter().map(|buf| buf.len()).sum(), put);
        Poll::Ready(Ok(put))
    }

    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        let put = self.source.try_io(Interest::WRITABLE, || write(self.as_fd(), buf))?;
        self.source.note_part(Interest::WRITABLE, buf.len(), put);
        Ok(put)
    }

    pub(super) fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(BUFFERS_PER_CALL)];
        let put = self.source.try_io(Interest::WRITABLE, || write_vectored(self.as_fd(), bufs))?;
        self.source.note_part(Interest::WRITABLE, bufs.iter().map(|buf| buf.len()).sum(), put);
        Ok(put)
    }
}

impl AsFd for PipeIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

// std offers these calls on types of its own only, which would close the descriptor, and not for unwritten memory.

fn read(fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    // SAFETY: the buffer is ours to be written, and as long as said.
    count(unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) })
}

fn read_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let length = libc::c_int::try_from(bufs.len()).expect("no more than one call takes");
    // SAFETY: an `IoSliceMut` is laid out as an `iovec`, and there are as many as said, each ours to be written.
    count(unsafe { libc::readv(fd.as_raw_fd(), bufs.as_mut_ptr().cast(), length) })
}

fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as said.
    count(unsafe { libc::write(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len()) })
}

fn write_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let length = libc::c_int::try_from(bufs.len()).expect("no more than one call takes");
    // SAFETY: an `IoSlice` is laid out as an `iovec`, and there are as many as said.
    count(unsafe { libc::writev(fd.as_raw_fd(), bufs.as_ptr().cast(), length) })
}

fn count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
