//! What every socket of datagrams can do: all methods of UDP and Unix datagram sockets come down to this.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use bytes::BufMut;
use socket2::{SockAddr, SockRef};

use super::stream_io::as_uninit;
use crate::driver::{CloseNow, Interest, Ready, Source};

/// A non-blocking socket of datagrams. Nothing here keeps a buffer beyond the call.
pub(crate) struct DatagramIo {
    source: Source,
    /// After `source`: fields are dropped in this order.
    _close_now: CloseNow,
}

impl DatagramIo {
    /// Takes over `fd`, which must be non-blocking.
    pub(crate) fn new(fd: OwnedFd) -> DatagramIo {
        DatagramIo { source: Source::new(fd), _close_now: CloseNow }
    }

    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(crate) fn into_fd(self) -> io::Result<OwnedFd> {
        self.source.into_fd()
    }

    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        self.source.poll_ready(cx, interest)
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.source.ready(interest).await
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

    pub(crate) fn poll_read_io<R>(
        &self,
        cx: &mut Context<'_>,
        f: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_io(cx, Interest::READABLE, f)
    }

    pub(crate) fn poll_write_io<R>(
        &self,
        cx: &mut Context<'_>,
        f: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.source.poll_io(cx, Interest::WRITABLE, f)
    }

    pub(crate) fn try_read_io<R>(&self, f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.source.try_io(Interest::READABLE, f)
    }

    pub(crate) fn try_write_io<R>(&self, f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.source.try_io(Interest::WRITABLE, f)
    }

    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_io(cx, || self.send_now(buf))
    }

    pub(crate) fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.try_write_io(|| self.send_now(buf))
    }

    pub(crate) fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: &SockAddr,
    ) -> Poll<io::Result<usize>> {
        self.poll_write_io(cx, || self.send_to_now(buf, to))
    }

    pub(crate) async fn send_to(&self, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send_to(cx, buf, to)).await
    }

    pub(crate) fn try_send_to(&self, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
        self.try_write_io(|| self.send_to_now(buf, to))
    }

    // A peer that is gone is an error of these calls, not a signal to the process.
    fn send_now(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket().send_with_flags(buf, libc::MSG_NOSIGNAL)
    }

    pub(crate) fn send_to_now(&self, buf: &[u8], to: &SockAddr) -> io::Result<usize> {
        self.socket().send_to_with_flags(buf, to, libc::MSG_NOSIGNAL)
    }

    /// Writes a received datagram to the front of `buf`, and says how long. Reads nothing from `buf`.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
        take: Take,
    ) -> Poll<io::Result<usize>> {
        self.poll_read_io(cx, || self.receive_now(buf, take))
    }

    pub(crate) async fn receive(&self, buf: &mut [u8], take: Take) -> io::Result<usize> {
        // SAFETY: only what was received is written.
        poll_fn(|cx| self.poll_receive(cx, unsafe { as_uninit(buf) }, take)).await
    }

    pub(crate) fn try_receive(&self, buf: &mut [u8], take: Take) -> io::Result<usize> {
        // SAFETY: only what was received is written.
        self.try_read_io(|| self.receive_now(unsafe { as_uninit(buf) }, take))
    }

    fn receive_now(&self, buf: &mut [MaybeUninit<u8>], take: Take) -> io::Result<usize> {
        self.socket().recv_with_flags(buf, take.flags())
    }

    /// As [`poll_receive`](Self::poll_receive), and says who sent it.
    pub(crate) fn poll_receive_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
        take: Take,
    ) -> Poll<io::Result<(usize, SockAddr)>> {
        self.poll_read_io(cx, || self.receive_from_now(buf, take))
    }

    pub(crate) async fn receive_from(&self, buf: &mut [u8], take: Take) -> io::Result<(usize, SockAddr)> {
        // SAFETY: only what was received is written.
        poll_fn(|cx| self.poll_receive_from(cx, unsafe { as_uninit(buf) }, take)).await
    }

    pub(crate) fn try_receive_from(&self, buf: &mut [u8], take: Take) -> io::Result<(usize, SockAddr)> {
        // SAFETY: only what was received is written.
        self.try_read_io(|| self.receive_from_now(unsafe { as_uninit(buf) }, take))
    }

    fn receive_from_now(&self, buf: &mut [MaybeUninit<u8>], take: Take) -> io::Result<(usize, SockAddr)> {
        self.socket().recv_from_with_flags(buf, take.flags())
    }

    pub(crate) async fn receive_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let receive = |room: &mut _| self.receive_now(room, Take::Datagram).map(|length| (length, ()));
        poll_fn(|cx| self.poll_read_io(cx, || fill(buf, receive))).await.map(|(length, ())| length)
    }

    pub(crate) fn try_receive_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let receive = |room: &mut _| self.receive_now(room, Take::Datagram).map(|length| (length, ()));
        self.try_read_io(|| fill(buf, receive)).map(|(length, ())| length)
    }

    pub(crate) async fn receive_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SockAddr)> {
        let receive = |room: &mut _| self.receive_from_now(room, Take::Datagram);
        poll_fn(|cx| self.poll_read_io(cx, || fill(buf, receive))).await
    }

    pub(crate) fn try_receive_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SockAddr)> {
        let receive = |room: &mut _| self.receive_from_now(room, Take::Datagram);
        self.try_read_io(|| fill(buf, receive))
    }
}

/// What becomes of a datagram that is received.
#[derive(Clone, Copy)]
pub(crate) enum Take {
    Datagram,
    /// It stays for whoever receives next.
    Copy,
}

impl Take {
    fn flags(self) -> libc::c_int {
        match self {
            Take::Datagram => 0,
            Take::Copy => libc::MSG_PEEK,
        }
    }
}

/// Receives into the spare room of `buf`, and advances it. Room for less than a datagram cuts that datagram short.
///
/// `receive` writes as many bytes as it says to the front of what it is given.
fn fill<B: BufMut, R>(
    buf: &mut B,
    receive: impl FnOnce(&mut [MaybeUninit<u8>]) -> io::Result<(usize, R)>,
) -> io::Result<(usize, R)> {
    // SAFETY: the slice is handed to recv(2) alone, which does not take the initialisation of any byte back.
    let (length, more) = receive(unsafe { buf.chunk_mut().as_uninit_slice_mut() })?;
    // SAFETY: the system has just written that many bytes to the front of this chunk.
    unsafe { buf.advance_mut(length) };
    Ok((length, more))
}

impl AsFd for DatagramIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }
}
