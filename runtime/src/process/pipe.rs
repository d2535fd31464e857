//! Our end of a pipe to a child.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use socket2::SockRef;

use crate::driver::{Interest, Source};
use crate::limits::BUFFERS_PER_CALL;

/// A non-blocking descriptor that reads or writes like a pipe.
pub(crate) struct Pipe {
    source: Source,
}

impl Pipe {
    /// Takes over `fd`, and makes it non-blocking.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Pipe> {
        SockRef::from(&fd).set_nonblocking(true)?;
        Ok(Pipe { source: Source::new(fd) })
    }

    /// The descriptor, blocking as it was.
    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        let fd = self.source.into_fd()?;
        SockRef::from(&fd).set_nonblocking(false)?;
        Ok(fd)
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<()> {
        std::future::poll_fn(|cx| self.source.poll_ready(cx, interest)).await.map(drop)
    }

    /// A call that gets less than it asked for has emptied the pipe, or filled it.
    fn note(&self, interest: Interest, asked: usize, got: usize) {
        if 0 < got && got < asked {
            self.source.drained(interest);
        }
    }

    /// Writes bytes read to the front of `buf`, and says how many. Reads nothing from `buf`.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let got = ready!(self.source.poll_io(cx, Interest::READABLE, || read(self.as_fd(), buf)))?;
        self.note(Interest::READABLE, buf.len(), got);
        Poll::Ready(Ok(got))
    }

    pub(super) fn try_read(&self, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let got = self.source.try_io(Interest::READABLE, || read(self.as_fd(), buf))?;
        self.note(Interest::READABLE, buf.len(), got);
        Ok(got)
    }

    /// Reads once into the spare room of `bytes`, of which there must be some; 0 is the end.
    pub(super) fn poll_read_into(
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
        self.note(Interest::WRITABLE, buf.len(), put);
        Poll::Ready(Ok(put))
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(BUFFERS_PER_CALL)];
        let put = ready!(self.source.poll_io(cx, Interest::WRITABLE, || write_vectored(self.as_fd(), bufs)))?;
        self.note(Interest::WRITABLE, bufs.iter().map(|buf| buf.len()).sum(), put);
        Poll::Ready(Ok(put))
    }

    pub(super) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        let put = self.source.try_io(Interest::WRITABLE, || write(self.as_fd(), buf))?;
        self.note(Interest::WRITABLE, buf.len(), put);
        Ok(put)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

// std offers these calls on types of its own only, which would close the descriptor, and not for unwritten memory.

fn read(fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    // SAFETY: the buffer is ours to be written, and as long as said.
    count(unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) })
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
