//! Sending a task that was never polled to another core.

use multikernel_channels::sync::Ordering;

use crate::machine::mailbox::{Arrival, Mailbox};
use crate::task::header::{Phase, TaskRef, ask, deliver};
use crate::task::{Home, home as of_this_thread};

impl TaskRef {
    /// Claims the envelope of a task that was never polled, to send it on. False if somebody else's message has it.
    pub(super) fn claim(self) -> bool {
        // Relaxed: the post publishes it. While POSTED is set nobody else posts, or looks for the mailbox to post to.
        let (claimed, relaxed) = (ask::ADOPT | ask::POSTED, Ordering::Relaxed);
        self.header().remote.compare_exchange(0, claimed, relaxed, relaxed).is_ok()
    }

    /// Sends a claimed task, which `home` has let go of, to another core. If that has ended, it stays after all.
    ///
    /// # Safety
    /// It was never polled, and what it holds may be sent there. `home` is the thread's, and both are of one Machine.
    pub(super) unsafe fn send_on(self, home: &Home, target: &Mailbox) {
        let header = self.header();
        header.phase.set(Phase::Newborn);
        // Release pairs with the Acquire in `home`: a handle there may come to the task before the message does.
        header.mailbox.store(target.this().cast_mut(), Ordering::Release);
        // SAFETY: claimed, so it is in no inbox; the message takes the list's reference. The thread's Machine keeps the
        // mailbox.
        if unsafe { target.post(self.as_ptr().cast()) }.is_ok() {
            of_this_thread::note_post();
        } else {
            // Release: as above, though that core, which has ended, will not look again.
            header.mailbox.store(home.mailbox().this().cast_mut(), Ordering::Release);
            // SAFETY: refused, so the envelope is still ours.
            unsafe { deliver(self.as_ptr().cast(), Arrival::Open) };
        }
    }
}
