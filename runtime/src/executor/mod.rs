//! One core's loop: deliver, poll, fire, drive, park.
//!
//! ```text
//!            ┌────────────────────────────────────────────────────────────────┐
//!            ▼                                                                │
//!   deliver the inbox ──▶ poll tasks, a bounded number ──▶ fire timers ──▶ driver turn
//!                          (look at inbox and completions                  (waits only if nothing
//!                           every few polls)                                can run: see `park`)
//! ```
//!
//! Everything here is one thread's; what another core wants comes through the mailbox.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::Duration;
use std::{process, thread};

use multikernel_channels::budget;
use multikernel_channels::epoch;
use multikernel_channels::hub::Hub;
use multikernel_channels::sync::{Arc, Ordering};

use crate::context::{self, Resources};
use crate::driver::{self, Wait};
use crate::limits::{DRIVER_PATIENCE, LOOKS_PER_CLOCK, POLLING_TO_LINGER};
use crate::machine::agreement::Seat;
use crate::machine::mailbox::{Mailbox, Standing};
use crate::machine::membership::Retiring;
use crate::machine::watch::Watch;
use crate::machine::{Machine, registry};
use crate::task::home::Ran;
use crate::task::{Home, quietly};
use crate::time::Instant;

mod crowding;
mod long_polls;
mod sharing;
mod tally;
mod timers;
mod turn;

use long_polls::LongPolls;
use sharing::Sharing;
use tally::Tally;

thread_local! {
    static CURRENT: Cell<*const Core> = const { Cell::new(std::ptr::null()) };
}

/// One core, on its own thread.
pub(crate) struct Core {
    pub(crate) home: Home,
    pub(crate) resources: Resources,
    pub(crate) machine: Arc<Machine>,
    pub(crate) seat: Seat,
    /// The channels that this core watches and owes a knock.
    hub: Hub,
    tally: Tally,
    sharing: Sharing,
    long: LongPolls,
    /// Wakers collected under a borrow, to be woken after it; kept for its memory.
    woken: Cell<Vec<Waker>>,
    /// How long to poll for messages before parking.
    polling: Option<Duration>,
    /// Messages came since the core last parked, so polling for more may pay.
    had_mail: Cell<bool>,
    /// When the core began to poll tasks last.
    turn_began: Cell<Instant>,
    /// When the poll began that is going on. Kept while polls are long.
    poll_began: Cell<Instant>,
    /// The last polls were long, or one of them: look at the inbox after each, and at the clock.
    long_polls: Cell<bool>,
    /// A parked core was rung through our ring, and the request is not submitted yet.
    rang: Cell<bool>,
    /// The core is between the two phases of its end.
    ending: Cell<bool>,
    /// Somebody waits until this core has no task any more and leaves.
    pub(crate) retiring: RefCell<Option<Retiring>>,
    /// The deadline for that has passed; so many tasks had to be aborted.
    pub(crate) evicted: Cell<Option<usize>>,
    /// The main task is here, which nobody can abort.
    pub(crate) keeps_main: Cell<bool>,
    /// Somebody wants this core's loop to fail.
    pub(crate) doomed: Cell<bool>,
    /// Drops the core-local state that was made here.
    at_end: RefCell<Vec<fn()>>,
    /// State of the small generator that breaks ties.
    random: Cell<u32>,
}

/// Calls `f` with the core whose thread this is.
pub(crate) fn with<R>(f: impl FnOnce(Option<&Core>) -> R) -> R {
    let core = CURRENT.get();
    // SAFETY: set in `Core::enter`, on this thread, and cleared before the core it borrows ends; the reference does
    // not outlive `f`.
    f(unsafe { core.as_ref() })
}

/// Wakes a parked core: through our io_uring if both have one, else with its eventfd.
pub(crate) fn ring(target: &Mailbox) {
    if driver::is_forked_child() {
        return; // the cores are the parent's, and so is the ring, which is not mapped here
    }
    let through_ring = with(|core| core.is_some_and(|core| core.ring_through_driver(target)));
    if !through_ring {
        target.doorbell.ring();
    }
}

