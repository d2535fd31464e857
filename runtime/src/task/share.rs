//! What part of its home's polls each task had lately, counted in windows of a few hundredths of a second.
//!
//! A core that hands tasks over has to know which of them are its load. To time each poll would cost more than many a poll
//! does; to count it costs an addition, in memory that the poll writes to anyway. Where polls differ in length, the count is
//! only an estimate; those that are long are [known](crate::task::notes).

use multikernel_channels::sync::Cell;

/// A home's windows: where in the row of its polls the last two began.
pub(crate) struct Windows {
    /// Wraps.
    number: Cell<u16>,
    began: Cell<u64>,
    before: Cell<u64>,
}

impl Windows {
    pub(crate) fn new() -> Self {
        Self { number: Cell::new(0), began: Cell::new(0), before: Cell::new(0) }
    }

    /// The next window begins, after so many polls of the home.
    pub(crate) fn begin(&self, polls: u64) {
        self.number.set(self.number.get().wrapping_add(1));
        self.before.set(self.began.replace(polls));
    }

    /// In the last two, of `polls` in all.
    pub(crate) fn polls(&self, polls: u64) -> u64 {
        polls.saturating_sub(self.before.get())
    }
}

/// How often a task was polled in the last windows. Its home's, plain.
pub(crate) struct Share {
    window: Cell<u16>,
    polls: Cell<u16>,
    before: Cell<u16>,
}

impl Share {
    pub(crate) fn new() -> Self {
        Self { window: Cell::new(0), polls: Cell::new(0), before: Cell::new(0) }
    }

    #[inline(always)]
    pub(crate) fn note_poll(&self, windows: &Windows) {
        if self.window.get() != windows.number.get() {
            self.follow(windows);
        }
        self.polls.set(self.polls.get().saturating_add(1));
    }

    /// In thousandths of what its home has polled, `polls` in all.
    pub(crate) fn of(&self, windows: &Windows, polls: u64) -> u32 {
        self.follow(windows);
        let mine = u64::from(self.polls.get()) + u64::from(self.before.get());
        let all = windows.polls(polls).max(1);
        u32::try_from(mine * 1000 / all).unwrap_or(1000).min(1000)
    }

    #[cold]
    fn follow(&self, windows: &Windows) {
        let last = windows.number.get().wrapping_sub(1);
        let window = self.window.replace(windows.number.get());
        if window == windows.number.get() {
            return;
        }
        let polls = self.polls.replace(0);
        self.before.set(if window == last { polls } else { 0 });
    }

    /// Nothing of it is known where the task comes to.
    pub(crate) fn forget(&self) {
        self.polls.set(0);
        self.before.set(0);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_windows_count() {
        let (windows, often, once) = (Windows::new(), Share::new(), Share::new());
        let note = |share: &Share, times: u32| (0..times).for_each(|_| share.note_poll(&windows));
        note(&often, 90);
        note(&once, 10);
        assert_eq!((often.of(&windows, 100), once.of(&windows, 100)), (900, 100));
        windows.begin(100);
        assert_eq!((often.of(&windows, 100), once.of(&windows, 100)), (900, 100));
        note(&often, 100);
        assert_eq!((often.of(&windows, 200), once.of(&windows, 200)), (950, 50));
        windows.begin(200);
        assert_eq!((often.of(&windows, 200), once.of(&windows, 200)), (1000, 0));
        windows.begin(200);
        assert_eq!(often.of(&windows, 200), 0);
    }

    #[test]
    fn a_task_that_moves_begins_anew_and_one_polled_without_end_is_the_whole() {
        let (windows, share) = (Windows::new(), Share::new());
        (0..70_000).for_each(|_| share.note_poll(&windows));
        assert_eq!(share.of(&windows, 65_000), 1000);
        share.forget();
        assert_eq!(share.of(&windows, 70_000), 0);
    }
}
