//! How much a task may do in one poll, so that one that always finds its channels and sockets ready lets the others
//! run. On a thread that is no core there is no limit.
//!
//! Units are given out in slices, the first as the executor says, then each as large as those before it together. Before the next one, the executor is
//! [asked](ask) whether the turn goes on: what costs a task a microsecond between two messages costs another a
//! millisecond, and only a clock can tell.

use std::cell::Cell;
use std::task::{Context, Poll};

/// A thread that is no core has no turns to be fair in.
const UNLIMITED: u8 = u8::MAX;

/// What a poll may do before a clock is read.
pub const FIRST_SLICE: u8 = 4;

struct Budget {
    /// What is left of this slice.
    left: Cell<u8>,
    /// What the slices after it have together.
    later: Cell<u8>,
    /// The size of the next one.
    slice: Cell<u8>,
    /// A unit was given after this slice without a question: see [`poll_finish`].
    lent: Cell<bool>,
    turn_goes_on: Cell<fn() -> bool>,
}

thread_local! {
    static BUDGET: Budget = const {
        Budget {
            left: Cell::new(UNLIMITED),
            later: Cell::new(0),
            slice: Cell::new(FIRST_SLICE),
            lent: Cell::new(false),
            turn_goes_on: Cell::new(|| true),
        }
    };
}

impl Budget {
    #[inline]
    fn refill(&self, units: u8, first: u8) {
        let first = units.min(first);
        self.left.set(first);
        self.later.set(units - first);
        self.slice.set(first);
        self.lent.set(false);
    }

    /// The slice is used up: begins the next, if there is one.
    #[cold]
    fn next_slice(&self) -> bool {
        let later = self.later.get();
        if later == 0 || !self.turn_goes_on.get()() {
            self.later.set(0);
            return false;
        }
        let units = self.slice.get().min(later);
        self.slice.set(self.slice.get().saturating_mul(2));
        self.later.set(later - units);
        self.left.set(units);
        self.lent.set(false);
        true
    }
}

/// On this thread `turn_goes_on` tells, when a task has done a few things in one poll, whether it may go on.
pub fn ask(turn_goes_on: fn() -> bool) {
    BUDGET.with(|budget| budget.turn_goes_on.set(turn_goes_on));
}

/// The executor is about to poll a task, which may succeed `budget` times, and `first` times before it is asked anything.
#[inline]
pub fn refill(budget: u8, first: u8) {
    debug_assert!(budget < UNLIMITED);
    BUDGET.with(|own| own.refill(budget, first));
}

/// The thread is a core no longer.
pub fn lift() {
    BUDGET.with(|budget| budget.left.set(UNLIMITED));
}

/// Whether a poll may still succeed.
#[inline]
pub fn has_left() -> bool {
    BUDGET.with(|budget| budget.left.get() > 0 || budget.next_slice())
}

/// Runs `f` with a budget of its own.
pub fn with<R>(budget: u8, f: impl FnOnce() -> R) -> R {
    struct Restore([u8; 3], bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            let [left, later, slice] = self.0;
            BUDGET.with(|budget| {
                budget.lent.set(self.1);
                budget.left.set(left);
                budget.later.set(later);
                budget.slice.set(slice);
            });
        }
    }
    let _restore = BUDGET.with(|own| {
        let outer = Restore([own.left.get(), own.later.get(), own.slice.get()], own.lent.get());
        own.refill(budget, FIRST_SLICE);
        outer
    });
    f()
}

/// Runs `f` without a limit.
pub fn unlimited<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            BUDGET.with(|budget| budget.left.set(self.0));
        }
    }
    let _restore = Restore(BUDGET.with(|budget| budget.left.replace(UNLIMITED)));
    f()
}

