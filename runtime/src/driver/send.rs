//! Sending a buffer that is given away for the while: no system call of its own on io_uring, and no copy if that is asked for.
//!
//! ```text
//!                                ┌─ result, F_MORE ──▶ noticed later ─ notification ─┐
//!    start ──▶ on the ring ──────┤                                                    ├──▶ done: the buffer is free
//!                                └─ result alone ────────────────────────────────────┘
//! ```
//!
//! A plain send has no second step. A future that is dropped in either of the two waits leaves its buffer with the operation,
//! which frees it when it is done (`State::Abandoned`); only the first can be cancelled. The operation holds the socket until the
//! result, and not until the notification: for TCP that is when the peer has acknowledged all bytes, and closing must not wait
//! for it.

use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::interest::Interest;
use super::running::{Lost, Running, parcel};
use super::source::Source;
use super::uring::COPIED;
use crate::context;
use crate::limits::ZERO_COPY_FROM;

/// Bytes that stay where they are when the value that owns them moves. What
/// [`send_all`](crate::net::TcpStream::send_all) takes: `Vec<u8>`, `Box<[u8]>`, `Bytes`, `&'static [u8]`,
/// [`RecvBuf`](crate::net::RecvBuf), and what you implement it for.
///
/// # Safety
///
/// `bytes` returns the same memory every time, it does not change and stays valid until the value is dropped: also
/// while the value is moved, and for good when it is forgotten.
///
/// # Examples
///
/// ```
/// use multikernel::net::StableBuf;
/// use std::sync::Arc;
///
/// /// A page that many connections send.
/// #[derive(Clone)]
/// struct Page(Arc<str>);
///
/// // SAFETY: the text is on the heap and immutable while any `Page` refers to it.
/// unsafe impl StableBuf for Page {
///     fn bytes(&self) -> &[u8] {
///         self.0.as_bytes()
///     }
/// }
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// server.send_all(Page(Arc::from("hello"))).await.result?;
/// # assert_eq!(&client.recv().await?[..], b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub unsafe trait StableBuf: Send + Sync + Unpin + 'static {
    /// The bytes to send.
    fn bytes(&self) -> &[u8];

    /// The core whose ring has this memory registered, 0 for none.
    #[doc(hidden)]
    fn ring(&self) -> u64 {
        0
    }
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl StableBuf for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl StableBuf for Box<[u8]> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes are shared and immutable while any `Bytes` refers to them.
unsafe impl StableBuf for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: the bytes never move, change or end.
unsafe impl StableBuf for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// What became of a send.
///
/// # Examples
///
/// A buffer that serves for one send after the other:
///
/// ```
/// use multikernel::net::Sent;
///
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let mut buffer = Vec::with_capacity(1024);
/// for round in 0..3_u8 {
///     buffer.push(round);
///     let Sent { result, buffer: back } = server.send_all(buffer).await;
///     result?;
///     buffer = back.unwrap_or_default();
///     buffer.clear();
/// }
/// # drop(client);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[must_use = "the result says whether the bytes were sent"]
pub struct Sent<B> {
    /// All bytes, or the error that ended it; some bytes may have been sent before an error.
    pub result: io::Result<()>,
    /// `None` only when the core that sent it has ended and may not have let go of the buffer.
    pub buffer: Option<B>,
}

/// The future of [`send_all`](crate::net::TcpStream::send_all) and
/// [`send_zero_copy`](crate::net::TcpStream::send_zero_copy): sends all of a buffer. Dropped before it is ready, it has sent
/// some part of the buffer, or none.
///
/// # Examples
///
/// ```
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// use multikernel::net::SendAll;
///
/// let sending: SendAll<'_, Vec<u8>> = server.send_all(b"hello".to_vec()); // nothing is sent yet
/// let sent = sending.await;
/// sent.result?;
/// assert_eq!(sent.buffer.unwrap(), b"hello");
/// # drop(client);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "a future does nothing until it is polled"]
pub struct SendAll<'a, B: StableBuf> {
    source: &'a Source,
    buffer: Option<B>,
    sent: usize,
    running: Option<Running>,
    /// What is long enough is sent without a copy, until that is refused.
    zero_copy: bool,
}

impl<'a, B: StableBuf> SendAll<'a, B> {
    pub(crate) fn new(source: &'a Source, buffer: B) -> Self {
        SendAll { source, buffer: Some(buffer), sent: 0, running: None, zero_copy: false }
    }