/// A core's loop catches every panic of users' code. Its own, where the tasks are in an unknown state, would leave the other
/// cores waiting for ever, and this thread believing that it is a core.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        eprintln!("multikernel: a core failed; this is a bug in multikernel");
        process::abort();
    }
}

impl Core {
    pub(crate) fn new(machine: Arc<Machine>, index: usize, resources: Resources) -> Self {
        let mailbox = machine.cores[index].clone();
        Self {
            home: Home::new(mailbox),
            polling: machine.polling,
            random: Cell::new((resources.uid.0.get() as u32).wrapping_mul(0x9E37_79B9) | 1),
            resources,
            seat: Seat::founder(&machine, index),
            sharing: Sharing::new(&machine, index),
            long: LongPolls::default(),
            machine,
            hub: Hub::new(),
            tally: Tally::new(),
            woken: Cell::new(Vec::new()),
            had_mail: Cell::new(false),
            turn_began: Cell::new(Instant::system()),
            poll_began: Cell::new(Instant::system()),
            long_polls: Cell::new(false),
            rang: Cell::new(false),
            ending: Cell::new(false),
            retiring: RefCell::default(),
            evicted: Cell::default(),
            keeps_main: Cell::default(),
            doomed: Cell::new(false),
            at_end: RefCell::new(Vec::new()),
        }
    }

