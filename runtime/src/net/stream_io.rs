//! What every connected byte stream can do. All traits and methods of streams and of their halves come down to this.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use socket2::SockRef;

use crate::driver::{Interest, Ready, RecvBuf, SendAll, Source, StableBuf};
use crate::limits::BUFFERS_PER_CALL;

/// A connected, non-blocking stream socket. Nothing here keeps a buffer beyond the call.
pub(crate) struct StreamIo {
    source: Source,
}

impl StreamIo {
    /// Takes over `fd`, which must be non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> StreamIo {
        StreamIo { source: Source::new(fd) }
    }

    #[cfg(feature = "tokio")] // for copying, which is in terms of its traits
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// As [`new`](Self::new), for a socket whose reads may end early though there is more to read.
    pub(crate) fn with_boundaries(fd: OwnedFd) -> StreamIo {
        StreamIo { source: Source::with_boundaries(fd) }
    }

    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        self.source.into_fd()
    }

    /// The socket, and what was received ahead of its reader.
    pub(crate) async fn into_parts(self) -> io::Result<(OwnedFd, Vec<u8>)> {
        let ahead = self.source.take_left_over().await?;
        Ok((self.source.into_fd()?, ahead))
    }

    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        self.source.poll_ready(cx, interest)
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.source.ready(interest).await
    }

    /// Writes received bytes to the front of `buf`, and says how many. Reads nothing from `buf`.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.source.poll_read_streaming(cx, buf)
    }

    /// The next bytes, in a buffer of the runtime's.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<RecvBuf>> {
        self.source.poll_recv(cx)
    }

    pub(crate) async fn recv(&self) -> io::Result<RecvBuf> {
        self.source.recv().await
    }

    /// Sends all of a buffer, which is given away meanwhile.
    pub(crate) fn send_all<B: StableBuf>(&self, buffer: B) -> SendAll<'_, B> {
        SendAll::new(&self.source, buffer)
    }

    /// The same, without a copy in the system if there is enough to send.
    pub(crate) fn send_zero_copy<B: StableBuf>(&self, buffer: B) -> SendAll<'_, B> {
        SendAll::zero_copy(&self.source, buffer)
    }

    #[cfg(feature = "futures-io")] // tokio's and hyper's traits have no such call
    pub(crate) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut ahead = 0;
        if let Some(result) = ready!(self.source.poll_left_over(cx, |bytes| {
            ahead = scatter(bytes, bufs);
            ahead
        })) {
            return Poll::Ready(result.map(|()| ahead));
        }
        let (bufs, asked) = within_limit(bufs);
        let socket = self.socket();
        let got = ready!(self.source.poll_io(cx, Interest::READABLE, || (&*socket).read_vectored(bufs)))?;
        self.source.note_part(Interest::READABLE, asked, got);
        Poll::Ready(Ok(got))
    }

    /// As [`poll_read`](Self::poll_read), leaving the bytes where they are.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let mut ahead = 0;
        if let Some(result) = ready!(self.source.poll_left_over(cx, |bytes| {
            ahead = copy_to_uninit(bytes, buf);
            0 // they stay where they are
        })) {
            return Poll::Ready(result.map(|()| ahead));
        }
        let socket = self.socket();
        self.source.poll_io(cx, Interest::READABLE, || socket.peek(buf))
    }

    pub(crate) async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: `poll_peek` writes only what it received.
        std::future::poll_fn(|cx| self.poll_peek(cx, unsafe { as_uninit(buf) })).await
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.socket();
        let put = ready!(self.source.poll_io(cx, Interest::WRITABLE, || send(&socket, buf)))?;
        self.source.note_part(Interest::WRITABLE, buf.len(), put);
        Poll::Ready(Ok(put))
    }

    /// Sends a part of a file. 0 at the end of the file.
    pub(crate) fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: &impl AsRawFd,
        offset: u64,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = self.as_fd().as_raw_fd();
        self.source.poll_io(cx, Interest::WRITABLE, || {
            let mut offset = offset as i64;
            // SAFETY: the offset lives across the call; both descriptors are open.
            let sent = unsafe { libc::sendfile64(socket, file.as_raw_fd(), &raw mut offset, most) };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        })
    }

    pub(crate) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(BUFFERS_PER_CALL)];
        let socket = self.socket();
        let put = ready!(self.source.poll_io(cx, Interest::WRITABLE, || send_vectored(&socket, bufs)))?;
        self.source.note_part(Interest::WRITABLE, bufs.iter().map(|buf| buf.len()).sum(), put);
        Poll::Ready(Ok(put))
    }

    /// Bytes that were received ahead of the reader, if there are any.
    fn try_ahead(&self, copy: impl FnOnce(&[u8]) -> usize) -> Option<io::Result<usize>> {
        let mut count = 0;
        let result = self.source.try_left_over(|bytes| {
            count = copy(bytes);
            count
        })?;
        Some(result.map(|()| count))
    }

    pub(crate) fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(ahead) = self.try_ahead(|bytes| scatter(bytes, &mut [IoSliceMut::new(buf)])) {
            return ahead;
        }
        let socket = self.socket();
        let got = self.source.try_io(Interest::READABLE, || (&*socket).read(buf))?;
        self.source.note_part(Interest::READABLE, buf.len(), got);
        Ok(got)
    }

    pub(crate) fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if let Some(ahead) = self.try_ahead(|bytes| scatter(bytes, bufs)) {
            return ahead;
        }
        let (bufs, asked) = within_limit(bufs);
        let socket = self.socket();
        let got = self.source.try_io(Interest::READABLE, || (&*socket).read_vectored(bufs))?;
        self.source.note_part(Interest::READABLE, asked, got);
        Ok(got)
    }

    pub(crate) fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let socket = self.socket();
        let chunk = buf.chunk_mut();
        let asked = chunk.len();
        // SAFETY: the slice is handed to recv(2) alone, which does not take the initialisation of any byte back.
        let uninit = unsafe { chunk.as_uninit_slice_mut() };
        let got = match self.try_ahead(|bytes| copy_to_uninit(bytes, uninit)) {
            Some(ahead) => ahead?,
            None => {
                let got = self.source.try_io(Interest::READABLE, || socket.recv(uninit))?;
                self.source.note_part(Interest::READABLE, asked, got);
                got
            }
        };
        // SAFETY: one of the two has just written that many bytes to the front of this chunk.
        unsafe { buf.advance_mut(got) };
        Ok(got)
    }

    pub(crate) fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        let socket = self.socket();
        let put = self.source.try_io(Interest::WRITABLE, || send(&socket, buf))?;
        self.source.note_part(Interest::WRITABLE, buf.len(), put);
        Ok(put)
    }

    pub(crate) fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let bufs = &bufs[..bufs.len().min(BUFFERS_PER_CALL)];
        let socket = self.socket();
        let put = self.source.try_io(Interest::WRITABLE, || send_vectored(&socket, bufs))?;
        self.source.note_part(Interest::WRITABLE, bufs.iter().map(|buf| buf.len()).sum(), put);
        Ok(put)
    }

    /// Calls `f` once, unless it is known that it would block.
    pub(crate) fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.source.try_io_once(interest, f)
    }

    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        f: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.source.async_io(interest, f).await
    }

    /// Ends one or both directions. That there is no connection left to end is no error.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.socket().shutdown(how) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Waits for the outcome of a connect(2) that was begun.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        let outcome = || {
            let socket = self.socket();
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            match socket.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                result => result.map(drop),
            }
        };
        self.async_io(Interest::WRITABLE, outcome).await
    }
}

