//! Polls that are long: finding the tasks that make them, and having the others leave before the next one.
//!
//! The core times its polls in batches, by the clock that it reads for its turns. If one of a batch was long, each poll is timed
//! for a second, as it is while polls are long on average. A task whose poll was long is watched from then on: each of its
//! polls is timed, until as many in a row as are remembered were short. So a core whose polls are short reads no clock for
//! this, and looks at nothing that it does not look at anyway.

use std::cell::Cell;
use std::time::Duration;

use multikernel_channels::sync::Ordering;

use super::Core;
use crate::limits::{LONG_POLL, LONG_POLL_SEARCH, RESERVED, WAITING_SENT};
use crate::machine::balance::{Group, LongPoll, Way};
use crate::time::Instant;

#[derive(Default)]
pub(super) struct LongPolls {
    /// In nanoseconds of the clock.
    searching_until: Cell<u64>,
    /// How long they are, in nanoseconds, smoothed.
    length: Cell<u64>,
    /// When to look again for tasks that wait for something, in nanoseconds of the clock.
    next_search: Cell<u64>,
    /// The core has told that it is reserved.
    is_reserved: Cell<bool>,
}

impl Core {
    /// What was polled since `since` is over: one task, or several.
    pub(super) fn note_time(&self, since: Instant, now: Instant, is_one: bool) {
        if now.saturating_duration_since(since) >= LONG_POLL && self.shares() {
            self.found_long(now, now.saturating_duration_since(since), is_one);
        }
    }

    #[cold]
    fn found_long(&self, now: Instant, took: Duration, is_one: bool) {
        if self.tally.had_no_cpu(now, took) {
            return;
        }
        if is_one && let Some(notes) = self.home.last_notes() {
            notes.note_poll(true);
        }
        let until = now.as_nanos() + LONG_POLL_SEARCH.as_nanos() as u64;
        self.long.searching_until.set(until);
    }

    /// Whether each poll is to be timed.
    pub(super) fn searches(&self, now: Instant) -> bool {
        now.as_nanos() < self.long.searching_until.get()
    }

    /// The next task is one whose polls are watched. Gives the time after the poll.
    #[cold]
    pub(super) fn run_watched(&self) -> Instant {
        let mut began = Instant::system();
        if self.is_next_long() {
            let has_gone = self.makes_way(began);
            began = Instant::system(); // what that takes is no part of the poll
            if has_gone {
                return began;
            }
        }
        self.home.run_one();
        let now = Instant::system();
        let took = now.saturating_duration_since(began);
        let is_long = took >= LONG_POLL && !self.tally.had_no_cpu(now, took);
        let Some(notes) = self.home.last_notes() else { return now };
        notes.note_poll(is_long);
        if is_long {
            self.long_polls.set(true); // look at the clock and the inbox soon
            let (took, length) = (took.as_nanos() as u64, self.long.length.get());
            self.long.length.set(if length == 0 { took } else { (3 * length + took) / 4 });
            if notes.is_long() {
                self.note_long_poll(now.as_nanos(), took);
            }
        }
        now
    }

    fn is_next_long(&self) -> bool {
        self.home.next_notes().is_some_and(|notes| notes.is_long()) && self.shares()
    }

    /// Has the others leave before a long poll, or the task itself, if it helps. Says whether that has gone.
    fn makes_way(&self, now: Instant) -> bool {
        // What others are to have, and what they want of this core, before they have to wait for it.
        self.deliver();
        self.flush();
        let expected = self.long.length.get();
        let poll = LongPoll {
            expected,
            is_movable: self.home.next_is_movable(),
            queued: self.home.queued().saturating_sub(1) as u32,
            others: self.home.pending().saturating_sub(1),
        };
        let way = self.way_before(now.as_nanos(), poll);
        match way {
            Way::Stay => {}
            Way::Follow { to } => {
                let target = &*self.machine.cores[to];
                if target.load.is_reserved() && target.load.standing().is_part() {
                    if self.home.hand_next_over(target) {
                        self.tell_of(target, 1);
                    }
                    return true; // or it has gone to the end of the queue, and has its turn later
                }
            }
            Way::ClearQueue { to } => {
                let mut cores = to.iter().map(|core| &*self.machine.cores[*core]).cycle();
                self.home.hand_others_over(0, || cores.next().filter(|core| core.load.takes_tasks()));
            }
            Way::ClearAll { groups } => self.send_all(now, &groups),
        }
        self.tell_of_long_poll(now, expected);
        false
    }

    /// Sends the others away, those that wait for something as well.
    fn send_all(&self, now: Instant, groups: &[Group]) {
        // Some of the others may have to stay, so each next one goes to the core that still lacks most of its part.
        let mut left: Vec<_> = groups.iter().map(|group| (group, group.tasks)).collect();
        let lack = |(group, left): &(&Group, u32)| f64::from(*left) / f64::from(group.tasks.max(1));
        let one = || {
            let most = left.iter_mut().max_by(|one, other| lack(one).total_cmp(&lack(other)));
            let (group, left) = most.filter(|(_, left)| *left > 0)?;
            *left -= 1;
            Some(&*self.machine.cores[group.to]).filter(|core| core.load.takes_tasks())
        };
        // To find those that wait takes a look at each task. Once all have been found, few are left to find for a while: they
        // go when they are woken.
        let looks = now.as_nanos() >= self.long.next_search.get();
        let most = if looks { WAITING_SENT } else { 0 };
        if self.home.hand_others_over(most, one) < most {
            self.long.next_search.set(now.as_nanos() + RESERVED.as_nanos() as u64);
        }
    }

    /// Lets the others see at once what they would see at the end of the turn, and that a task waits here until the poll is over.
    fn tell_of_long_poll(&self, now: Instant, expected: u64) {
        self.tell_whether_reserved(self.reserved_until() > now.as_nanos());
        let delay = u32::try_from(expected).unwrap_or(u32::MAX);
        self.tally.delay.set(delay);
        self.mailbox().load.delay.store(delay, Ordering::Relaxed); // a figure
        self.publish();
        self.submit_rings();
    }

    fn tell_whether_reserved(&self, is_reserved: bool) {
        if self.long.is_reserved.replace(is_reserved) != is_reserved {
            self.mailbox().load.set_reserved(is_reserved);
        }
    }

    /// For how long the core is reserved still, if it is. It tells if it is no more, so it has to come here then.
    pub(super) fn stays_reserved(&self, now: Instant) -> Option<Duration> {
        if !self.long.is_reserved.get() {
            return None;
        }
        let left = self.reserved_until().checked_sub(now.as_nanos()).filter(|left| *left > 0);
        self.tell_whether_reserved(left.is_some());
        left.map(Duration::from_nanos)
    }
}
