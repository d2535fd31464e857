//! What every listening socket does: accepts, and gets over shortages.

use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use socket2::{SockAddr, SockRef};

use super::shortage::{Pause, is_shortage};
use crate::context;
use crate::driver::{CloseNow, Interest, Source};

/// A non-blocking socket that listens.
pub(super) struct Acceptor {
    source: Source,
    /// The last attempt to accept found no descriptor or no memory free, and that has been said.
    is_short: AtomicBool,
    /// The pause that `poll_accept` makes then.
    pause: Mutex<Pause>,
    /// After `source`: fields are dropped in this order.
    _close_now: CloseNow,
}

impl Acceptor {
    pub(super) fn new(fd: OwnedFd) -> Acceptor {
        Acceptor {
            source: Source::new(fd),
            is_short: AtomicBool::new(false),
            pause: Mutex::default(),
            _close_now: CloseNow,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.source.fd()
    }

    pub(super) fn into_fd(self) -> io::Result<OwnedFd> {
        self.source.into_fd()
    }

    pub(super) async fn accept(&self) -> io::Result<(OwnedFd, SockAddr)> {
        let mut pause = Pause::default();
        poll_fn(|cx| self.poll_accept_pausing(cx, &mut pause)).await
    }

    /// As [`accept`](Self::accept); whoever polls shares one pause.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(OwnedFd, SockAddr)>> {
        self.with_shared_pause(|pause| self.poll_accept_pausing(cx, pause))
    }

    /// Lends `f` the pause of those who poll without one of their own.
    pub(super) fn with_shared_pause<R>(&self, f: impl FnOnce(&mut Pause) -> R) -> R {
        let mut pause = std::mem::take(&mut *self.shared_pause());
        let result = f(&mut pause);
        *self.shared_pause() = pause;
        result
    }

    /// Wakes all who wait in an accept, so that they look again.
    pub(super) fn wake_all(&self) {
        self.source.wake_readers();
    }

    /// This core has no more to do with it.
    pub(super) fn unwatch(&self) {
        self.source.unwatch();
    }

    fn shared_pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`poll_accept`](Self::poll_accept), for a caller with a pause of its own.
    pub(super) fn poll_accept_pausing(
        &self,
        cx: &mut Context<'_>,
        pause: &mut Pause,
    ) -> Poll<io::Result<(OwnedFd, SockAddr)>> {
        loop {
            ready!(pause.poll(cx));
            let attempt = self.source.poll_io(cx, Interest::READABLE, || accept(self.fd()));
            match ready!(attempt) {
                Err(error) if is_shortage(&error) => {
                    self.tell(&error);
                    pause.begin();
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(connection) => {
                    // Relaxed, here and in `tell`: it decides about a line in the log and orders nothing.
                    if self.is_short.load(Ordering::Relaxed) {
                        self.is_short.store(false, Ordering::Relaxed);
                    }
                    *pause = Pause::default();
                    context::note_accept();
                    return Poll::Ready(Ok(connection));
                }
            }
        }
    }

    fn tell(&self, error: &io::Error) {
        if !self.is_short.swap(true, Ordering::Relaxed) {
            let address = SockRef::from(&self.fd()).local_addr().ok();
            let listener = address.as_ref().map_or_else(String::new, display);
            tracing::warn!(%error, %listener, "cannot accept connections now; they wait");
        }
    }
}

/// An address of any kind, for the log.
fn display(address: &SockAddr) -> String {
    match (address.as_socket(), address.as_pathname()) {
        (Some(ip), _) => ip.to_string(),
        (_, Some(path)) => path.display().to_string(),
        _ => address.as_abstract_namespace().unwrap_or_default().escape_ascii().to_string(),
    }
}

fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    loop {
        match SockRef::from(&listener).accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) {
            Err(error) if is_of_connection(&error) => {}
            result => return result.map(|(socket, peer)| (socket.into(), peer)),
        }
    }
}

/// Errors that accept(2) reports but that ended the one connection only.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
        )
    )
}
