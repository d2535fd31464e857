//! Receiving into buffers of the runtime's own, and what a source does when others read it in between.
//!
//! On io_uring a source streams while it is read this way: its home, the core that read first, has a receive at work
//! that fills shared buffers. Other readers stop the stream first; what it had received is theirs, in order.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::handover::{LeftOver, Mode};
use super::interest::{Interest, Ready};
use super::recv_buf::RecvBuf;
use super::source::{Descriptor, Source};
use super::uring::{Chunk, Next, Pool};
use crate::context::{self, Resources};
use crate::limits::RECEIVE_BUFFER_BYTES;

/// What a poll of this core's stream found.
enum Streamed<R> {
    Ended(Poll<io::Result<Option<R>>>),
    /// No buffer is to be had now: read into memory of your own.
    Starved,
    /// The stream is being stopped: see what is left over.
    Stopping,
}

/// What is left over of a stream.
enum Claim<R> {
    Found(R),
    /// The stream has yet to stop.
    Waiting,
    Nothing,
}

impl Source {
    /// True while bytes may have been received that no reader has. A plain load; false for a source that was never
    /// read with [`Source::poll_recv`].
    #[inline]
    pub(crate) fn is_streaming(&self) -> bool {
        self.descriptor().handover.is_streaming()
    }

