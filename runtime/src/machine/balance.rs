//! When tasks that have begun go to another core: the decision alone, without a clock, a thread or a message.
//!
//! Each core has a [`Balancer`] in plain memory. Every [`look`](Balancer::look) brings it what the cores publish now. From
//! two looks it knows how much *demand* each core has: the share of time in which it polls, and by how much its queue delay
//! grows. A core whose demand stands out against the mean gives what is too much to cores below the mean, chosen at random
//! by how much room they have. Whoever has much to give and whoever has room are both counted, so that many givers do not
//! overwhelm one receiver. Nobody takes from a core that does not give.
//!
//! Moving costs, and figures are noise, so a difference counts only if it is larger than a fixed gap and than what the
//! figures' own variance would explain; and what has been given or taken shows in the estimates at once, not when it is
//! published.

use crate::limits;
use crate::machine::estimate::Seen;
pub use crate::machine::estimate::Tuning;
use crate::machine::make_way::LongShare;
pub use crate::machine::make_way::{LongPoll, Way};
use crate::machine::policy::CoreLoad;

/// What a core should do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Nothing.
    Stay,
    /// Hand over a group of tasks.
    Give(Group),
    /// Tell a core that it may hand over: it has more than its share, and this core has room. It decides by itself.
    Ask {
        /// Who is asked.
        from: usize,
    },
}

/// Tasks to hand over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// To whom.
    pub to: usize,
    /// How much of a core's time they should need together, in thousandths. [`choose`] fits tasks to it.
    pub work: u32,
    /// How many at most; as many as have so much work if they are all alike.
    pub tasks: u32,
}

/// A core's part in sharing the work of the Machine. Plain memory of that core.
#[derive(Clone, Debug)]
pub struct Balancer {
    pub(super) own: usize,
    pub(super) tuning: Tuning,
    pub(super) seen: Vec<Seen>,
    /// Where the next look begins.
    cursor: usize,
    /// Whom the last look looked at, after the core itself.
    pub(super) window: Vec<usize>,
    pub(super) now: u64,
    next_look: u64,
    pub(super) next_give: u64,
    next_ask: u64,
    next_even: u64,
    /// Work that arrived with tasks just now and has not proved its weight.
    settles: u64,
    /// Gives that may still follow the last look.
    gives_left: u32,
    pub(super) reserved_until: u64,
    pub(super) long: LongShare,
    /// The CPU of this core has no time left, as far as one knows.
    crowded: bool,
    /// Tasks of the core that could move and were polled lately.
    active: u32,
    looked: bool,
    /// Loads need not be alike as long as tasks wait for no longer, in nanoseconds.
    packed_to: Option<f64>,
}

impl Balancer {
    /// For core `own` of `cores`.
    pub fn new(cores: usize, own: usize) -> Self {
        Self::with(cores, own, Tuning::default())
    }

    /// Tuned otherwise.
    pub fn with(cores: usize, own: usize, tuning: Tuning) -> Self {
        Self {
            own,
            tuning,
            seen: vec![Seen::default(); cores],
            cursor: own,
            window: Vec::new(),
            now: 0,
            next_look: 0,
            next_give: 0,
            next_ask: 0,
            next_even: limits::EVEN_PAUSE.as_nanos() as u64,
            settles: 0,
            gives_left: 0,
            reserved_until: 0,
            long: LongShare::default(),
            crowded: true,
            active: 0,
            looked: false,
            packed_to: None,
        }
    }

    /// For a Machine that fills few cores: this one gives only while tasks wait here for more than so many microseconds.
    pub fn packing(self, micros: u32) -> Self {
        Self { packed_to: Some(f64::from(micros) * 1000.0), ..self }
    }

    /// When to look again, in nanoseconds of the caller's clock. Before that, [`look`](Self::look) says
    /// [`Stay`](Decision::Stay).
    pub fn next_look(&self) -> u64 {
        self.next_look
    }

    /// Looks at what the cores publish at `now`, by index (`load`), and decides. `active` is how many tasks of this core
    /// could move and have been polled since the last look, or an upper bound.
    ///
    /// After a [`Give`](Decision::Give), [`more`](Self::more) says whether somebody else should get some as well.
    pub fn look(&mut self, now: u64, active: u32, load: impl Fn(usize) -> CoreLoad, random: u32) -> Decision {
        if now < self.next_look || self.seen.len() < 2 {
            return Decision::Stay;
        }
        (self.now, self.active) = (now, active);
        self.next_look = now + self.tuning.look;
        self.gives_left = limits::GIVES_PER_LOOK;
        self.window.clear();
        let others = self.seen.len() - 1;
        for _ in 0..others.min(limits::CORES_PER_LOOK) {
            self.cursor = (self.cursor + 1) % self.seen.len();
            if self.cursor == self.own {
                self.cursor = (self.cursor + 1) % self.seen.len();
            }
            self.window.push(self.cursor);
        }
        self.seen[self.own].update(now, load(self.own), &self.tuning);
        for index in 0..self.window.len() {
            let core = self.window[index];
            self.seen[core].update(now, load(core), &self.tuning);
        }
        self.looked = true;
        self.decide(random)
    }

