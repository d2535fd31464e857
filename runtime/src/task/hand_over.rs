//! Handing a task over to another core, between two polls of it.
//!
//! What is `Send` and waits in the run queue may go. Its memory stays where it is, and so do its wakers and handles: they find
//! the new home through the task. What it waits for (sockets, sleeps) is registered where it is polled next.
//!
//! ```text
//!   former home                                            new home
//!   claim: remote 0 ──▶ ADOPT, POSTED                      (a handle here may come first: it finds a newborn)
//!   let go of it: queue, list, figures
//!   phase = Newborn, mailbox = the other's (Release) ────▶ home() (Acquire): its plain fields
//!   post the envelope ───────────────────────────────────▶ deliver: remote ──▶ 0, adopted, queued
//!                                                          asked for meanwhile (wake, abort, join): done now
//! ```

use multikernel_channels::sync::{Cell, Ordering};

use crate::machine::mailbox::{Arrival, Mailbox};
use crate::task::header::{Header, Phase, TaskRef, ask, deliver};
use crate::task::key::Key;
use crate::task::{Home, home as of_this_thread};

/// Whether a task may be handed over: what it holds is `Send` then. As small as what a header has left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moves(u16);

impl Moves {
    /// It holds what is not `Send`, or somebody has said where it is to be.
    pub(crate) const NEVER: Self = Self(0);
    /// Whenever that helps.
    pub(crate) const FREELY: Self = Self(1);

    /// Only from a core that retires, and to where all others of its key go.
    pub(crate) fn with(key: Key) -> Self {
        Self(2 + key.0)
    }

    fn key(self) -> Option<Key> {
        self.0.checked_sub(2).map(Key)
    }
}

impl TaskRef {
    /// Claims the envelope, to send the task on. False if somebody else's message has it.
    fn claim(self) -> bool {
        // Relaxed: this thread took the last message itself, and the post publishes the claim. While POSTED is set nobody
        // else posts, or looks for the mailbox to post to.
        let (claimed, relaxed) = (ask::ADOPT | ask::POSTED, Ordering::Relaxed);
        self.header().remote.compare_exchange(0, claimed, relaxed, relaxed).is_ok()
    }

    /// Sends a claimed task, which `home` has let go of, to another core. If that has ended, it stays after all.
    ///
    /// # Safety
    /// It is not being polled, and what it holds may be sent there. `home` is the thread's, and both are of one Machine.
    unsafe fn send_on(self, home: &Home, target: &Mailbox) {
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

impl Home {
    /// Hands tasks that wait in the run queue over to the cores that `choose` names for them, one after the other. The others
    /// keep their order. The cores are of this home's Machine, and this is none of them. Says how many have gone.
    pub(crate) fn hand_over<'a>(&self, mut choose: impl FnMut() -> Option<&'a Mailbox>) -> u64 {
        // SAFETY: this home's thread, if perhaps within the turn of a set; `self` is borrowed.
        unsafe { self.visit(|| self.send_queued(u64::MAX, if_free(|_| choose()))) }
    }

    /// As [`hand_over`](Self::hand_over), but `choose` is told what part of this home's polls the task had lately, in
    /// thousandths.
    pub(crate) fn hand_over_by_share<'a>(&self, mut choose: impl FnMut(u32) -> Option<&'a Mailbox>) -> u64 {
        let polls = self.queue.popped.get();
        // SAFETY: as in `hand_over`.
        unsafe {
            let choose = |header: &Header| choose(header.share.of(&self.windows, polls));
            self.visit(|| self.send_queued(u64::MAX, if_free(choose)))
        }
    }

    /// How many polls there were in the windows in which the parts of tasks are counted.
    pub(crate) fn polls_counted(&self) -> u64 {
        self.windows.polls(self.queue.popped.get())
    }

    /// A new window begins, in which the parts of tasks are counted.
    pub(crate) fn begin_window(&self) {
        self.windows.begin(self.queue.popped.get());
    }

    /// As [`hand_over`](Self::hand_over), but also those that wait for something, each of which is polled once where it comes,
    /// and those that have a key, for which `choose` is told it.
    pub(crate) fn hand_all_over<'a>(
        &self,
        mut choose: impl FnMut(Option<Key>) -> Option<&'a Mailbox>,
    ) -> u64 {
        self.wake_those(u32::MAX, |moves| moves != Moves::NEVER);
        // SAFETY: as in `hand_over`.
        unsafe { self.visit(|| self.send_queued(u64::MAX, |header| choose(header.moves.get().key()))) }
    }

    /// As [`hand_over`](Self::hand_over), but none goes that is due next or whose polls are long. With them go up to so many
    /// that `wait` for something. Says how many of these there were.
    pub(crate) fn hand_others_over<'a>(
        &self,
        wait: u32,
        mut choose: impl FnMut() -> Option<&'a Mailbox>,
    ) -> u32 {
        let Some(next) = self.take_queued() else { return 0 };
        let waited = self.wake_those(wait, |moves| moves == Moves::FREELY);
        let others = self.queued() - 1; // it counts the one that was taken out
        self.send_queued(others, if_free(|header| (!header.notes.is_long()).then(&mut choose).flatten()));
        self.put_first(next);
        waited
    }

    /// Hands the task over that is due next. Says whether it has gone.
    pub(crate) fn hand_next_over(&self, target: &Mailbox) -> bool {
        self.send_queued(1, if_free(|_| Some(target))) == 1
    }

    /// Wakes up to so many of those that wait for something. Says how many.
    fn wake_those(&self, most: u32, which: impl Fn(Moves) -> bool) -> u32 {
        let woken = Cell::new(0);
        if most > 0 {
            self.for_each(|task| {
                let header = task.header();
                if woken.get() < most && header.phase.get() == Phase::Idle && which(header.moves.get()) {
                    woken.set(woken.get() + 1);
                    self.wake(task);
                }
            });
        }
        woken.get()
    }

    /// Of the first `most` in the queue.
    fn send_queued<'a>(&self, most: u64, mut choose: impl FnMut(&Header) -> Option<&'a Mailbox>) -> u64 {
        let mut gone = 0;
        // A task that comes back, because its core has ended, queues up behind the last.
        let mut left = self.queued().min(most);
        while left > 0
            && let Some(task) = self.take_queued()
        {
            left -= 1;
            let header = task.header();
            let may_go = header.moves.get() != Moves::NEVER && !header.notes.is_aborted();
            let target = may_go.then(|| choose(header)).flatten();
            let Some(target) = target.filter(|_| task.claim()) else {
                self.put_queued(task);
                continue;
            };
            self.forget(task);
            gone += 1;
            if header.connection.get() {
                target.load.connections.fetch_add(1, Ordering::Relaxed); // a figure
            }
            // SAFETY: in the queue, so it is not being polled; movable, so all that it holds is `Send`; `choose` names cores of
            // this Machine.
            unsafe { task.send_on(self, target) };
        }
        gone
    }
}

/// Chooses for those tasks only that may go whenever that helps.
fn if_free<'a>(
    mut choose: impl FnMut(&Header) -> Option<&'a Mailbox>,
) -> impl FnMut(&Header) -> Option<&'a Mailbox> {
    move |header| (header.moves.get() == Moves::FREELY).then(|| choose(header)).flatten()
}

/// The task that the thread's home is polling stays there for good.
pub(crate) fn pin_current() {
    if let Some(header) = of_this_thread::current_header() {
        header.moves.set(Moves::NEVER);
    }
}
