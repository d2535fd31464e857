//! A core's part in sharing the work of the Machine: when it looks what the others have to do, and carries out what
//! [`Balancer`] and [`Placer`] decide.

use std::cell::{Cell, RefCell};

use super::Core;
use super::crowding::Crowding;
use crate::limits::{GIVE_PAUSE, GIVES_PER_LOOK, KNOWN_POLLS, SHARE_WINDOW};
use crate::machine::balance::{Balancer, Decision, Group, LongPoll, Way};
use crate::machine::mailbox::{Mailbox, Standing};
use crate::machine::placer::{Newcomer, Placer};
use crate::machine::policy::Placement;
use crate::machine::{Machine, call, placement};
use crate::time::Instant;

pub(super) struct Sharing {
    /// None if tasks stay where they are.
    balancer: Option<RefCell<Balancer>>,
    placer: RefCell<Placer>,
    /// Groups that are to go. Tasks are handed over when they are woken, so a group may take a few turns.
    giving: RefCell<Vec<Giving>>,
    /// Polls there had been at the last look.
    polls: Cell<u64>,
    /// When the next window begins in which the tasks' shares are counted.
    next_window: Cell<u64>,
    crowding: Crowding,
}

struct Giving {
    to: usize,
    left: u32,
    /// How much may go, in thousandths of what the core polls.
    share: u32,
    /// What one of them counts for at least.
    each: u32,
    /// Whoever has not been woken by then stays.
    until: u64,
}

impl Giving {
    /// Whether a task that has so much of what the core polls belongs to the group.
    fn takes(&mut self, share: u32) -> bool {
        // What has more than is to go would only take the trouble elsewhere. Estimates are not exact, so it may be a little
        // more.
        let goes = self.left > 0 && share - share / 4 <= self.share;
        if goes {
            self.left -= 1;
            self.share = self.share.saturating_sub(share.max(self.each));
        }
        goes
    }
}

impl Sharing {
    pub(super) fn new(machine: &Machine, index: usize) -> Self {
        let cores = machine.cores.len();
        let shares = machine.balancing && cores > 1;
        let balancer = || match machine.placement {
            Placement::Pack { micros } => Balancer::new(cores, index).packing(micros),
            _ => Balancer::new(cores, index),
        };
        Self {
            balancer: shares.then(|| RefCell::new(balancer())),
            placer: RefCell::new(Placer::new(cores, index)),
            giving: RefCell::default(),
            polls: Cell::new(0),
            next_window: Cell::new(0),
            crowding: Crowding::default(),
        }
    }
}

impl Core {
    /// Looks at what the others have to do, if it is time to, and hands tasks over. Between turns of polls, when what the driver
    /// has woken is in the queue.
    pub(super) fn share_work(&self) {
        let Some(balancer) = &self.sharing.balancer else { return };
        let now = self.tally.now().as_nanos();
        if !self.sharing.giving.borrow().is_empty() {
            self.give(now);
        }
        if now < balancer.borrow().next_look() {
            return;
        }
        self.stays_reserved(self.tally.now());
        if self.mailbox().load.standing() == Standing::Member && !self.ending.get() {
            self.look(&mut balancer.borrow_mut(), now);
        }
    }

    #[inline(never)] // every few milliseconds
    fn look(&self, balancer: &mut Balancer, now: u64) {
        let (wakes, polls) = self.home.wakes_and_polls();
        // Polled since the last look, or waiting for it: on a busy core that has many, not all have had their turn.
        let lately = polls - self.sharing.polls.replace(polls) + (wakes - polls);
        let active = self.home.pending().min(u32::try_from(lately).unwrap_or(u32::MAX));
        if now >= self.sharing.next_window.get() {
            self.sharing.next_window.set(now + SHARE_WINDOW.as_nanos() as u64);
            self.home.begin_window();
        }
        if balancer.loses_its_cpu() {
            balancer.set_crowded(self.sharing.crowding.has_no_time_left());
        }
        let load = |core: usize| placement::load_of(&self.machine.cores[core]);
        let mut decision = balancer.look(now, active, load, self.random());
        while let Decision::Give(Group { to, work, tasks }) = decision {
            let mut giving = self.sharing.giving.borrow_mut();
            if giving.len() < GIVES_PER_LOOK as usize {
                // What is given has been taken off the demand already.
                let share = work * 1000 / (balancer.demand(self.mailbox().index as usize) + work);
                let until = now + GIVE_PAUSE.as_nanos() as u64;
                let each = self.least_share(active).max(share / tasks);
                giving.push(Giving { to, left: tasks, share, each, until });
            }
            decision = balancer.more(self.random());
        }
        if let Decision::Ask { from } = decision {
            self.ask_for_work(from);
        }
    }

    fn ask_for_work(&self, from: usize) {
        // Refused: it has ended.
        let _ = call::post(&self.machine.cores[from], |_| {
            super::with(|core| core.expect("delivered on a core").asked_for_work());
        });
    }

    /// What a task counts for at least. Soon after a load begins it is not known whose it is; but those that wait now are likely
    /// those that make it.
    fn least_share(&self, active: u32) -> u32 {
        let is_known = self.home.polls_counted() >= u64::from(active * KNOWN_POLLS);
        if is_known { 0 } else { 1000 / self.home.queued().clamp(1, 1000) as u32 }
    }

    /// Hands over what is in the queue now, as far as it is to go.
    fn give(&self, now: u64) {
        let mut giving = self.sharing.giving.borrow_mut();
        giving.retain_mut(|group| {
            let target = &*self.machine.cores[group.to];
            let gone = self.home.hand_over_by_share(|share| {
                (target.load.takes_tasks() && group.takes(share)).then_some(target)
            });
            if gone > 0 {
                self.tell_of(target, gone as u32);
            }
            group.left > 0 && now < group.until
        });
    }