    /// Whether the core that has just given should give to somebody else as well. To be asked until it says
    /// [`Stay`](Decision::Stay), which it does after a few.
    pub fn more(&mut self, random: u32) -> Decision {
        if self.gives_left == 0 || self.next_give <= self.now {
            return Decision::Stay;
        }
        self.give(random)
    }

    /// `from` has handed over `tasks`.
    pub fn took(&mut self, now: u64, from: usize, tasks: u32) {
        self.seen[from].gave(now, &self.tuning);
        self.settles = now + self.tuning.pause;
        self.active += tasks;
    }

    /// Somebody with room asks for tasks. The core may look at once.
    pub fn asked(&mut self, now: u64) {
        self.next_look = self.next_look.min(now);
    }

    /// Whether this core seems to have lost its CPU to another process: [`set_crowded`](Self::set_crowded) should tell, before
    /// the next look, whether that CPU has time left.
    pub fn loses_its_cpu(&self) -> bool {
        self.seen[self.own].is_taken(&self.tuning)
    }

    /// Whether the CPU of this core has no time left. If it has, whoever took some will not stay in the way for long, and is
    /// more likely somebody that this core serves. Taken to be so until one is told.
    pub fn set_crowded(&mut self, is_crowded: bool) {
        self.crowded = is_crowded;
    }

    /// The demand that a core seems to have, in thousandths of a core.
    pub fn demand(&self, core: usize) -> u32 {
        (self.seen[core].demand * 1000.0) as u32
    }

    fn decide(&mut self, random: u32) -> Decision {
        if self.now < self.next_give || self.now < self.settles || self.seen[self.own].looks < MIN_LOOKS {
            return Decision::Stay;
        }
        match self.give(random) {
            Decision::Stay => self.ask(random),
            decision => decision,
        }
    }

    fn give(&mut self, random: u32) -> Decision {
        let own = self.seen[self.own];
        if self.active == 0 {
            return Decision::Stay;
        }
        if self.crowded && own.is_taken(&self.tuning) {
            // Here every task waits for the other process, so the whole of it goes, as far as there is room where less is lost.
            let loses_less = |seen: &Seen| own.lost - seen.lost >= self.tuning.lost;
            let targets = self.targets(|seen| if loses_less(seen) { ROOMY - seen.demand } else { 0.0 });
            if let Some(decision) = self.hand_over(&targets, own.demand.max(0.05), 1.0, random) {
                return decision;
            }
        }
        if self.active < 2 || self.is_reserved(self.now) && own.demand < ROOMY {
            return Decision::Stay;
        }
        if let Some(wait) = self.packed_to {
            return self.overflow(wait, random);
        }
        let (mean, excess_of_all) = self.mean_and_excess();
        let excess = own.demand - mean;
        let error = (own.error(&self.tuning) + self.mean_error()) * self.tuning.sigmas;
        // Where there is no slack, the same excess costs more: a queue that grows for as long as it lasts.
        let gap = if own.demand >= FULL { self.tuning.gap / 2.0 } else { self.tuning.gap };
        if excess > gap.max(error) {
            let targets = self.targets(|seen| mean - seen.demand);
            // What the givers have too much is as much as the receivers have room; if some may not receive, all give less.
            let room: f64 = targets.iter().map(|target| target.1).sum();
            let share = if excess_of_all > 0.0 { (room / excess_of_all).min(1.0) } else { 1.0 };
            if let Some(decision) = self.hand_over(&targets, excess * share, ROUND_UP, random) {
                return decision;
            }
        }
        self.even_out(random)
    }