    /// Makes this core the thread's while `f` runs, then ends it: every future dropped, every message answered. If the loop
    /// fails, this core dies and the others go on without it; the error is what the panic carried. If it fails within a poll,
    /// the process is aborted.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> thread::Result<R> {
        struct Clear;
        impl Drop for Clear {
            fn drop(&mut self) {
                CURRENT.set(std::ptr::null());
            }
        }
        assert!(CURRENT.get().is_null(), "this thread is a core already");
        let fatal = AbortOnPanic;
        CURRENT.set(self);
        let clear = Clear;
        budget::ask(turn::poll_goes_on);
        if self.polling >= Some(POLLING_TO_LINGER) {
            self.hub.linger_while(turn::has_nothing_else);
        }
        let result = context::enter(&self.resources, || {
            // SAFETY: `self` is borrowed until after `leave`, on this one thread.
            unsafe { self.home.enter() };
            self.seat.host.enter(|| {
                self.hub.enter(|| {
                    let result = catch_unwind(AssertUnwindSafe(f));
                    match &result {
                        Ok(_) => self.end(),
                        Err(_) if self.home.is_polling() => drop(AbortOnPanic),
                        Err(_) => self.die(),
                    }
                    drop(clear); // nothing can be spawned here any more
                    self.home.leave();
                    result
                })
            })
        });
        self.machine.watch.iter().for_each(|watch| watch.leave_seat(self.mailbox().index as usize));
        budget::lift();
        epoch::settled(); // a Machine may end within a round, and the thread be a core of another one later
        std::mem::forget(fatal);
        result
    }

    /// Runs the loop until `done`, or until the Machine stops.
    pub(crate) fn run(&self, done: impl Fn() -> bool) {
        self.machine.watch.iter().for_each(|watch| watch.take_seat(self.mailbox().index as usize));
        loop {
            self.work();
            if done() || self.machine.is_stopping() {
                return;
            }
            self.wait(Wait::Forever);
        }
    }

    /// The first half of a turn: what can be done now, up to a bound.
    fn work(&self) {
        self.mailbox().doorbell.tick(); // a turn without a poll is progress too
        self.deliver();
        self.share_work();
        self.poll_tasks();
        self.fire_timers();
        self.tend_channels();
        self.tend_membership();
        self.mailbox().load.tasks.store(self.home.pending(), Ordering::Relaxed); // a figure
        self.publish();
    }

    /// The second half: the driver. Waits, at most for `longest`, if there is nothing to do.
    fn wait(&self, longest: Wait) {
        if self.home.has_runnable() {
            self.glance_at_driver();
        } else if self.machine.clock.is_stopped() && self.jump() {
            // On with what that has woken.
        } else if !self.poll_before_parking() {
            self.park_between_hooks(longest);
        }
    }

    fn park_between_hooks(&self, mut longest: Wait) {
        let hooks = &self.machine.hooks;
        if hooks.park.is_some() {
            hooks.parking();
            self.tend_channels(); // the hook may have sent
            if self.home.has_runnable() {
                longest = Wait::No;
            }
        }
        self.park(longest);
        hooks.unparked();
    }

    fn mailbox(&self) -> &Mailbox {
        self.home.mailbox()
    }

    fn deliver(&self) {
        if self.seat.has_news() {
            self.had_mail.set(true);
            self.seat.read();
        }
        if self.mailbox().has_mail() || self.home.holds_mail() {
            self.had_mail.set(true);
            self.home.deliver(self.seat.host.version().0);
        }
        self.tend_channels();
    }

    /// Looks at the channels whose receivers, or senders, wait here, and knocks where messages have been sent.
    fn tend_channels(&self) {
        if !self.hub.is_idle() {
            self.wake_from(|_, woken| {
                self.hub.scan(woken);
                if !woken.is_empty() {
                    self.had_mail.set(true);
                }
                self.hub.knock(woken);
            });
        }
    }

    /// Tasks wait: submit what is queued and take what is there, without waiting.
    fn glance_at_driver(&self) {
        let worth_it = self.rang.get() || self.resources.reactor.borrow().wants_turn();
        if worth_it {
            self.drive(Wait::No);
        }
    }

    /// While messages keep coming, polling for the next costs less than parking and being woken.
    fn poll_before_parking(&self) -> bool {
        let Some(limit) = self.polling.filter(|_| self.had_mail.replace(false) | self.hub.has_lingered())
        else {
            return false;
        };
        self.submit_rings();
        if self.home.has_runnable() {
            return true; // it found completions
        }
        self.mailbox().doorbell.set_polling();
        let started = Instant::system();
        let came = loop {
            // The clock costs more than a look.
            if (0..LOOKS_PER_CLOCK).any(|_| self.has_news() || self.has_completions()) {
                break true;
            }
            if started.system_elapsed() > limit || self.is_called() {
                break false;
            }
        };
        self.mailbox().doorbell.unpark();
        came && self.has_news()
    }

    /// Whether another core wants something: a message waits, or a channel that is watched has changed.
    fn has_news(&self) -> bool {
        self.mailbox().has_mail() || self.hub.has_ready() || self.seat.has_news()
    }

    fn has_completions(&self) -> bool {
        std::hint::spin_loop();
        self.resources.reactor.borrow().has_completions()
    }

    /// Nothing can run: waits for the driver, the next timer or the doorbell.
    fn park(&self, longest: Wait) {
        let wait = self.longest_wait(longest);
        let mut woken = self.woken.take();
        self.hub.prepare_park(&mut woken);
        // Who posts or sends after these looks finds us asleep and rings or wakes; what was there before is seen
        // (channels, sleeping and waking).
        self.seat.prepare_park(self.home.holds_mail());
        self.mailbox().doorbell.prepare_park();
        let stay = self.mailbox().has_mail() || self.seat.has_news() || self.is_called() || self.may_jump();
        let sleep = self.hub.may_sleep(&mut woken) && !stay;
        self.woken.set(woken);
        self.rang.set(false);
        if sleep && wait != Wait::No {
            self.tally.parks.set(self.tally.parks.get() + 1);
            self.publish();
        }
        self.wake_from(|core, woken| {
            drive(core, if sleep { wait } else { Wait::No }, woken);
            if sleep {
                self.tally.woke();
                self.mailbox().figures.publish_unparks(self.tally.parks.get());
            }
            let was_told = self.seat.read_asleep();
            self.mailbox().doorbell.unpark();
            self.machine.watch.iter().for_each(Watch::note_awake);
            // Before anything runs, and be it a waker: other cores may have gone on without us.
            if self.seat.read_to_the_end() || was_told {
                // Or a core would sleep before each message of a round, once it has slept before one.
                self.had_mail.set(true);
            }
        });
    }

    /// The Machine has news that the loop is to look at: it stops, or all of it has.
    fn is_called(&self) -> bool {
        if self.ending.get() { self.machine.all_quiet() } else { self.machine.is_stopping() }
    }

    fn drive(&self, wait: Wait) {
        self.rang.set(false);
        self.wake_from(|core, woken| drive(core, wait, woken));
    }

    /// Lets `f` collect wakers while it borrows the resources, and wakes them when it no longer does.
    fn wake_from(&self, f: impl FnOnce(&Resources, &mut Vec<Waker>)) {
        let mut woken = self.woken.take();
        f(&self.resources, &mut woken);
        for waker in woken.drain(..) {
            quietly(|| waker.wake());
        }
        self.woken.set(woken);
    }

    fn ring_through_driver(&self, target: &Mailbox) -> bool {
        let Ok(mut reactor) = self.resources.reactor.try_borrow_mut() else { return false };
        if reactor.ring_fd().is_none() {
            return false;
        }
        let Some(peer) = target.ring_peer() else { return false };
        reactor.ring_peer(&peer);
        self.rang.set(true);
        true
    }

    /// A message is not worth much if its doorbell waits for a poll of another task, or while this core looks for mail. A core that
    /// is about to park has the request submitted by the call that waits.
    fn submit_rings(&self) {
        if self.rang.replace(false) {
            self.drive(Wait::No);
        }
    }

    /// A task is about to block the core: gets on its way what would wait for the end of its poll.
    pub(crate) fn flush(&self) {
        self.tend_channels();
        let is_idle = self.resources.reactor.try_borrow_mut().is_ok(); // not so within `try_io`
        if is_idle {
            self.drive(Wait::No);
        }
    }

    /// A number to break ties with (xorshift, Marsaglia 2003).
    pub(crate) fn random(&self) -> u32 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.random.set(x);
        x
    }

    /// The two phases of a core's end. First every future is dropped, here and on every other core, while messages
    /// are still served; when all cores are quiet, the last tasks that came go the same way, and the inbox can close.
    fn end(&self) {
        self.machine.stop();
        self.ending.set(true);
        self.home.cancel_all();
        self.machine.report_quiet();
        while !self.machine.all_quiet() {
            self.work();
            self.wait(Wait::For(Duration::from_millis(100)));
        }
        self.end_state();
    }

    /// This core's loop has failed. What it held is dropped; the others learn of it by the end of its rings.
    fn die(&self) {
        self.mailbox().load.set_standing(Standing::Dead);
        tracing::error!(core = self.mailbox().index, "a core has died; the others go on");
        self.seat.vacate();
        self.ending.set(true);
        self.home.cancel_all();
        self.machine.report_quiet();
        self.end_state();
    }

    /// Drops the state of this core, and what that spawns.
    fn end_state(&self) {
        self.seat.host.close();
        // Dropping core-local state may spawn, and dropping what was spawned may make such state anew.
        loop {
            while let Some(drop_state) = self.take_end() {
                quietly(drop_state);
            }
            self.home.finish_all();
            if self.at_end.borrow().is_empty() {
                break;
            }
        }
        self.publish(); // that no task is left
    }

    /// Has `f` called when this core ends, while its driver still works.
    pub(crate) fn at_end(&self, f: fn()) {
        self.at_end.borrow_mut().push(f);
    }

    fn take_end(&self) -> Option<fn()> {
        self.at_end.borrow_mut().pop()
    }

    /// Tears timers and driver down, after the core has ended. Who waits for them still, on a thread that is no core, is
    /// woken to find that out.
    pub(crate) fn close(self) {
        registry::strike(self.resources.uid);
        let sleepers = self.resources.timers.into_inner().clear();
        sleepers.into_iter().for_each(|sleeper| quietly(|| sleeper.wake()));
        self.resources.reactor.into_inner().close(DRIVER_PATIENCE);
    }
}

/// A turn of the driver.
fn drive(core: &Resources, wait: Wait, woken: &mut Vec<Waker>) {
    if let Err(error) = core.reactor.borrow_mut().turn(wait, woken) {
        panic!("the driver failed: {error}");
    }
}
