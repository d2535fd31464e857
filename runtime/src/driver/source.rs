//! A non-blocking descriptor that any core may use at any time.
//!
//! There is no home: the call is tried where the task runs, and when it would block that core registers the
//! descriptor with its own driver. The descriptor is shared by the handle and by every core that registered it, and
//! the last of them closes it, so a descriptor number is never reused while a driver may still name it.
//!
//! | field of `Source` | who touches it, when |
//! |---|---|
//! | `descriptor` | anyone, read only; taken at the end |
//! | `descriptor.handover` | who starts a stream, and whoever reads while there is one |
//! | `descriptor.copies` | who sends without a copy |
//! | `first`, `others` | a core's (or guest's) first registration; read at the end, by the owner alone |

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use super::handover::Handover;
use super::interest::{Interest, Ready};
use crate::context::{self, CoreUid, Resources};

/// The open file, owned jointly by the handle and every core that registered it.
pub(super) struct Descriptor {
    fd: OwnedFd,
    /// The handle is gone; a registration that was under way must not be made.
    gone: AtomicBool,
    /// Why a core could not register the descriptor for a guest, until the guest asks.
    fault: AtomicI32,
    /// Who receives, and what was received ahead of the reader.
    pub(super) handover: Handover,
    /// A read that gets less than it asked for may have ended at a boundary, with more behind it.
    pub(super) has_boundaries: bool,
    /// A zero-copy send was refused here, or was a copy in the end.
    pub(super) copies: AtomicBool,
}

