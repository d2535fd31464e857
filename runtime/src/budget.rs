//! How much a task may do in one poll, so that one that always finds its sockets ready lets the others run.

use std::cell::Cell;
use std::task::{Context, Poll};

use crate::limits::BUDGET_PER_POLL;

/// A thread that is no core has no turns to be fair in.
const UNLIMITED: u8 = u8::MAX;

const _: () = assert!(BUDGET_PER_POLL < UNLIMITED);

thread_local! {
    static BUDGET: Cell<u8> = const { Cell::new(UNLIMITED) };
}

/// The executor is about to poll a task.
pub(crate) fn refill() {
    BUDGET.set(BUDGET_PER_POLL);
}

/// The thread is a core no longer.
pub(crate) fn lift() {
    BUDGET.set(UNLIMITED);
}

/// Takes one unit of the running task's budget. `Pending`, after waking the task, when none is left.
///
/// A resource calls this first in each poll, and [`Progress::made`] when the poll turns out ready; a poll that ends
/// pending costs nothing.
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<Progress> {
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

/// Gives the unit of budget back when dropped, unless progress was made.
#[must_use]
pub(crate) struct Progress(u8);

impl Progress {
    pub(crate) fn made(self) {
        std::mem::forget(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        BUDGET.set(self.0);
    }
}