    /// What makes tasks wait for longer than `most` goes to the first core that has room, so that few are filled. If the core is
    /// not always busy, that is tried slowly.
    fn overflow(&mut self, most: f64, random: u32) -> Decision {
        let own = self.seen[self.own];
        // The mean is slow to tell that it has helped.
        let wait = own.wait.min(own.load.delay as f64 + own.poll);
        if wait <= most || own.demand < FULL && self.now < self.next_even {
            return Decision::Stay;
        }
        let targets = self.targets(|seen| if seen.wait <= most { ROOMY - seen.demand } else { 0.0 });
        let first = targets.into_iter().min_by_key(|(core, _)| *core);
        let work = (own.demand - ROOMY).max(own.demand * MOST_EVENED);
        self.next_even = self.now + limits::EVEN_PAUSE.as_nanos() as u64;
        self.hand_over(first.as_slice(), work, ROUND_UP, random).unwrap_or(Decision::Stay)
    }

    /// Of a core that is always busy, demand does not tell how much it has too much: who waits for an answer sends no further
    /// request, and requests wait unseen. What tells it is how long tasks wait. It is made alike slowly, for a wait may also
    /// be what is left of a burst.
    fn even_out(&mut self, random: u32) -> Decision {
        let own = self.seen[self.own];
        if !own.is_busy_with(limits::UNEVEN_WAIT) || self.now < self.next_even {
            return Decision::Stay;
        }
        let is_behind = |seen: &Seen| seen.wait * 1.5 < own.wait;
        let targets = self.targets(|seen| if is_behind(seen) { own.wait - seen.wait } else { 0.0 });
        let Some((to, less)) = self.pick(&targets, random) else { return Decision::Stay };
        let share = (less / own.wait / 2.0).min(MOST_EVENED);
        let tasks = (f64::from(self.active) * share) as u32;
        self.next_even = self.now + limits::EVEN_PAUSE.as_nanos() as u64;
        self.commit(to, own.demand * share, tasks.min(self.worth(share)))
    }

    fn hand_over(
        &mut self,
        targets: &[(usize, f64)],
        work: f64,
        round_up: f64,
        random: u32,
    ) -> Option<Decision> {
        let (to, room) = self.pick(targets, random)?;
        let each = self.seen[self.own].demand.max(0.001) / f64::from(self.active);
        let work = work.min(room * self.speed_of(to));
        let mut tasks = (work / each + round_up) as u32;
        if tasks == 0 && self.seen[self.own].demand - self.seen[to].demand > each * (2.0 - round_up) {
            tasks = 1; // more than the room that is the target's share, but it will still have less to do than this core
        }
        if self.seen[to].avoided > 0 {
            tasks = tasks.min(1 + self.active / 8); // its CPU was taken, and may be still: some go ahead and look
        }
        let tasks = tasks.min(self.active).min(self.worth(work));
        (tasks > 0).then(|| self.commit(to, work.max(each * f64::from(tasks)), tasks))
    }

    /// How many tasks may move if that takes so much work off this core: moving must earn what it costs.
    fn worth(&self, work: f64) -> u32 {
        (work * self.tuning.lasting as f64 / self.tuning.cost.max(1) as f64) as u32
    }

    /// What is given shows in the estimates at once; the published figures follow.
    fn commit(&mut self, to: usize, work: f64, tasks: u32) -> Decision {
        if tasks == 0 {
            return Decision::Stay;
        }
        let moved = work.min(self.seen[self.own].demand);
        self.seen[self.own].demand -= moved;
        self.seen[to].demand += moved / self.speed_of(to);
        let settles = self.now + self.tuning.pause;
        (self.seen[self.own].settles, self.seen[to].settles) = (settles, settles);
        let kept = 1.0 - f64::from(tasks) / f64::from(self.active.max(1));
        let wait = self.seen[self.own].wait;
        self.seen[self.own].wait *= kept;
        self.seen[to].wait += wait * (1.0 - kept);
        self.active -= tasks;
        self.gives_left -= 1;
        self.next_give = self.now + self.tuning.pause;
        Decision::Give(Group { to, work: ((work * 1000.0) as u32).max(1), tasks })
    }

    fn ask(&mut self, random: u32) -> Decision {
        let own = self.seen[self.own];
        if self.now < self.next_ask || own.is_taken(&self.tuning) || self.is_reserved(self.now) {
            return Decision::Stay;
        }
        let (now, tuning) = (self.now, self.tuning);
        let asked = |core: &usize| {
            let seen = &self.seen[*core];
            let is_late = seen.is_stuck(now) && seen.load.tasks > 1;
            (is_late && seen.demand.max(1.0) - own.demand > 2.0 * tuning.gap).then_some((*core, 1.0))
        };
        let from: Vec<_> = self.window.iter().filter_map(asked).collect();
        let Some((from, _)) = self.pick(&from, random) else { return Decision::Stay };
        self.next_ask = now + limits::ASK_PAUSE.as_nanos() as u64;
        Decision::Ask { from }
    }