/// Whether a unit of the running task's budget is left, for something that may turn out not to be ready. `Pending`, after
/// waking the task, when none is.
///
/// A resource calls this first in each poll, and [`Progress::made`] when the poll turns out ready, which takes the unit; a poll
/// that ends pending costs nothing.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<Progress> {
    if has_left() {
        Poll::Ready(Progress(()))
    } else {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// As [`poll_proceed`], for what hands over the result of work that has been done: the end of a slice is no reason to keep that
/// back. One unit is given so; who hands over again and again is asked like others.
#[inline]
pub fn poll_finish(cx: &mut Context<'_>) -> Poll<Progress> {
    BUDGET.with(|budget| {
        let later = budget.later.get();
        if budget.left.get() == 0 && later > 0 && !budget.lent.replace(true) {
            budget.left.set(1);
            budget.later.set(later - 1);
        }
    });
    poll_proceed(cx)
}

/// Takes `units` more of the running task's budget, as far as it goes: what was done was as much as several.
#[inline]
pub fn spend(units: u8) {
    BUDGET.with(|budget| {
        let left = budget.left.get();
        if left != UNLIMITED {
            budget.left.set(left.saturating_sub(units));
            budget.later.set(budget.later.get().saturating_sub(units.saturating_sub(left)));
        }
    });
}

/// The right to do something that may take a unit of the budget.
#[derive(Debug)]
#[must_use]
pub struct Progress(());

impl Progress {
    /// Takes the unit: something was done.
    #[inline]
    pub fn made(self) {
        BUDGET.with(|budget| {
            // None is left if what was done was itself made of such things, which have taken theirs.
            let left = budget.left.get();
            if (1..UNLIMITED).contains(&left) {
                budget.left.set(left - 1);
            }
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};

    use super::{
        FIRST_SLICE, ask, has_left, lift, poll_finish, poll_proceed, refill, spend, unlimited, with,
    };

    thread_local! {
        static ASKED: Cell<u32> = const { Cell::new(0) };
        static GOES_ON: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// Asks are counted, and answered with yes so many times.
    fn asked(yes: u32) {
        ASKED.set(0);
        GOES_ON.set(yes);
        ask(|| {
            ASKED.set(ASKED.get() + 1);
            ASKED.get() <= GOES_ON.get()
        });
    }

    fn take() -> bool {
        let progress = poll_proceed(&mut Context::from_waker(Waker::noop()));
        progress.map(super::Progress::made).is_ready()
    }

    fn taken() -> usize {
        std::iter::repeat_with(take).take_while(|taken| *taken).count()
    }

    #[test]
    fn slices_double_and_a_clock_is_read_before_each_but_the_first() {
        asked(u32::MAX);
        refill(128, FIRST_SLICE);
        assert_eq!((taken(), ASKED.get()), (128, 5));
    }

    #[test]
    fn a_turn_that_is_over_ends_the_poll() {
        for (yes, units) in [(0, 4), (1, 8), (2, 16), (3, 32), (4, 64)] {
            asked(yes);
            refill(128, FIRST_SLICE);
            assert_eq!(taken(), units);
            assert!(!has_left() && !take());
            assert_eq!(ASKED.get(), yes + 1, "it is not asked again in that poll");
        }
    }

    #[test]
    fn the_first_slice_may_be_smaller() {
        asked(2);
        refill(128, 1);
        assert_eq!((taken(), ASKED.get()), (4, 3));
    }

    #[test]
    fn what_is_done_is_handed_over_without_a_look_at_the_clock() {
        asked(0);
        refill(4, 1);
        let finish = || {
            let progress = poll_finish(&mut Context::from_waker(Waker::noop()));
            progress.map(super::Progress::made).is_ready()
        };
        assert!(take() && finish());
        assert_eq!(ASKED.get(), 0);
        assert!(!take(), "its turn is over");
        assert!(!finish(), "and so is its poll");
        refill(4, 1);
        assert!(finish() && finish());
        assert!(!finish(), "it does nothing else");
        assert_eq!(ASKED.get(), 2);
        asked(u32::MAX);
        refill(4, 1);
        assert_eq!(std::iter::repeat_with(finish).take_while(|done| *done).count(), 4);
    }

    #[test]
    fn what_is_spent_is_not_in_later_slices() {
        asked(u32::MAX);
        refill(128, FIRST_SLICE);
        spend(100);
        assert_eq!(taken(), 28);
        spend(1);
        assert_eq!(taken(), 0);
    }

    #[test]
    fn progress_that_was_not_made_costs_nothing() {
        asked(u32::MAX);
        refill(5, FIRST_SLICE);
        for _ in 0..100 {
            drop(poll_proceed(&mut Context::from_waker(Waker::noop())));
        }
        assert_eq!(taken(), 5);
    }

    #[test]
    fn budgets_within_budgets_leave_them_alone() {
        asked(u32::MAX);
        refill(20, FIRST_SLICE);
        assert!(take());
        assert_eq!(with(10, taken), 10);
        unlimited(|| assert!((0..1000).all(|_| take())));
        assert_eq!(taken(), 19);
        lift();
        assert!((0..1000).all(|_| take()));
    }
}
