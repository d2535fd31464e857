//! Descriptors that belong to somebody else: they are watched through a copy, and given back.
//!
//! The copy is ours alone. Whatever becomes of the original, no driver names a number that somebody else has by then.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::task::{Context, Poll, ready};

use super::CloseNow;
use super::interest::{Interest, Ready};
use super::source::Source;
use crate::context::{self, CoreUid};

/// Readiness as it was found: by which core, and after how many events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) ready: Ready,
    /// `None` on a thread that is no core, which asks the descriptor itself each time.
    by: Option<CoreUid>,
    tick: u16,
}

impl Source {
    /// Makes a source of a copy of `fd`, which stays the caller's.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` when the file is of a kind that is always ready, such as a regular file: epoll refuses it,
    /// io_uring would never let anybody wait. Else the error of dup(2).
    pub(crate) fn of_foreign(fd: RawFd) -> io::Result<Source> {
        // SAFETY: takes no pointers, and leaves `fd` as it is.
        let copy = check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?;
        // SAFETY: just made, and nobody else knows it.
        let copy = unsafe { OwnedFd::from_raw_fd(copy) };
        if !can_wait(&copy)? {
            let what =
                "this kind of file is always ready, so there is nothing to wait for: use a blocking call";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(Source::new(copy))
    }

    /// [`Source::poll_ready`], for who may say later that this readiness is used up.
    pub(crate) fn poll_seen(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Seen>> {
        let ready = ready!(self.poll_ready(cx, interest))?;
        // No event is handled between the two: that is this thread's work too.
        Poll::Ready(Ok(context::with_core(|core| {
            let tick = core.and_then(|core| core.reactor.borrow().tick(self));
            Seen { ready, by: core.map(|core| core.uid), tick: tick.unwrap_or(0) }
        })))
    }

    /// Forgets `ready` of what was seen, hang-ups excepted, unless there is news since. On another core than the one
    /// that saw it there is nothing to forget.
    pub(crate) fn use_up(&self, seen: Seen, ready: Ready) {
        let ready = ready.without(Ready::READ_CLOSED | Ready::WRITE_CLOSED);
        context::with_core(|core| {
            if let Some(core) = core.filter(|core| seen.by == Some(core.uid)) {
                core.reactor.borrow_mut().use_up(self, seen.tick, ready);
            }
        });
    }

    /// Ends all registrations and closes the copy: at once where this core registered it alone, else when the others
    /// have heard of it.
    pub(crate) fn release(mut self) {
        let close = self.end_registrations().then_some(CloseNow);
        drop(close);
    }
}

impl super::Reactor {
    fn tick(&self, source: &Source) -> Option<u16> {
        self.slots.find(source.descriptor()).map(|slot| slot.tick())
    }

    fn use_up(&mut self, source: &Source, tick: u16, ready: Ready) {
        if let Some((_, slot)) = self.slots.find_mut(source.descriptor()) {
            slot.use_up(tick, ready);
        }
    }
}

/// Whether epoll would watch this file: the same answer on both drivers.
fn can_wait(fd: &OwnedFd) -> io::Result<bool> {
    // SAFETY: all fields are integers.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `status` lives across the call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut status) })?;
    if matches!(status.st_mode & libc::S_IFMT, libc::S_IFSOCK | libc::S_IFIFO) {
        return Ok(true);
    }
    // Its kind alone does not say: some files of /proc can be waited for, and some devices cannot.
    // SAFETY: takes no pointers.
    let epoll = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: just opened, and nobody else knows it.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    let event = ptr::from_mut(&mut event);
    // SAFETY: `event` lives across the call, which copies it.
    let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), event) };
    match check(added) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(false),
        Err(error) => Err(error),
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