impl Descriptor {
    fn new(fd: OwnedFd, has_boundaries: bool) -> Arc<Descriptor> {
        Arc::new(Descriptor {
            fd,
            gone: AtomicBool::new(false),
            fault: AtomicI32::new(0),
            handover: Handover::new(),
            has_boundaries,
            copies: AtomicBool::new(false),
        })
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// What poll(2) says right now.
    pub(super) fn level(&self, interest: Interest) -> Ready {
        let mut ask = libc::pollfd { fd: self.fd.as_raw_fd(), events: interest.poll_mask(), revents: 0 };
        // SAFETY: `ask` is one valid pollfd and lives across the call.
        let found = unsafe { libc::poll(&mut ask, 1, 0) };
        if found > 0 { Ready::from_poll(ask.revents as u32).for_interest(interest) } else { Ready::EMPTY }
    }

    /// Sends the FIN that a close would send, while other cores still hold the descriptor.
    ///
    /// Only for connected streams: a listener may be shared with other processes, which would lose it too.
    fn hang_up(&self) {
        let socket = socket2::SockRef::from(&self.fd);
        if socket.r#type().is_ok_and(|kind| kind == socket2::Type::STREAM)
            && !socket.is_listener().unwrap_or(true)
        {
            // An error means that there is no connection to end.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The user's side of a non-blocking descriptor. `Send + Sync`; a call works on any core and on any thread.
pub(crate) struct Source {
    /// `None` only while the source is being taken apart.
    descriptor: Option<Arc<Descriptor>>,
    /// The first core that registered the descriptor, 0 for none. Nearly always the only one.
    first: AtomicU64,
    others: Mutex<Vec<CoreUid>>,
}

impl Source {
    /// Takes over `fd`, which must be non-blocking. Registers nothing.
    pub(crate) fn new(fd: OwnedFd) -> Source {
        Source::of(Descriptor::new(fd, false))
    }

    /// As [`new`](Self::new), for a stream in which the system keeps boundaries: a Unix socket gives no more in one read
    /// than one message that carried descriptors. There a short read does not prove that nothing is left.
    pub(crate) fn with_boundaries(fd: OwnedFd) -> Source {
        Source::of(Descriptor::new(fd, true))
    }

    fn of(descriptor: Arc<Descriptor>) -> Source {
        Source { descriptor: Some(descriptor), first: AtomicU64::new(0), others: Mutex::new(Vec::new()) }
    }

    pub(super) fn descriptor(&self) -> &Arc<Descriptor> {
        self.descriptor.as_ref().expect("a source has its descriptor until it is dropped")
    }

    /// The descriptor, for calls that do not wait.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.descriptor().fd.as_fd()
    }

    /// Tries `op`, and when it would block waits for `interest` on this core.
    ///
    /// `op` must not wait and must not poll anything itself. Costs one unit of the task's budget when it gets
    /// anywhere. Nothing is lost when the caller stops polling.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let takes_in = interest != Interest::WRITABLE;
        let progress = ready!(if takes_in { context::poll_proceed(cx) } else { context::poll_finish(cx) });
        let polled = context::with_core(|core| {
            if interest.is_readable() && self.is_streaming() {
                ready!(self.poll_readiness_mode(core, cx))?;
            }
            self.attempt(core, cx, interest, op)
        });
        if polled.is_ready() {
            progress.made();
        }
        polled
    }

    /// [`Source::poll_io`] without the budget, for a source that does not stream.
    pub(crate) fn attempt<R>(
        &self,
        core: Option<&Resources>,
        cx: &mut Context<'_>,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let idle = core.is_some_and(|core| core.reactor.borrow().is_idle(self.descriptor(), interest));
        if !idle {
            match retry(&mut op) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
        self.wait(core, cx, interest, !idle)
    }

    /// Waits for `interest`; `blocked` says that an attempt just found nothing.
    pub(super) fn wait<R>(
        &self,
        core: Option<&Resources>,
        cx: &mut Context<'_>,
        interest: Interest,
        blocked: bool,
    ) -> Poll<io::Result<R>> {
        let waiting = match core {
            Some(core) => self.wait_here(core, interest, cx.waker(), blocked),
            None => self.wait_as_guest(interest, cx.waker()),
        };
        match waiting {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until `interest` is ready, and says how. The readiness stays until an attempt finds it used up.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        let progress = ready!(context::poll_proceed(cx));
        context::with_core(|core| {
            if interest.is_readable() && self.is_streaming() {
                let left = ready!(self.poll_left_over_ready(core, cx));
                if !left.is_empty() {
                    progress.made();
                    return Poll::Ready(Ok(left));
                }
            }
            let found = match core {
                Some(core) => core.reactor.borrow().ready(self.descriptor(), interest),
                None => self.descriptor().level(interest),
            };
            if !found.is_empty() {
                progress.made();
                return Poll::Ready(Ok(found));
            }
            self.wait(core, cx, interest, false)
        })
    }

    /// Tries `op` once. `WouldBlock`, without trying, when this core knows that it would.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        context::with_core(|core| {
            if interest.is_readable() && self.is_streaming() {
                self.enter_readiness_mode(core)?;
            }
            if core.is_some_and(|core| core.reactor.borrow().is_idle(self.descriptor(), interest)) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let result = retry(&mut op);
            if let (Some(core), Err(error)) = (core, &result)
                && error.kind() == io::ErrorKind::WouldBlock
            {
                core.reactor.borrow_mut().clear(self.descriptor(), interest);
            }
            result
        })
    }

    /// As [`try_io`](Self::try_io), and gives `Interrupted` back, since `op` can be called once only.
    pub(crate) fn try_io_once<R>(
        &self,
        interest: Interest,
        op: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let mut op = Some(op);
        let once = || {
            let op = op.take().expect("a source calls again only after Interrupted, which is hidden from it");
            match op() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Err(error)),
                result => result.map(Ok),
            }
        };
        self.try_io(interest, once)?
    }

    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        std::future::poll_fn(|cx| self.poll_ready(cx, interest)).await
    }

    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        std::future::poll_fn(|cx| self.poll_io(cx, interest, &mut op)).await
    }

    /// A read or write of `asked` bytes got so many: [`drained`](Self::drained) if that is less, unless it found the end.
    pub(crate) fn note_part(&self, interest: Interest, asked: usize, got: usize) {
        if 0 < got && got < asked {
            self.drained(interest);
        }
    }

    /// Says that the last attempt got less than it asked for, so the next one would find nothing.
    ///
    /// Only for streams, where a short read or write proves it. Saves the attempt that would only learn `WouldBlock`.
    pub(crate) fn drained(&self, interest: Interest) {
        if interest.is_readable() && self.descriptor().has_boundaries {
            return;
        }
        context::with_core(|core| {
            if let Some(core) = core {
                core.reactor.borrow_mut().drained(self.descriptor(), interest);
            }
        });
    }

    /// Ends all registrations and gives the open file back, non-blocking still.
    ///
    /// Where a driver was watching, the file comes back under a new descriptor number: the old one stays taken until
    /// every driver has let go of it.
    ///
    /// # Errors
    ///
    /// No descriptor number is free, or bytes may have been received that no reader has ([`Source::is_streaming`]): the
    /// file would continue in the wrong place. It is closed then.
    pub(crate) fn into_fd(mut self) -> io::Result<OwnedFd> {
        if self.is_streaming() {
            return Err(io::Error::other("bytes received ahead of the reader would be lost"));
        }
        let descriptor = self.descriptor.take().expect("a source has its descriptor until it is dropped");
        if *self.first.get_mut() == 0 {
            return match Arc::try_unwrap(descriptor) {
                Ok(descriptor) => Ok(descriptor.into_fd()),
                Err(shared) => shared.fd.try_clone(),
            };
        }
        let copy = descriptor.fd.try_clone();
        self.give_up(descriptor, Afterlife::FileLivesOn);
        copy
    }

    fn wait_here(
        &self,
        core: &Resources,
        interest: Interest,
        waker: &Waker,
        blocked: bool,
    ) -> io::Result<()> {
        // Cloned before the borrow: a waker's functions are foreign code.
        let waker = waker.clone();
        let mut reactor = core.reactor.borrow_mut();
        let watched = match reactor.watch(self.descriptor(), interest, blocked) {
            Ok(watched) => watched,
            Err(error) => {
                drop(reactor);
                return Err(error);
            }
        };
        let leftover = reactor.store(watched.key, interest, waker);
        drop(reactor);
        if watched.is_new {
            self.note(core.uid);
        }
        leftover.settle();
        Ok(())
    }

    /// On a thread that is no core: asks the core that drives for it.
    ///
    /// # Panics
    ///
    /// Panics on a thread that no runtime drives for.
    fn wait_as_guest(&self, interest: Interest, waker: &Waker) -> io::Result<()> {
        let Some(uid) = context::delegate() else {
            panic!(
                "waiting for I/O must be done from within a multikernel runtime: no core drives this thread"
            );
        };
        // Relaxed: the value itself is all that is read; whoever stored it woke us through the waker.
        match self.descriptor().fault.swap(0, Ordering::Relaxed) {
            0 => {}
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        // Noted before it is asked for, so that the end of the source reaches that core after the request.
        self.note(uid);
        let (descriptor, waker) = (self.descriptor().clone(), waker.clone());
        context::post(uid, move |core| register_for_guest(core, &descriptor, interest, waker))
            .map_err(|_| io::Error::other("the core that drives this thread has ended"))
    }

    /// Remembers that `uid` has the descriptor registered, or is about to.
    pub(super) fn note(&self, uid: CoreUid) {
        let id = uid.0.get();
        // Relaxed twice: read again only by the owner of the whole source, whom every user happens before.
        match self.first.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {}
            Err(first) if first == id => {}
            Err(_) => {
                let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
                if !others.contains(&uid) {
                    others.push(uid);
                }
            }
        }
    }

    /// The cores that have the descriptor registered, or had.
    pub(super) fn registered(&self) -> Vec<CoreUid> {
        // Relaxed: as in `note`; who must not be missed sees to the order with fences (see `wake_readers`).
        let first = std::num::NonZeroU64::new(self.first.load(Ordering::Relaxed)).map(CoreUid);
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        first.into_iter().chain(others.iter().copied()).collect()
    }

    /// Ends all registrations of a file that lives on elsewhere. True when there was one.
    pub(super) fn end_registrations(&mut self) -> bool {
        let Some(descriptor) = self.descriptor.take() else { return false };
        let registered = *self.first.get_mut() != 0;
        self.give_up(descriptor, Afterlife::FileLivesOn);
        registered
    }

    /// Ends every registration of `descriptor`; the last core to let go closes it.
    fn give_up(&mut self, descriptor: Arc<Descriptor>, afterlife: Afterlife) {
        let first = *self.first.get_mut();
        let others = std::mem::take(self.others.get_mut().unwrap_or_else(PoisonError::into_inner));
        if super::is_forked_child() {
            return;
        }
        drop(descriptor.handover.clear());
        // Relaxed: a core that misses it registers, and is told to forget by the message that follows.
        descriptor.gone.store(true, Ordering::Relaxed);
        context::with_core(|core| {
            let here = core.map(|core| core.uid);
            let elsewhere = |uid: &CoreUid| Some(*uid) != here;
            let first = std::num::NonZeroU64::new(first).map(CoreUid);
            let mut remote = first.into_iter().chain(others).filter(elsewhere).peekable();
            if remote.peek().is_some() && afterlife == Afterlife::Close {
                descriptor.hang_up();
            }
            for uid in remote {
                let descriptor = descriptor.clone();
                // Refused when that core has ended, and with it the registration.
                let _ = context::post(uid, move |core| forget(core, descriptor, afterlife));
            }
            match core {
                Some(core) => forget(core, descriptor, afterlife),
                None => drop(descriptor),
            }
        });
    }
}