    pub(super) fn tell_of(&self, target: &Mailbox, tasks: u32) {
        let from = self.mailbox().index as usize;
        // Refused: it has ended, and nobody shares anything with it any more.
        let _ = call::post(target, move |_| {
            super::with(|core| core.expect("delivered on a core").took(from, tasks));
        });
    }

    fn took(&self, from: usize, tasks: u32) {
        if let Some(balancer) = &self.sharing.balancer {
            balancer.borrow_mut().took(Instant::system().as_nanos(), from, tasks);
        }
    }

    fn asked_for_work(&self) {
        if let Some(balancer) = &self.sharing.balancer {
            balancer.borrow_mut().asked(self.tally.now().as_nanos());
        }
    }

    /// Whether tasks of this core may go to others for the sake of balance.
    pub(super) fn shares(&self) -> bool {
        self.sharing.balancer.is_some()
    }

    /// What to do before a long poll.
    pub(super) fn way_before(&self, now: u64, poll: LongPoll) -> Way {
        let is_member = self.mailbox().load.standing() == Standing::Member && !self.ending.get();
        let balancer = self.sharing.balancer.as_ref().filter(|_| is_member);
        balancer
            .map_or(Way::Stay, |balancer| balancer.borrow_mut().before_long_poll(now, poll, self.random()))
    }

    pub(super) fn note_long_poll(&self, now: u64, took: u64) {
        self.sharing.balancer.iter().for_each(|balancer| balancer.borrow_mut().note_long_poll(now, took));
    }

    /// In nanoseconds of the clock.
    pub(super) fn reserved_until(&self) -> u64 {
        self.sharing.balancer.as_ref().map_or(0, |balancer| balancer.borrow().reserved_until())
    }

    /// Where a new task goes.
    pub(crate) fn place(&self, policy: Placement, what: Newcomer) -> &Mailbox {
        let load = |core: usize| placement::load_of(&self.machine.cores[core]);
        let now = Instant::system().as_nanos();
        let chosen = self.sharing.placer.borrow_mut().choose(now, policy, what, load, self.random());
        &self.machine.cores[chosen.index()]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::limits::LOOK_PAUSE;
    use crate::machine::CoreId;
    use crate::machine::builder::Builder;
    use crate::machine::policy::CoreLoad;
    use crate::machine::runtime::Handle;
    use crate::spawn_on;
    use crate::task::{JoinSet, yield_now};
    use crate::time::{Duration, timeout};

    fn taken(tasks: u32, share: u32, shares: &[u32]) -> Vec<u32> {
        let mut group = Giving { to: 1, left: tasks, share, each: share / tasks, until: 0 };
        shares.iter().copied().filter(|share| group.takes(*share)).collect()
    }

    #[test]
    fn no_more_goes_than_is_to_go() {
        // Seven tasks make the load, and wait in the queue when a half of it is to go: fourteen of forty tasks if all were alike.
        assert_eq!(taken(14, 500, &[140, 140, 2, 140, 140, 3, 140, 140, 140]), [140, 140, 2, 140, 3]);
        assert_eq!(taken(4, 500, &[125; 9]), [125; 4]);
        assert_eq!(taken(9, 200, &[700, 30, 700]), [30]);
        assert_eq!(taken(1, 450, &[480]), [480], "about as much");
    }

    #[test]
    fn while_shares_are_unknown_the_queue_tells_what_one_is() {
        let mut group = Giving { to: 1, left: 17, share: 550, each: 100, until: 0 };
        assert_eq!([4; 10].into_iter().filter(|share| group.takes(*share)).count(), 6);
    }

    #[test]
    fn of_those_that_do_little_as_many_go_as_was_said() {
        assert_eq!(taken(3, 300, &[0; 9]), [0; 3]);
    }

    /// Of a core that is always busy, beside one that sleeps, and does not look again for an hour unless it is asked to.
    fn patient() -> Balancer {
        let mut balancer = Balancer::new(2, 0);
        let (look, mut own) = (LOOK_PAUSE.as_nanos() as u64, CoreLoad::default());
        own.takes_tasks = true;
        let other = CoreLoad { parked: true, ..own };
        let later = Instant::system().as_nanos() + 3_600_000_000_000;
        for number in 0..100 {
            (own.busy, own.polls) = (own.busy + look, own.polls + 100);
            let load = |core: usize| if core == 0 { own } else { other };
            // It has nothing that it could give.
            assert_eq!(balancer.look(later + number * look, 0, load, 0), Decision::Stay);
        }
        balancer
    }

    #[test]
    fn a_core_that_is_asked_for_work_gives_some() {
        let run = Builder::new_test().cores(2).balancing(true).run(|| async {
            crate::executor::with(|core| {
                let balancer = core.expect("on a core").sharing.balancer.as_ref();
                *balancer.expect("this Machine shares").borrow_mut() = patient();
            });
            let mut tasks = JoinSet::new();
            for _ in 0..8 {
                tasks.spawn(async {
                    loop {
                        yield_now().await;
                    }
                });
            }
            let moved = || Handle::current().metrics().core(CoreId::new(0)).moved;
            for _ in 0..10_000 {
                yield_now().await;
            }
            assert_eq!(moved(), 0, "nobody has asked");
            let ask = || async {
                crate::executor::with(|core| core.expect("on a core").ask_for_work(0));
            };
            spawn_on(CoreId::new(1), ask).await.expect("it asks");
            let gives = async {
                while moved() == 0 {
                    yield_now().await;
                }
            };
            timeout(Duration::from_secs(60), gives).await.expect("it gives nothing");
        });
        run.expect("a Machine");
    }
}