    /// Who may receive, with its room, if it has any.
    pub(super) fn targets(&self, room: impl Fn(&Seen) -> f64) -> Vec<(usize, f64)> {
        let is_late = self.seen[self.own].is_busy_with(limits::LATE);
        let may = |core: &&usize| {
            let seen = &self.seen[**core];
            let is_known = seen.looks >= 2 || seen.load.parked;
            // For those who wait long, part of a CPU that others use is better than nothing.
            let is_left_alone = seen.avoided_until > self.now || seen.no_way_back > self.now;
            let would_help = !is_left_alone || is_late && seen.demand < HALF;
            seen.load.takes_tasks && is_known && would_help && !seen.is_stuck(self.now)
        };
        let with_room = self.window.iter().filter(may).map(|core| (*core, room(&self.seen[*core])));
        with_room.filter(|target| target.1 > 0.0).collect()
    }

    /// One of them, the likelier the more room it has and if it is near.
    fn pick(&self, targets: &[(usize, f64)], random: u32) -> Option<(usize, f64)> {
        let weight =
            |(core, room): &(usize, f64)| if self.is_far(*core) { *room } else { *room * limits::NEAR_TIMES };
        let all: f64 = targets.iter().map(weight).sum();
        let mut point = f64::from(random) / (f64::from(u32::MAX) + 1.0) * all;
        for target in targets {
            point -= weight(target);
            if point < 0.0 {
                return Some(*target);
            }
        }
        targets.last().copied()
    }

    pub(super) fn is_far(&self, core: usize) -> bool {
        self.seen[core].load.is_far_from(&self.seen[self.own].load)
    }

    /// How many times as fast as here work is done there.
    pub(super) fn speed_of(&self, core: usize) -> f64 {
        self.seen[core].load.speed_beside(&self.seen[self.own].load)
    }

    /// The mean demand of those who share the work, this core among them, and by how much they exceed it in all.
    fn mean_and_excess(&self) -> (f64, f64) {
        let shares = |core: &&usize| {
            let seen = &self.seen[**core];
            let has_part = seen.load.takes_tasks || seen.load.tasks > 0 && !seen.load.is_reserved;
            (seen.looks >= 2 || seen.load.parked) && has_part
        };
        let all = || self.window.iter().filter(shares).chain([&self.own]).map(|core| self.seen[*core].demand);
        let mean = all().sum::<f64>() / all().count() as f64;
        (mean, all().map(|demand| (demand - mean).max(0.0)).sum())
    }

    /// The standard error of the others' mean.
    fn mean_error(&self) -> f64 {
        let sum: f64 = self.window.iter().map(|core| self.seen[*core].error(&self.tuning).powi(2)).sum();
        sum.sqrt() / self.window.len().max(1) as f64
    }
}

/// Estimates of fewer looks say nothing.
const MIN_LOOKS: u32 = 3;

/// A core with more demand than this counts as busy all the time.
pub(super) const FULL: f64 = 0.95;

/// A core with less is one that helps those who wait, whatever was seen of it before.
const HALF: f64 = 0.5;

/// A core that is drained fills others up to here and no further: beyond, their queues would be worse than half a CPU.
pub(super) const ROOMY: f64 = 0.8;

/// The share of its tasks that a core gives at once because they wait, but for what is too much for any core.
const MOST_EVENED: f64 = 0.15;

/// A task that fits in but for so much of itself may go: estimates are not exact.
const ROUND_UP: f64 = 0.25;

/// Which tasks make up a group: calls `give` with the place of each in `weights`. A weight is the share of a core's time that
/// the task took lately, in thousandths, where it is known.
///
/// Heavier ones go first, as far as they fit, for then few move. One that is heavier than the group's work stays: it would
/// only take the trouble elsewhere. A task of unknown weight counts as an equal part of what the group should have.
pub fn choose(weights: &[Option<u32>], group: &Group, mut give: impl FnMut(usize)) {
    let each = group.work / group.tasks.max(1);
    let mut order: Vec<_> =
        weights.iter().enumerate().map(|(at, weight)| (weight.unwrap_or(each), at)).collect();
    order.sort_unstable_by_key(|&(weight, at)| (std::cmp::Reverse(weight), at));
    let (mut work, mut tasks) = (group.work, group.tasks);
    for (weight, at) in order {
        if tasks > 0 && weight <= work {
            give(at);
            work -= weight;
            tasks -= 1;
        }
    }
}
