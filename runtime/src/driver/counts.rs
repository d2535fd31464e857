//! How much a driver has done.

use super::Reactor;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// System calls that handed over requests, asked for events, or waited for them.
    pub(crate) batches: u64,
    /// Requests handed over. None by epoll, whose requests are system calls of their own.
    pub(crate) submissions: u64,
    /// Completions, or sources found ready.
    pub(crate) events: u64,
}

impl Counts {
    pub(super) fn note_batch(&mut self, requests: usize) {
        self.batches += 1;
        self.submissions += requests as u64;
    }
}

impl Reactor {
    pub(crate) fn counts(&self) -> Counts {
        self.slots.counts
    }
}
