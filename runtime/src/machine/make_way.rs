//! What a core does before a poll that is known to be long: the decision alone, as all of [`Balancer`].
//!
//! Whatever is queued behind such a poll waits for the end of it, and so does what is woken meanwhile. Nobody can take it from
//! there, but the core can send it away before. Three things may help, the better ones first:
//!
//! 1. *The task goes* to a core that has cleared itself for such tasks, since they hardly mind waiting for each other, or that
//!    has nothing to do and a faster CPU.
//! 2. *All others go*, also those that wait for something, and the core is **reserved** for long polls while these go on.
//!    That costs the Machine the rest of this core, so it is done only if waiting gets less by it, by the formula of Pollaczek
//!    and Khinchine: long polls of length `L` that take the share `s` of a core make the others there wait for `s L / 2` on
//!    average, and a core with more demand makes everybody wait for longer.
//! 3. *Those that are queued go* to cores that have nothing to do.

use crate::limits;
use crate::machine::balance::{Balancer, Group, ROOMY};
use crate::machine::estimate::Seen;

/// A task that is due, whose polls are known to be long.
#[derive(Clone, Copy, Debug)]
pub struct LongPoll {
    /// How long, about, in nanoseconds.
    pub expected: u64,
    /// Whether it may go to another core itself.
    pub is_movable: bool,
    /// How many tasks are queued behind it. Some may have to stay.
    pub queued: u32,
    /// How many others there are on the core, those included.
    pub others: u32,
}

/// What a core does before a poll that is known to be long.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// Nothing.
    Stay,
    /// The task itself goes, to a core that is reserved for such tasks or has a faster CPU.
    Follow {
        /// To whom.
        to: usize,
    },
    /// The tasks that are queued behind it go to these cores, in equal parts.
    ClearQueue {
        /// Cores that have nothing to do.
        to: Vec<usize>,
    },
    /// All others go, and the core is reserved.
    ClearAll {
        /// How many to whom.
        groups: Vec<Group>,
    },
}

/// The share of time that long polls take, of a core.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LongShare {
    share: f64,
    at: u64,
}

impl LongShare {
    fn at(self, now: u64) -> f64 {
        let passed = now.saturating_sub(self.at) as f64;
        self.share * (-passed / RESERVED).exp()
    }

    fn add(&mut self, now: u64, took: u64) {
        *self = Self { share: (self.at(now) + took as f64 / RESERVED).min(1.0), at: now };
    }
}

/// Time constant of the share, and how long a core is reserved.
const RESERVED: f64 = limits::RESERVED.as_nanos() as f64;

/// Tasks of long polls are gathered on one core up to so much demand.
const GATHERED: f64 = 0.6;

impl Balancer {
    /// A poll was long, and `took` so many nanoseconds.
    pub fn note_long_poll(&mut self, now: u64, took: u64) {
        self.long.add(now, took);
    }

    /// Before the core polls a task whose polls are known to be long: who leaves first, and where to.
    pub fn before_long_poll(&mut self, now: u64, poll: LongPoll, random: u32) -> Way {
        if poll.expected < self.tuning.long || self.seen[self.own].looks < 2 {
            return Way::Stay;
        }
        self.now = now;
        if let Some(to) = self.gathers().or_else(|| self.faster()).filter(|_| poll.is_movable) {
            return Way::Follow { to };
        }
        let targets = self.targets(|seen| ROOMY - seen.demand);
        if self.is_worth_a_core(poll.expected, &targets) {
            self.reserved_until = now + limits::RESERVED.as_nanos() as u64;
            let groups = self.clear(poll.others, &targets);
            return if groups.is_empty() { Way::Stay } else { Way::ClearAll { groups } };
        }
        if poll.queued == 0 || poll.expected < 2 * self.tuning.cost {
            return Way::Stay;
        }
        let mut to: Vec<_> = self.targets(|seen| if seen.has_nothing_to_do() { 1.0 } else { 0.0 });
        if to.is_empty() {
            return Way::Stay;
        }
        let first = random as usize % to.len();
        to.rotate_left(first);
        to.sort_by_key(|(core, _)| self.is_far(*core)); // stable
        Way::ClearQueue { to: to.into_iter().map(|(core, _)| core).collect() }
    }

