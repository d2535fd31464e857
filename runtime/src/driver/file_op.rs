//! One operation on a file of the table: on io_uring by the core's ring, which owns the buffer until the completion; elsewhere
//! the descriptor is leased to a call that blocks, which owns the buffer too.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::file::{FileId, Place, Started};
use super::running::{Lost, Running};
use crate::context::{self, CoreUid};

/// What the system is asked for. The memory belongs to whoever made it.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Read { to: *mut u8, length: u32, offset: u64 },
    Write { from: *const u8, length: u32, offset: u64 },
    Sync { data_only: bool },
}

impl Order {
    /// Beyond what pread(2) takes. A ring would take the last of all offsets for the file's own position.
    fn is_beyond(self) -> bool {
        match self {
            Order::Read { offset, .. } | Order::Write { offset, .. } => i64::try_from(offset).is_err(),
            Order::Sync { .. } => false,
        }
    }

    /// Does it now, on this thread.
    ///
    /// # Safety
    ///
    /// The memory must be valid, and used by nobody else, during the call.
    pub(crate) unsafe fn call(self, file: BorrowedFd<'_>) -> io::Result<usize> {
        let fd = file.as_raw_fd();
        loop {
            // SAFETY: the caller's promise about the memory; the descriptor is open.
            let result = unsafe {
                match self {
                    Order::Read { to, length, offset } => {
                        libc::pread64(fd, to.cast(), length as usize, offset as i64)
                    }
                    Order::Write { from, length, offset } => {
                        libc::pwrite64(fd, from.cast(), length as usize, offset as i64)
                    }
                    Order::Sync { data_only: true } => libc::fdatasync(fd) as isize,
                    Order::Sync { data_only: false } => libc::fsync(fd) as isize,
                }
            };
            match usize::try_from(result) {
                Ok(count) => return Ok(count),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// An operation with the buffer it owns.
///
/// # Safety
///
/// The memory that the order names stays where it is, and nobody else uses it, while the value is moved and until it is
/// dropped; for good if it is forgotten.
pub(crate) unsafe trait Work: Send + Sync + Unpin + 'static {
    /// The same each time.
    fn order(&mut self) -> Order;

    /// # Safety
    ///
    /// That many bytes have been read or written.
    unsafe fn done(&mut self, count: usize);

    /// Puts everything that must be kept into the shape of a waker, see `running::parcel`.
    fn into_parcel(self) -> Waker;
}

/// A descriptor that somebody uses outside of the ring. It is in flight until this is dropped.
pub(crate) struct Lease {
    /// Until the drop.
    file: Option<Arc<OwnedFd>>,
    home: CoreUid,
    place: Place,
}

impl Lease {
    /// Does the work by a call that blocks.
    pub(crate) fn carry_out<W: Work>(&self, work: &mut W) -> io::Result<usize> {
        let file = self.file.as_ref().expect("it is held until the drop");
        // SAFETY: by the rules of `Work`; the call is over before anything happens to `work`.
        let result = unsafe { work.order().call(file.as_fd()) };
        if let Ok(count) = result {
            // SAFETY: the system says so.
            unsafe { work.done(count) };
        }
        result
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let place = self.place;
        // First, so that the file is closed when a close is answered.
        drop(self.file.take());
        // A core that has ended counts nothing any more.
        let _ = context::post(self.home, move |core| core.reactor.borrow_mut().end_lease(place));
    }
}

/// What became of a [`FileOp`].
pub(crate) enum Outcome<W> {
    /// The work is gone only if the core that did it has ended.
    Done(io::Result<usize>, Option<W>),
    Closed(W),
    /// To be done by a call that blocks, and that owns both.
    Blocking(Lease, W),
    /// This thread is no core.
    Away(W),
}

/// Does one operation on the core that polls it first.
pub(crate) struct FileOp<W: Work> {
    file: FileId,
    work: Option<W>,
    running: Option<Running>,
    by_ring: bool,
}

impl<W: Work> FileOp<W> {
    pub(crate) fn new(file: FileId, work: W) -> Self {
        FileOp { file, work: Some(work), running: None, by_ring: true }
    }

    /// One that leases the descriptor, whatever the driver.
    #[cfg(test)]
    pub(crate) fn blocking(file: FileId, work: W) -> Self {
        FileOp { file, work: Some(work), running: None, by_ring: false }
    }

    fn take(&mut self) -> W {
        self.work.take().expect("a finished operation is not polled again")
    }

    /// The result of the running operation. Nothing, if it has to be started again.
    fn ended(&mut self, result: Result<i32, Lost>) -> Option<Outcome<W>> {
        self.running = None;
        match result {
            Ok(count @ 0..) => {
                let mut work = self.take();
                let count = count as usize;
                // SAFETY: the completion says so.
                unsafe { work.done(count) };
                Some(Outcome::Done(Ok(count), Some(work)))
            }
            Ok(errno) if -errno == libc::EINTR => None,
            // The ring would not wait, for the file was opened with O_NONBLOCK; a call does.
            Ok(errno) if -errno == libc::EAGAIN && self.by_ring => {
                self.by_ring = false;
                None
            }
            Ok(errno) => Some(Outcome::Done(Err(io::Error::from_raw_os_error(-errno)), Some(self.take()))),
            Err(Lost) => {
                // That core's ring may not be through with it.
                std::mem::forget(self.work.take());
                let error = io::Error::other("the core that worked on the file has ended");
                Some(Outcome::Done(Err(error), None))
            }
        }
    }

    fn start(&mut self, waker: &Waker) -> Poll<Outcome<W>> {
        let order = self.work.as_mut().expect("a finished operation is not polled again").order();
        if order.is_beyond() {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            return Poll::Ready(Outcome::Done(Err(error), Some(self.take())));
        }
        let (file, by_ring) = (self.file, self.by_ring);
        let started = context::with_core(|core| {
            core.map(|core| {
                let mut reactor = core.reactor.borrow_mut();
                // SAFETY: by the rules of `Work`: this future keeps the work, or leaves it with the operation when it
                // is dropped, or forgets it.
                let started = unsafe { reactor.start_file(file, order, core.uid, by_ring, waker) };
                (started, core.uid)
            })
        });
        match started {
            None => Poll::Ready(Outcome::Away(self.take())),
            Some((Started::Suspended, _)) => Poll::Pending,
            Some((Started::Closed, _)) => Poll::Ready(Outcome::Closed(self.take())),
            Some((Started::Leased(file, place), home)) => {
                Poll::Ready(Outcome::Blocking(Lease { file: Some(file), home, place }, self.take()))
            }
            Some((Started::OnRing(running), _)) => {
                self.running = Some(running);
                Poll::Pending
            }
        }
    }
}

impl<W: Work> Future for FileOp<W> {
    type Output = Outcome<W>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<W>> {
        let this = self.get_mut();
        let progress = ready!(context::poll_proceed(cx));
        let ended = match &mut this.running {
            Some(running) => {
                let result = ready!(running.poll(cx));
                this.ended(result)
            }
            None => None,
        };
        let outcome = match ended {
            Some(outcome) => outcome,
            None => ready!(this.start(cx.waker())),
        };
        progress.made();
        Poll::Ready(outcome)
    }
}

impl<W: Work> Drop for FileOp<W> {
    fn drop(&mut self) {
        if let (Some(running), Some(work)) = (self.running.take(), self.work.take()) {
            running.abandon(work.into_parcel());
        }
    }
}