/// What becomes of the open file when its source ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterlife {
    Close,
    FileLivesOn,
}

/// Ends this core's registration of `descriptor`, if it has one, and closes it if nobody else holds it.
pub(super) fn forget(core: &Resources, descriptor: Arc<Descriptor>, afterlife: Afterlife) {
    let remains = core.reactor.borrow_mut().forget(descriptor, afterlife);
    drop(remains);
}

/// Runs on a core, for a thread that found `interest` not ready a moment ago.
pub(super) fn register_for_guest(
    core: &Resources,
    descriptor: &Arc<Descriptor>,
    interest: Interest,
    waker: Waker,
) {
    // Relaxed: see `give_up`.
    if descriptor.gone.load(Ordering::Relaxed) {
        return;
    }
    // What became ready on the way here made no event that this core would see. What this core has seen before may
    // long be used up. So only the descriptor itself knows; from here on an event tells.
    if !descriptor.level(interest).is_empty() {
        return waker.wake();
    }
    let mut reactor = core.reactor.borrow_mut();
    match reactor.watch(descriptor, interest, true) {
        Ok(watched) => {
            let leftover = reactor.store(watched.key, interest, waker);
            drop(reactor);
            leftover.settle();
        }
        Err(error) => {
            drop(reactor);
            // Relaxed: the wake that follows orders it before the guest's next poll.
            descriptor.fault.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
            waker.wake();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(descriptor) = self.descriptor.take() {
            self.give_up(descriptor, Afterlife::Close);
        }
    }
}

/// Calls `op` until a signal does not interrupt it.
fn retry<R>(op: &mut impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