    /// Whether the core has cleared itself for long polls and should be seen as one that takes no tasks.
    pub fn is_reserved(&self, now: u64) -> bool {
        now < self.reserved_until
    }

    /// Until when, in nanoseconds of the caller's clock.
    pub fn reserved_until(&self) -> u64 {
        self.reserved_until
    }

    /// A core that is reserved already and has room for what is long here.
    fn gathers(&self) -> Option<usize> {
        let share = self.long.at(self.now);
        let own = self.is_reserved(self.now);
        let may = |core: &usize| {
            let seen = &self.seen[*core];
            let is_free = seen.load.is_reserved && seen.no_way_back <= self.now && !seen.is_stuck(self.now);
            // Of two that are reserved, one is enough for both: the one of the lower number.
            is_free && seen.demand + share <= GATHERED && (!own || *core < self.own)
        };
        let all = self.window.iter().copied().filter(may);
        all.min_by(|one, other| self.seen[*one].demand.total_cmp(&self.seen[*other].demand))
    }

    /// A core on a faster CPU that has nothing to do. The fastest, and a near one of those that are alike.
    fn faster(&self) -> Option<usize> {
        let is_faster = |seen: &Seen| seen.load.speed_beside(&self.seen[self.own].load) >= limits::FASTER;
        let targets =
            self.targets(|seen| if seen.has_nothing_to_do() && is_faster(seen) { 1.0 } else { 0.0 });
        let fastest = targets.into_iter().max_by(|(one, _), (other, _)| {
            let by_speed = self.speed_of(*one).total_cmp(&self.speed_of(*other));
            by_speed.then_with(|| self.is_far(*other).cmp(&self.is_far(*one)))
        });
        fastest.map(|(core, _)| core)
    }

    /// Whether waiting gets less if the others go to `targets`, of which this gives the room.
    fn is_worth_a_core(&self, expected: u64, targets: &[(usize, f64)]) -> bool {
        let (own, share) = (self.seen[self.own].demand, self.long.at(self.now));
        if targets.is_empty() {
            return false;
        }
        if self.is_reserved(self.now) {
            return true; // while there is room elsewhere
        }
        let work = (own - share).max(LEAST_WORK);
        let room: f64 = targets.iter().map(|target| target.1).sum();
        if work > room {
            return false;
        }
        let gain = work * share * expected as f64 / 2.0 / (1.0 - own.min(FULL));
        let wait = |demand: f64| demand * demand / (1.0 - demand.min(FULL));
        let loss = targets.iter().map(|(core, its)| {
            let seen = &self.seen[*core];
            seen.poll * (wait(seen.demand + work * its / room) - wait(seen.demand))
        });
        gain > loss.sum()
    }

    /// Parts `others` among the targets by their room.
    fn clear(&mut self, others: u32, targets: &[(usize, f64)]) -> Vec<Group> {
        let room: f64 = targets.iter().map(|target| target.1).sum();
        let work = (self.seen[self.own].demand - self.long.at(self.now)).max(LEAST_WORK);
        let (mut groups, mut given, mut part) = (Vec::new(), 0, 0.0);
        let settles = self.now + self.tuning.pause;
        for (to, its) in targets {
            part += its / room;
            let tasks = ((f64::from(others) * part).round() as u32).min(others) - given;
            if tasks == 0 {
                continue;
            }
            given += tasks;
            let moved = work * its / room;
            self.seen[*to].demand += moved;
            self.seen[*to].settles = settles;
            groups.push(Group { to: *to, work: ((moved * 1000.0) as u32).max(1), tasks });
        }
        if given > 0 {
            self.seen[self.own].demand = (self.seen[self.own].demand - work).max(0.0);
            self.seen[self.own].settles = settles;
            self.next_give = settles;
        }
        groups
    }
}

/// What others do on a core is taken to be so much at least: where long polls fill it, they do not get to do more.
const LEAST_WORK: f64 = 0.02;

/// Demand that is above this makes no wait longer than that does: it cannot last.
const FULL: f64 = 0.97;
