//! The polls of a turn: how many, for how long, and how long each.

use multikernel_channels::sync::Ordering;

use super::{Core, Ran, with};
use crate::context;
use crate::limits::{POLL_TIME, POLLS_PER_LOOK, POLLS_PER_TURN, TURN_TIME};
use crate::time::Instant;

/// Whether a task of this thread's core, which has done some things in this poll, may go on: the turn has time left, and, where
/// polls are long, the others that wait have not waited for it long enough.
pub(super) fn poll_goes_on() -> bool {
    with(|core| {
        let Some(core) = core else { return true };
        let now = Instant::system();
        let is_late = |began: Instant, limit| now.saturating_duration_since(began) > limit;
        let is_waited_for = core.long_polls.get() && core.home.has_runnable();
        let is_over = is_late(core.turn_began.get(), TURN_TIME);
        !(is_over || is_waited_for && is_late(core.poll_began.get(), POLL_TIME))
    })
}

impl Core {
    /// Polls tasks until none is left, or the turn's share of polls or of time is used up, or I/O asks for attention.
    pub(super) fn poll_tasks(&self) {
        if !self.home.has_runnable() {
            return;
        }
        let started = Instant::system();
        self.turn_began.set(started);
        self.mailbox().load.note_polls(true);
        let (mut polls, mut timed) = (0, started);
        while polls < POLLS_PER_TURN {
            let is_one = self.long_polls.get();
            let until = polls + if is_one { 1 } else { POLLS_PER_LOOK };
            while polls < until {
                if self.rang.get() && self.home.has_runnable() {
                    self.submit_rings();
                }
                if is_one {
                    self.poll_began.set(timed);
                    context::begin_long_poll();
                } else {
                    context::begin_poll();
                }
                match self.home.run_next() {
                    Ran::Polled => {}
                    Ran::Nothing => return self.note_turn(polls, started, timed),
                    Ran::Watched => timed = self.run_watched(),
                }
                polls += 1;
            }
            self.mailbox().doorbell.tick();
            // The clock costs more than a short poll: not at every look.
            let is_over = (self.long_polls.get() || polls.is_multiple_of(2 * POLLS_PER_LOOK)) && {
                let now = Instant::system();
                self.note_time(timed, now, is_one);
                timed = now;
                now.saturating_duration_since(started) > TURN_TIME
            };
            self.deliver();
            if is_over || self.resources.reactor.borrow().has_completions() {
                break;
            }
        }
        self.note_turn(polls, started, timed);
    }

    fn note_turn(&self, polls: u32, started: Instant, timed: Instant) {
        self.mailbox().load.note_polls(false);
        let now = Instant::system();
        self.note_time(timed, now, polls == 1);
        let delay = self.tally.note_turn(&self.home, started, now);
        self.mailbox().load.delay.store(delay, Ordering::Relaxed); // a figure
        let are_long = now.saturating_duration_since(started) > TURN_TIME / POLLS_PER_LOOK * polls;
        self.long_polls.set(are_long || self.searches(now));
    }
}
