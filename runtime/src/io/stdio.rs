//! What the standard streams share.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::task::Waker;

/// Calls `op`, which may block, until neither a signal nor a non-blocking descriptor stops it. Others that have the same
/// terminal open may make it non-blocking at any time.
pub(super) fn insist<R>(
    fd: BorrowedFd<'_>,
    events: i16,
    mut op: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut ask = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
                // SAFETY: `ask` is one valid pollfd and lives across the call. An error shows in the next attempt.
                unsafe { libc::poll(&mut ask, 1, -1) };
            }
            result => return result,
        }
    }
}

/// Tasks that wait for a standard stream.
#[derive(Default)]
pub(super) struct Waiters(Vec<Waker>);

impl Waiters {
    pub(super) const fn new() -> Waiters {
        Waiters(Vec::new())
    }

    /// Adds one, once; gives it back if it is known, to be dropped outside of the lock.
    pub(super) fn add(&mut self, waker: Waker) -> Option<Waker> {
        if self.0.iter().any(|known| known.will_wake(&waker)) {
            return Some(waker);
        }
        self.0.push(waker);
        None
    }

    pub(super) fn take(&mut self) -> Waiters {
        std::mem::take(self)
    }

    /// Wakes all, outside of the lock.
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}
