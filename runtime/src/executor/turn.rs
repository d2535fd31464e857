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

/// Whether this thread's core, which is polling a task, would only look for messages if that task waited now.
pub(super) fn has_nothing_else() -> bool {
    with(|core| core.is_some_and(Core::has_nothing_else))
}

impl Core {
    fn has_nothing_else(&self) -> bool {
        let driver_rests = || {
            let reactor = self.resources.reactor.try_borrow();
            reactor.is_ok_and(|reactor| !reactor.has_completions() && !reactor.has_submissions())
        };
        !self.home.has_runnable()
            && !self.mailbox().has_mail()
            && !self.home.holds_mail()
            && !self.seat.has_news()
            && !self.rang.get()
            && !self.is_called()
            && driver_rests()
    }

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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::UdpSocket as StdSocket;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::{has_nothing_else, with};
    use crate::net::UdpSocket;
    use crate::runtime::{Builder, Handle};
    use crate::time::sleep;
    use crate::{CoreId, spawn_local};

    #[test]
    fn a_core_has_something_else_to_do_when_anything_waits() {
        assert!(!has_nothing_else(), "this is no core");
        let test = || async {
            assert!(has_nothing_else());

            let task = spawn_local(async {});
            assert!(!has_nothing_else(), "a task is ready");
            task.await.unwrap();
            assert!(has_nothing_else());

            let (handle, here) = (Handle::current(), CoreId::current());
            std::thread::spawn(move || drop(handle.spawn_on(here, || async {}))).join().unwrap();
            assert!(!has_nothing_else(), "there is mail");
            sleep(Duration::from_millis(1)).await;
            assert!(has_nothing_else());

            let submits = with(|core| core.unwrap().resources.reactor.borrow().ring_fd().is_some());
            if submits {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let mut readable = Box::pin(socket.readable());
                let poll = readable.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(poll.is_pending());
                assert!(!has_nothing_else(), "an operation is not submitted yet");
                sleep(Duration::from_millis(1)).await;
                assert!(has_nothing_else());
                let other = StdSocket::bind("127.0.0.1:0").unwrap();
                other.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
                assert!(!has_nothing_else(), "an operation has ended");
            }
        };
        Builder::new_test().run(test).unwrap();
    }
}
