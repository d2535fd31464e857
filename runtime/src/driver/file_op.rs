//! One operation on a file, one of the table or one of its own: on io_uring by the core's ring, which owns the buffer until the
//! completion; elsewhere the descriptor is leased to a call that blocks, which owns the buffer too.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::file::{FileId, Place, Started};
use super::order::Order;
use super::running::{Lost, Running};
use crate::context::{self, CoreUid};

/// An operation with the buffer it owns.
///
/// # Safety
///
/// The memory that the order names stays where it is, and nobody else uses it, while the value is moved and until it is
/// dropped; for good if it is forgotten.
pub(crate) unsafe trait Work: Send + Sync + Unpin + 'static {
    /// Whether it goes on when its future is dropped. Else it is cancelled then.
    const GOES_ON: bool = false;

    /// The same each time.
    fn order(&mut self) -> Order;

    /// # Safety
    ///
    /// That many bytes have been read or written.
    unsafe fn done(&mut self, count: usize);

    /// Puts everything that must be kept into the shape of a waker, see `running::parcel`.
    fn into_parcel(self) -> Waker;
}

/// What an operation is to be done on.
#[derive(Clone)]
pub(crate) enum On {
    Table(FileId),
    Own(Arc<File>),
}

impl From<FileId> for On {
    fn from(id: FileId) -> On {
        On::Table(id)
    }
}

impl From<Arc<File>> for On {
    fn from(file: Arc<File>) -> On {
        On::Own(file)
    }
}

/// A descriptor that somebody uses outside of the ring. One of the table is in flight until this is dropped.
pub(crate) struct Lease(Leased);

enum Leased {
    Table {
        /// Until the drop.
        file: Option<Arc<OwnedFd>>,
        home: CoreUid,
        place: Place,
    },
    Own(Arc<File>),
}

impl Lease {
    /// Of a file that is in no table.
    pub(crate) fn own(file: Arc<File>) -> Lease {
        Lease(Leased::Own(file))
    }

    fn file(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Leased::Table { file, .. } => file.as_ref().expect("it is held until the drop").as_fd(),
            Leased::Own(file) => file.as_fd(),
        }
    }

    /// Does the work by a call that blocks.
    pub(crate) fn carry_out<W: Work>(&self, work: &mut W) -> io::Result<usize> {
        let order = work.order();
        if order.is_beyond() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: by the rules of `Work`; the call is over before anything happens to `work`.
        let result = unsafe { order.call(self.file()) };
        if let Ok(count) = result {
            // SAFETY: the system says so.
            unsafe { work.done(count) };
        }
        result
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Leased::Table { file, home, place } = &mut self.0 else { return };
        // First, so that the file is closed when a close is answered.
        drop(file.take());
        let place = *place;
        // A core that has ended counts nothing any more.
        let _ = context::post(*home, move |core| core.reactor.borrow_mut().end_lease(place));
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
    file: On,
    work: Option<W>,
    running: Option<Running>,
    by_ring: bool,
}

impl<W: Work> FileOp<W> {
    pub(crate) fn new(file: impl Into<On>, work: W) -> Self {
        FileOp { file: file.into(), work: Some(work), running: None, by_ring: true }
    }

    /// One that leases the descriptor, whatever the driver.
    pub(crate) fn blocking(file: impl Into<On>, work: W) -> Self {
        FileOp { file: file.into(), work: Some(work), running: None, by_ring: false }
    }

    /// The file of one's own that it is for.
    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        match &self.file {
            On::Table(_) => None,
            On::Own(file) => Some(file),
        }
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
            // The ring would not wait, for the file was opened with O_NONBLOCK; a call does. Or it gave up before it began, and
            // nobody had asked for that: the system could start none of the threads that ring operations wait in, as when
            // signals keep interrupting it.
            Ok(errno) if self.by_ring && matches!(-errno, libc::EAGAIN | libc::ECANCELED) => {
                self.by_ring = false;
                None
            }
            Ok(errno) if self.by_ring && self.order().is_left_to_a_call(-errno) => {
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

    fn order(&mut self) -> Order {
        self.work.as_mut().expect("a finished operation is not polled again").order()
    }

    fn start(&mut self, waker: &Waker) -> Poll<Outcome<W>> {
        let order = self.order();
        if order.is_beyond() {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            return Poll::Ready(Outcome::Done(Err(error), Some(self.take())));
        }
        let (file, by_ring) = (&self.file, self.by_ring);
        let started = context::with_core(|core| {
            core.map(|core| {
                let mut reactor = core.reactor.borrow_mut();
                // SAFETY: by the rules of `Work`: this future keeps the work and the file, or leaves them with the
                // operation when it is dropped, or forgets them.
                let started = unsafe { reactor.start_file(file, order, core.uid, by_ring, waker) };
                (started, core.uid)
            })
        });
        match started {
            None => Poll::Ready(Outcome::Away(self.take())),
            Some((Started::Suspended, _)) => Poll::Pending,
            Some((Started::Closed, _)) => Poll::Ready(Outcome::Closed(self.take())),
            Some((Started::Leased(file, place), home)) => {
                let lease = Lease(Leased::Table { file: Some(file), home, place });
                Poll::Ready(Outcome::Blocking(lease, self.take()))
            }
            Some((Started::Lent(file), _)) => Poll::Ready(Outcome::Blocking(Lease::own(file), self.take())),
            Some((Started::OnRing(running), _)) => {
                self.running = Some(running);
                Poll::Pending
            }
        }
    }

    /// Polls without regard to the task's budget, which is the caller's affair.
    pub(crate) fn poll_now(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<W>> {
        let ended = match &mut self.running {
            Some(running) => {
                let result = ready!(running.poll(cx));
                self.ended(result)
            }
            None => None,
        };
        match ended {
            Some(outcome) => Poll::Ready(outcome),
            None => self.start(cx.waker()),
        }
    }
}

impl<W: Work> Future for FileOp<W> {
    type Output = Outcome<W>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<W>> {
        let progress = ready!(context::poll_proceed(cx));
        let outcome = ready!(self.get_mut().poll_now(cx));
        progress.made();
        Poll::Ready(outcome)
    }
}

impl<W: Work> Drop for FileOp<W> {
    fn drop(&mut self) {
        if let (Some(running), Some(work)) = (self.running.take(), self.work.take()) {
            running.abandon(work.into_parcel(), W::GOES_ON, self.file().cloned());
        }
    }
}
