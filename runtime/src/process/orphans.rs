//! Children whose [`Child`](super::Child) was dropped before they ended: somebody has to reap them.
//!
//! The core on which the child was dropped does it, or the one that drives the dropping thread: its driver watches the
//! child's descriptor, and what it wakes is no task but the reaper itself. That costs nothing until the child ends. When
//! the core ends first, or there is no core or no such descriptor, the child becomes a *stray*: all strays of the process
//! are looked at on each `SIGCHLD`, on the thread that waits for signals.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::running::Running;
use crate::context;
use crate::driver::Interest;
use crate::signal::{self, Line};

/// Sees to it that a child is reaped when it ends.
pub(super) fn adopt(running: Running) {
    if is_reaped(&running) {
        return;
    }
    let orphan = Arc::new(Orphan(Some(running)));
    let is_core = context::with_core(|core| core.is_some());
    if is_core {
        orphan.look();
    } else if let Some(core) = context::delegate() {
        // Refused when that core has ended: then the closure is dropped, and the orphan with it.
        let _ = context::post(core, move |_| orphan.look());
    }
}

/// Reaps the child if it has ended. True also when there is nothing to reap any more, because somebody else did.
fn is_reaped(running: &Running) -> bool {
    !matches!(running.try_reap(), Ok(None))
}

/// A child that a core's driver watches. Whoever drops one that has not ended, for whatever reason, makes it a stray.
struct Orphan(Option<Running>);

impl Orphan {
    /// Reaps the child, or has this core watch it. If neither is possible, the last reference is dropped here.
    fn look(self: Arc<Self>) {
        let Some(pidfd) = self.0.as_ref().and_then(Running::pidfd) else { return };
        let waker = Waker::from(self.clone());
        let watched = context::with_core(|core| {
            let core = core?;
            let attempt = || match self.0.as_ref().map(is_reaped) {
                Some(false) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            };
            Some(pidfd.attempt(Some(core), &mut Context::from_waker(&waker), Interest::READABLE, attempt))
        });
        if let Some(Poll::Ready(Err(error))) = watched {
            tracing::debug!(%error, "a core cannot watch a child that was left");
        }
    }
}

impl Wake for Orphan {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(running) = self.0.take()
            && !is_reaped(&running)
        {
            take_in(running);
        }
    }
}

/// Children that no core watches.
static STRAYS: Mutex<Vec<Running>> = Mutex::new(Vec::new());

fn strays() -> MutexGuard<'static, Vec<Running>> {
    STRAYS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_in(running: Running) {
    match signal::line(libc::SIGCHLD) {
        Ok(line) => {
            strays().push(running);
            Arc::new(Sweeper(line)).sweep();
        }
        Err(error) => {
            tracing::debug!(%error, "no signals to wait for a child by; a thread waits");
            let waiting = thread::Builder::new().name("multikernel-reaper".into());
            let reap = move || _ = running.reap_blocking();
            if let Err(error) = waiting.spawn(reap) {
                tracing::warn!(%error, "nobody is there to reap a child; it stays a zombie until this process ends");
            }
        }
    }
}

/// Looks at the strays on each `SIGCHLD`, as long as there are any.
struct Sweeper(Arc<Line>);

/// The sweeper among those who wait for `SIGCHLD`; the others count up from 0.
const SWEEPER: u64 = u64::MAX;

impl Sweeper {
    fn sweep(self: Arc<Self>) {
        let mut strays = strays();
        // First to be woken, then a look: a child that ends between the two is seen by one of them.
        self.0.wait(SWEEPER, &Waker::from(self.clone()));
        let ended: Vec<_> = strays.extract_if(.., |running| is_reaped(running)).collect();
        if strays.is_empty() {
            self.0.leave(SWEEPER);
        }
        drop(strays);
        drop(ended); // closing their descriptors may send messages
    }
}

impl Wake for Sweeper {
    fn wake(self: Arc<Self>) {
        self.sweep();
    }
}