    /// The next bytes; an empty buffer at the end of the stream, and again ever after.
    ///
    /// For stream sockets. Nothing is lost when the caller stops polling: bytes wait for the next reader.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<RecvBuf>> {
        let progress = ready!(context::poll_proceed(cx));
        let polled = context::with_core(|core| self.recv_on(core, cx));
        if polled.is_ready() {
            progress.made();
        }
        polled
    }

    /// [`Source::poll_recv`] as a future; dropping it loses nothing.
    pub(crate) async fn recv(&self) -> io::Result<RecvBuf> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn recv_on(&self, core: Option<&Resources>, cx: &mut Context<'_>) -> Poll<io::Result<RecvBuf>> {
        loop {
            match (self.descriptor().handover.mode(), core) {
                (Mode::Free, Some(core)) if self.start_stream(core) => continue,
                (Mode::Free | Mode::Done, _) => {
                    return self.attempt(core, cx, Interest::READABLE, || self.recv_into_heap(core));
                }
                (Mode::Home(home), Some(core)) if home == core.uid => {
                    match self.poll_stream(core, cx, lend) {
                        Streamed::Ended(polled) => {
                            return polled.map_ok(|found| found.unwrap_or_else(RecvBuf::empty));
                        }
                        // Between two receives nothing else reads the socket, so the order holds.
                        Streamed::Starved => {
                            let plain = || self.recv_into_heap(Some(core));
                            return self.attempt(Some(core), cx, Interest::READABLE, plain);
                        }
                        Streamed::Stopping => {}
                    }
                }
                (Mode::Home(_) | Mode::Left, _) => {}
            }
            match self.claim(core, Some(cx.waker()), false, pop) {
                Claim::Found(result) => return Poll::Ready(result),
                Claim::Waiting => return Poll::Pending,
                Claim::Nothing => {}
            }
        }
    }

    fn start_stream(&self, core: &Resources) -> bool {
        let Some(started) = core.reactor.borrow_mut().start_stream(self.descriptor(), core.uid) else {
            return false;
        };
        if started.is_new {
            self.note(core.uid);
        }
        true
    }

    /// Reads from the stream of this core with `take`; `None` at the end of the stream.
    fn poll_stream<R>(
        &self,
        core: &Resources,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Pool, &mut VecDeque<Chunk>) -> R,
    ) -> Streamed<R> {
        let next = core.reactor.borrow_mut().read_stream(self.descriptor(), take);
        Streamed::Ended(match next {
            Next::Found(found) => Poll::Ready(Ok(Some(found))),
            Next::EndOfStream => Poll::Ready(Ok(None)),
            Next::Failed(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            Next::Wait(key) => {
                let waker = cx.waker().clone();
                let leftover = core.reactor.borrow_mut().store(key, Interest::READABLE, waker);
                leftover.settle();
                Poll::Pending
            }
            Next::Starved => return Streamed::Starved,
            Next::Stopping => return Streamed::Stopping,
        })
    }

    /// Reads into `room`, which needs no initialisation; 0 at the end of the stream. For stream sockets.
    ///
    /// A socket whose reads keep waiting begins to stream to this core, and is read from the buffers it filled.
    pub(crate) fn poll_read_streaming(
        &self,
        cx: &mut Context<'_>,
        room: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let progress = ready!(context::poll_proceed(cx));
        let polled = context::with_core(|core| self.read_on(core, cx, room));
        if polled.is_ready() {
            progress.made();
        }
        polled
    }

    fn read_on(
        &self,
        core: Option<&Resources>,
        cx: &mut Context<'_>,
        room: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match (self.descriptor().handover.mode(), core) {
                (Mode::Free, Some(core)) => {
                    let polled = self.read_plainly(core, cx, room);
                    let stream = polled.is_pending()
                        && core.reactor.borrow_mut().read_waits(self.descriptor())
                        && self.start_stream(core);
                    if stream {
                        continue;
                    }
                    return polled;
                }
                (Mode::Done, Some(core)) => return self.read_plainly(core, cx, room),
                (Mode::Free | Mode::Done, None) => {
                    return self.attempt(None, cx, Interest::READABLE, || self.recv_into(room));
                }
                (Mode::Home(home), Some(core)) if home == core.uid => {
                    match self.poll_stream(core, cx, |pool, chunks| copy_chunks(pool, chunks, room)) {
                        Streamed::Ended(polled) => return polled.map_ok(|got| got.unwrap_or(0)),
                        Streamed::Starved => return self.read_plainly(core, cx, room),
                        Streamed::Stopping => {}
                    }
                }
                (Mode::Home(_) | Mode::Left, _) => {}
            }
            let claim = self.claim(core, Some(cx.waker()), false, |left| {
                let mut got = 0;
                let (result, emptied) = offer(left, |bytes| {
                    got = copy(bytes, room);
                    got
                });
                (result.map(|()| got), emptied)
            });
            match claim {
                Claim::Found((result, emptied)) => {
                    drop(emptied);
                    return Poll::Ready(result);
                }
                Claim::Waiting => return Poll::Pending,
                Claim::Nothing => {}
            }
        }
    }

    /// Reads the socket itself.
    fn read_plainly(
        &self,
        core: &Resources,
        cx: &mut Context<'_>,
        room: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let length = room.len();
        let polled = self.attempt(Some(core), cx, Interest::READABLE, || self.recv_into(room));
        if let Poll::Ready(Ok(got)) = polled {
            let descriptor = self.descriptor();
            core.reactor.borrow_mut().read_ended(descriptor, got < length && !descriptor.has_boundaries);
        }
        polled
    }

    fn recv_into(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        // SAFETY: pointer and length are those of a live, writable slice.
        let got = unsafe { libc::recv(self.fd().as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// One receive into memory from the heap.
    fn recv_into_heap(&self, core: Option<&Resources>) -> io::Result<RecvBuf> {
        let mut bytes = match core {
            Some(core) => core.reactor.borrow_mut().take_spare(),
            None => Vec::with_capacity(RECEIVE_BUFFER_BYTES),
        };
        let room = bytes.spare_capacity_mut();
        let length = room.len().min(RECEIVE_BUFFER_BYTES);
        match self.recv_into(&mut room[..length]) {
            Ok(got) => {
                // SAFETY: that many bytes were just written.
                unsafe { bytes.set_len(got) };
                if got < length {
                    self.drained(Interest::READABLE);
                }
                Ok(RecvBuf::heap(bytes))
            }
            Err(error) => {
                if let Some(core) = core {
                    core.reactor.borrow_mut().keep_spare(bytes);
                }
                Err(error)
            }
        }
    }

    /// Looks at what is left over of a stream, after telling it to stop. Streams do not come back if `for_good`.
    fn claim<R>(
        &self,
        core: Option<&Resources>,
        waker: Option<&Waker>,
        for_good: bool,
        take: impl FnOnce(&mut LeftOver) -> R,
    ) -> Claim<R> {
        let descriptor = self.descriptor();
        let is_home = core.filter(|core| descriptor.handover.mode() == Mode::Home(core.uid));
        if let Some(core) = is_home {
            stop_stream(core, descriptor);
        }
        let waker = waker.cloned();
        let mut left = descriptor.handover.lock();
        left.for_good |= for_good;
        if !left.is_empty() {
            return Claim::Found(take(&mut left));
        }
        match descriptor.handover.mode() {
            Mode::Free | Mode::Done => Claim::Nothing,
            Mode::Left => {
                descriptor.handover.settled(&left);
                Claim::Nothing
            }
            Mode::Home(home) => {
                let surplus = waker.and_then(|waker| left.wait(waker));
                let ask = is_home.is_none() && !left.asked;
                left.asked |= ask;
                drop(left);
                drop(surplus);
                if ask {
                    let descriptor = descriptor.clone();
                    // Refused when the home has ended; its end hands over what it had.
                    let _ = context::post(home, move |core| stop_stream(core, &descriptor));
                }
                Claim::Waiting
            }
        }
    }

    /// Offers bytes that were received ahead of the reader to `take`, which says how many of them it has used up: 0 for
    /// a peek.
    ///
    /// `None` when there are none: read the socket. Ends streaming for good.
    pub(crate) fn poll_left_over(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> usize,
    ) -> Poll<Option<io::Result<()>>> {
        if !self.is_streaming() {
            return Poll::Ready(None);
        }
        let progress = ready!(context::poll_proceed(cx));
        let claim =
            context::with_core(|core| self.claim(core, Some(cx.waker()), true, |left| offer(left, take)));
        match claim {
            Claim::Found((result, emptied)) => {
                progress.made();
                drop(emptied);
                Poll::Ready(Some(result))
            }
            Claim::Waiting => Poll::Pending,
            Claim::Nothing => Poll::Ready(None),
        }
    }

    /// Ends streaming for good, and gives all that was received ahead of the reader.
    ///
    /// Dropped early, it has taken some of it, for nobody.
    ///
    /// # Errors
    ///
    /// That of the connection, which came behind it.
    pub(crate) async fn take_left_over(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let taken = std::future::poll_fn(|cx| {
                self.poll_left_over(cx, |chunk| {
                    bytes.extend_from_slice(chunk);
                    chunk.len()
                })
            });
            match taken.await {
                Some(result) => result?,
                None => return Ok(bytes),
            }
        }
    }

    /// [`Source::poll_left_over`] without waiting: `WouldBlock` while the stream has yet to stop.
    pub(crate) fn try_left_over(&self, take: impl FnOnce(&[u8]) -> usize) -> Option<io::Result<()>> {
        if !self.is_streaming() {
            return None;
        }
        let claim = context::with_core(|core| self.claim(core, None, true, |left| offer(left, take)));
        match claim {
            Claim::Found((result, emptied)) => {
                drop(emptied);
                Some(result)
            }
            Claim::Waiting => Some(Err(io::ErrorKind::WouldBlock.into())),
            Claim::Nothing => None,
        }
    }

    /// Ends streaming for good, before something else reads the socket itself.
    pub(super) fn poll_readiness_mode(
        &self,
        core: Option<&Resources>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match self.claim(core, Some(cx.waker()), true, refuse) {
            Claim::Found(error) => Poll::Ready(Err(error)),
            Claim::Waiting => Poll::Pending,
            Claim::Nothing => Poll::Ready(Ok(())),
        }
    }

    /// [`Source::poll_readiness_mode`] without waiting.
    pub(super) fn enter_readiness_mode(&self, core: Option<&Resources>) -> io::Result<()> {
        match self.claim(core, None, true, refuse) {
            Claim::Found(error) => Err(error),
            Claim::Waiting => Err(io::ErrorKind::WouldBlock.into()),
            Claim::Nothing => Ok(()),
        }
    }

    /// Ends streaming for good. Readable if something is left over.
    pub(super) fn poll_left_over_ready(&self, core: Option<&Resources>, cx: &mut Context<'_>) -> Poll<Ready> {
        match self.claim(core, Some(cx.waker()), true, |_| ()) {
            Claim::Found(()) => Poll::Ready(Ready::READABLE),
            Claim::Waiting => Poll::Pending,
            Claim::Nothing => Poll::Ready(Ready::EMPTY),
        }
    }
}

/// Ends a stream of this core for the sake of another reader.
fn stop_stream(core: &Resources, descriptor: &Arc<Descriptor>) {
    let mut woken = Vec::new();
    core.reactor.borrow_mut().stop_stream(descriptor, &mut woken);
    woken.into_iter().for_each(Waker::wake);
}

fn lend(pool: &mut Pool, chunks: &mut VecDeque<Chunk>) -> RecvBuf {
    pool.lend(chunks.pop_front().expect("taken from only when there is something"))
}

/// Fills `room` as far as the chunks go.
fn copy_chunks(pool: &mut Pool, chunks: &mut VecDeque<Chunk>, room: &mut [MaybeUninit<u8>]) -> usize {
    let mut got = 0;
    while got < room.len()
        && let Some(chunk) = chunks.front_mut()
    {
        let count = copy(pool.bytes(chunk), &mut room[got..]);
        chunk.advance(count);
        got += count;
        if chunk.is_empty() {
            let chunk = chunks.pop_front().expect("it was at the front");
            pool.give_back_chunk(chunk);
        }
    }
    got
}

fn copy(bytes: &[u8], room: &mut [MaybeUninit<u8>]) -> usize {
    let count = bytes.len().min(room.len());
    // SAFETY: both slices are at least that long, and one is borrowed mutably, so they do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast(), count) };
    count
}

fn pop(left: &mut LeftOver) -> io::Result<RecvBuf> {
    match (left.chunks.pop_front(), left.error.take()) {
        (Some(chunk), error) => {
            left.error = error;
            Ok(chunk)
        }
        (None, Some(error)) => Err(error),
        (None, None) => Ok(RecvBuf::empty()),
    }
}

/// Offers the first chunk to `take`; hands it out if it is used up, to be dropped outside of the lock.
fn offer(left: &mut LeftOver, take: impl FnOnce(&[u8]) -> usize) -> (io::Result<()>, Option<RecvBuf>) {
    match (left.chunks.front_mut(), left.error.take()) {
        (Some(chunk), error) => {
            left.error = error;
            let count = take(chunk);
            chunk.advance(count);
            let emptied = if chunk.is_empty() { left.chunks.pop_front() } else { None };
            (Ok(()), emptied)
        }
        (None, Some(error)) => (Err(error), None),
        (None, None) => (Ok(()), None),
    }
}

/// The answer to who would read the socket itself while earlier bytes are waiting. An error is delivered.
fn refuse(left: &mut LeftOver) -> io::Error {
    match left.error.take() {
        Some(error) if left.chunks.is_empty() => error,
        error => {
            left.error = error;
            io::Error::other("bytes received ahead of this call are waiting: read them first")
        }
    }
}