    pub(crate) fn zero_copy(source: &'a Source, buffer: B) -> Self {
        let mut send = SendAll::new(source, buffer);
        send.zero_copy = true;
        send
    }

    fn finish(&mut self, result: io::Result<()>) -> Poll<Sent<B>> {
        self.running = None;
        Poll::Ready(Sent { result, buffer: self.buffer.take() })
    }

    /// The bytes not sent yet.
    fn rest(&self) -> &[u8] {
        &self.buffer.as_ref().expect("a finished send is not polled again").bytes()[self.sent..]
    }

    /// Starts an operation for the rest, if this thread has a ring.
    fn start(&self, waker: &Waker) -> Option<Running> {
        context::with_core(|core| {
            let core = core?;
            let waker = waker.clone();
            let (descriptor, rest) = (self.source.descriptor(), self.rest());
            // Relaxed: a hint; whoever misses it sends one more in vain.
            let zero_copy =
                self.zero_copy && rest.len() >= ZERO_COPY_FROM && !descriptor.copies.load(Ordering::Relaxed);
            let mut reactor = core.reactor.borrow_mut();
            // SAFETY: the bytes stay in place until the operation is done: this future keeps the buffer, or leaves it
            // with the operation when it is dropped, or forgets it.
            let started = unsafe { reactor.start_send(descriptor, rest, zero_copy, waker) };
            drop(reactor);
            let key = started.ok()?;
            Some(Running::new(core.uid, key))
        })
    }

    /// From now on this socket's sends are plain.
    fn no_zero_copy(&self) {
        // Relaxed: a hint, see `start`.
        self.source.descriptor().copies.store(true, Ordering::Relaxed);
    }

    /// Goes on by readiness: on epoll, and on threads that are no core.
    fn poll_by_readiness(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (source, rest) = (self.source, self.rest());
        source.poll_io(cx, Interest::WRITABLE, || {
            // SAFETY: pointer and length are those of a live slice.
            let sent = unsafe {
                libc::send(source.fd().as_raw_fd(), rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL)
            };
            usize::try_from(sent).map_err(|_| io::Error::last_os_error())
        })
    }
}

fn is_refusal(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EOPNOTSUPP | libc::ENOMEM)
}

impl<B: StableBuf> Future for SendAll<'_, B> {
    type Output = Sent<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent<B>> {
        let this = self.get_mut();
        let mut by_ring = true;
        loop {
            if let Some(running) = &mut this.running {
                let Poll::Ready(ended) = running.poll(cx) else { return Poll::Pending };
                this.running = None;
                match ended {
                    Ok(sent @ 0..) => {
                        this.sent += (sent & !COPIED) as usize;
                        if sent & COPIED != 0 {
                            this.no_zero_copy();
                        }
                    }
                    Ok(errno) if -errno == libc::EINTR => {}
                    // The ring would not wait for room, or gave up before it began; readiness will do.
                    Ok(errno) if matches!(-errno, libc::EAGAIN | libc::ECANCELED) => by_ring = false,
                    // An old system, a socket that cannot, or too little memory that may be locked. If it is something else,
                    // the plain send fails too and tells.
                    Ok(errno) if this.zero_copy && is_refusal(-errno) => {
                        this.zero_copy = false;
                        if -errno != libc::ENOMEM {
                            this.no_zero_copy();
                        }
                    }
                    Ok(errno) => return this.finish(Err(io::Error::from_raw_os_error(-errno))),
                    Err(Lost) => {
                        // That core's ring may not be through with it.
                        std::mem::forget(this.buffer.take());
                        return this.finish(Err(io::Error::other("the core that was sending has ended")));
                    }
                }
            }
            if this.rest().is_empty() {
                return this.finish(Ok(()));
            }
            if by_ring {
                this.running = this.start(cx.waker());
                if this.running.is_some() {
                    return Poll::Pending;
                }
            }
            match this.poll_by_readiness(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(sent)) => this.sent += sent,
                Poll::Ready(Err(error)) => return this.finish(Err(error)),
            }
        }
    }
}

impl<B: StableBuf> Drop for SendAll<'_, B> {
    fn drop(&mut self) {
        if let (Some(running), Some(buffer)) = (self.running.take(), self.buffer.take()) {
            running.abandon(parcel(buffer), false, None);
        }
    }
}
