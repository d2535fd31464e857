//! What a home notes of a task, in one byte: that it is to be aborted, and which of its last polls were long.
//!
//! A task about which nothing is noted is polled without another look. So neither note costs the others anything.

use multikernel_channels::sync::Cell;

use crate::limits::{KNOWN_LONG_POLLS, REMEMBERED_POLLS};

/// The home's, plain.
pub(crate) struct Notes(Cell<u8>);

const ABORTED: u8 = 1;

impl Notes {
    pub(crate) fn nothing() -> Self {
        Self(Cell::new(0))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.get() == 0
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.0.get() & ABORTED != 0
    }

    pub(crate) fn set_aborted(&self, is_aborted: bool) {
        self.0.set(self.0.get() & !ABORTED | u8::from(is_aborted));
    }

    /// A poll has been timed.
    pub(crate) fn note_poll(&self, is_long: bool) {
        let polls = self.0.get() & !ABORTED;
        self.0.set(polls << 1 | u8::from(is_long) << 1 | self.0.get() & ABORTED);
    }

    /// Whether the next poll will be long, as far as one can tell.
    pub(crate) fn is_long(&self) -> bool {
        (self.0.get() & !ABORTED).count_ones() >= KNOWN_LONG_POLLS
    }
}

const _: () = assert!(REMEMBERED_POLLS == u8::BITS - 1 && KNOWN_LONG_POLLS <= REMEMBERED_POLLS);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn three_of_seven_polls_make_a_task_long_and_its_abort_is_apart() {
        let notes = Notes::nothing();
        let note = |polls: &[bool]| polls.iter().for_each(|is_long| notes.note_poll(*is_long));
        note(&[true, false, false, true]);
        assert!(!notes.is_long() && !notes.is_aborted() && !notes.is_empty());
        note(&[false, true]);
        assert!(notes.is_long() && !notes.is_aborted());
        notes.set_aborted(true);
        note(&[false, false]);
        assert!(notes.is_aborted() && !notes.is_long());
        notes.set_aborted(false);
        note(&[false; 4]);
        assert!(!notes.is_empty());
        note(&[false]);
        assert!(notes.is_empty() && !notes.is_aborted());
    }
}