impl AsFd for StreamIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}

/// Lets a buffer that has been written before receive as one that has not.
///
/// # Safety
///
/// Only initialised bytes may be written to the result.
pub(crate) unsafe fn as_uninit(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`; that no byte becomes uninitialised is the caller's promise.
    unsafe { &mut *(std::ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) }
}

// A peer that is gone is an error of this call, not a signal to the process.
fn send(socket: &SockRef<'_>, buf: &[u8]) -> io::Result<usize> {
    socket.send_with_flags(buf, libc::MSG_NOSIGNAL)
}

fn send_vectored(socket: &SockRef<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.send_vectored_with_flags(bufs, libc::MSG_NOSIGNAL)
}

/// Copies to the front of `room`, and says how much.
fn copy_to_uninit(bytes: &[u8], room: &mut [MaybeUninit<u8>]) -> usize {
    let count = bytes.len().min(room.len());
    room[..count].write_copy_of_slice(&bytes[..count]);
    count
}

/// Fills the buffers one after the other, and says how much.
fn scatter(bytes: &[u8], bufs: &mut [IoSliceMut<'_>]) -> usize {
    let mut count = 0;
    for buf in bufs {
        let part = buf.len().min(bytes.len() - count);
        buf[..part].copy_from_slice(&bytes[count..count + part]);
        count += part;
    }
    count
}

/// As many of the buffers as one call takes, and the room in them.
pub(super) fn within_limit<'a, 'b>(bufs: &'a mut [IoSliceMut<'b>]) -> (&'a mut [IoSliceMut<'b>], usize) {
    let count = bufs.len().min(BUFFERS_PER_CALL);
    let bufs = &mut bufs[..count];
    let room = bufs.iter().map(|buf| buf.len()).sum();
    (bufs, room)
}
