//! How much a task may do in one poll, so that one that always finds its channels and sockets ready lets the others
//! run. On a thread that is no core there is no limit.

use std::cell::Cell;
use std::task::{Context, Poll};

/// A thread that is no core has no turns to be fair in.
const UNLIMITED: u8 = u8::MAX;

thread_local! {
    static BUDGET: Cell<u8> = const { Cell::new(UNLIMITED) };
}

/// The executor is about to poll a task, which may succeed `budget` times.
#[inline]
pub fn refill(budget: u8) {
    debug_assert!(budget < UNLIMITED);
    BUDGET.set(budget);
}

/// The thread is a core no longer.
pub fn lift() {
    BUDGET.set(UNLIMITED);
}

/// Whether a poll may still succeed.
#[inline]
pub fn has_left() -> bool {
    BUDGET.get() > 0
}

/// Runs `f` with a budget of its own.
pub fn with<R>(budget: u8, f: impl FnOnce() -> R) -> R {
    let _restore = Progress(BUDGET.replace(budget));
    f()
}

/// Runs `f` without a limit.
pub fn unlimited<R>(f: impl FnOnce() -> R) -> R {
    with(UNLIMITED, f)
}

/// Takes one unit of the running task's budget. `Pending`, after waking the task, when none is left.
///
/// A resource calls this first in each poll, and [`Progress::made`] when the poll turns out ready; a poll that ends
/// pending costs nothing.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<Progress> {
    let left = BUDGET.get();
    match left {
        0 => {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        UNLIMITED => {}
        _ => BUDGET.set(left - 1),
    }
    Poll::Ready(Progress(left))
}

/// Takes `units` more of the running task's budget, as far as it goes: what was done was as much as several.
#[inline]
pub fn spend(units: u8) {
    let left = BUDGET.get();
    if left != UNLIMITED {
        BUDGET.set(left.saturating_sub(units));
    }
}

/// Gives the unit of budget back when dropped, unless progress was made.
#[derive(Debug)]
#[must_use]
pub struct Progress(u8);

impl Progress {
    /// Keeps the unit: something was done.
    #[inline]
    pub fn made(self) {
        std::mem::forget(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        BUDGET.set(self.0);
    }
}
