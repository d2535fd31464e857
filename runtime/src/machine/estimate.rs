//! What a core makes of the figures that others publish: estimates, and how far they can be trusted.

use std::time::Duration;

use crate::limits;
use crate::machine::balance::FULL;
use crate::machine::policy::CoreLoad;

/// What decides how quickly and how willingly a core gives. [`Default`] is what ships; the simulator tries others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Nanoseconds between two looks.
    pub look: u64,
    /// Nanoseconds after a give before the next.
    pub pause: u64,
    /// Time constant of the estimates, in nanoseconds.
    pub smoothing: u64,
    /// But over so many polls at least.
    pub polls: f64,
    /// How much demand varies by chance: 1 if polls are distributed exponentially and tasks are woken at random.
    pub chance: f64,
    /// Time constant of how much single looks differ, in nanoseconds.
    pub memory: u64,
    /// A difference to the mean below this is let be, in shares of a core.
    pub gap: f64,
    /// A difference counts if it is so many times its own standard error.
    pub sigmas: f64,
    /// What moving a task costs, in nanoseconds.
    pub cost: u64,
    /// For how long a difference is taken to last, in nanoseconds: so long a move has time to earn what it costs.
    pub lasting: u64,
    /// For so many nanoseconds nothing goes back to a core that has given, if it has not done so for long.
    pub back: u64,
    /// And for so many however often it does.
    pub longest_back: u64,
    /// A core that loses more than this share of its time to others is drained.
    pub lost: f64,
    /// A poll that takes so many nanoseconds is long. The most that there is: none is.
    pub long: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            look: limits::LOOK_PAUSE.as_nanos() as u64,
            pause: limits::GIVE_PAUSE.as_nanos() as u64,
            smoothing: limits::LOAD_SMOOTHING.as_nanos() as u64,
            polls: f64::from(limits::SMOOTHED_POLLS),
            chance: f64::from(limits::CHANCE_PERCENT) / 100.0,
            memory: limits::NOISE_SMOOTHING.as_nanos() as u64,
            gap: f64::from(limits::GAP_PERCENT) / 100.0,
            sigmas: f64::from(limits::GAP_SIGMAS),
            cost: limits::MOVE_COST.as_nanos() as u64,
            lasting: limits::GAP_LASTS.as_nanos() as u64,
            back: limits::NO_WAY_BACK.as_nanos() as u64,
            longest_back: limits::LONGEST_NO_WAY_BACK.as_nanos() as u64,
            lost: f64::from(limits::LOST_PERCENT) / 100.0,
            long: limits::LONG_POLL.as_nanos() as u64,
        }
    }
}

/// What one core makes of another's figures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) load: CoreLoad,
    pub(super) at: u64,
    /// How many looks have made the estimates.
    pub(super) looks: u32,
    /// Shares of a core: more than one if its queue grows.
    pub(super) demand: f64,
    /// The variance of what single looks say of the demand.
    pub(super) variance: f64,
    /// The share of time in which it was awake.
    busy: f64,
    /// The share of time lost to other processes. Kept while the core has nothing to run and so cannot lose any.
    pub(super) lost: f64,
    /// It loses much, or did so lately: nothing goes there until then.
    pub(super) avoided_until: u64,
    /// For how long it is avoided: the longer the more often it turns out that its CPU is still taken.
    pub(super) avoided: u64,
    /// The mean length of a poll, in nanoseconds.
    pub(super) poll: f64,
    /// Smoothed, in nanoseconds, with the poll itself: what a task waits until it has been polled.
    pub(super) wait: f64,
    /// Since when it has published nothing although it does not sleep.
    pub(super) silent_since: u64,
    /// It has given this core tasks, which go nowhere near it until then.
    pub(super) no_way_back: u64,
    /// For how long they did not the last time.
    back: u64,
    /// It was given tasks, or gave some: until then its figures may be from before.
    pub(super) settles: u64,
}

impl Seen {
    pub(super) fn update(&mut self, now: u64, load: CoreLoad, tuning: &Tuning) {
        let old = self.load;
        let passed = now.saturating_sub(self.at);
        if self.looks > 0 && passed < tuning.look / 4 {
            return;
        }
        (self.load, self.at) = (load, now);
        let speaks = load.parked || load.polls != old.polls || load.busy != old.busy || load.tasks == 0;
        if speaks || self.looks == 0 {
            self.silent_since = now;
        }
        if now < self.settles {
            return;
        }
        self.looks += 1;
        if self.looks == 1 {
            return;
        }
        let passed = passed as f64;
        let nanos = |new: u64, old: u64| new.wrapping_sub(old) as f64;
        let polls = load.polls.wrapping_sub(old.polls);
        if polls > 0 {
            let poll = nanos(load.busy, old.busy) / polls as f64;
            self.poll += if self.poll > 0.0 { (poll - self.poll) / 8.0 } else { poll };
        }
        let busy = (nanos(load.busy, old.busy) / passed).clamp(0.0, 1.0);
        self.learn_demand(busy, (load.delay as f64 - old.delay as f64) / passed, passed, tuning);
        let slow = 1.0 - (-passed / limits::EVEN_PAUSE.as_nanos() as f64).exp();
        self.wait += slow * (load.delay as f64 + self.poll - self.wait);
        let lost = (nanos(load.run_delay, old.run_delay) / passed).clamp(0.0, 2.0);
        self.learn_loss(busy, lost, passed, tuning);
    }

    fn learn_demand(&mut self, busy: f64, growth: f64, passed: f64, tuning: &Tuning) {
        // Below zero too: a delay that comes and goes must leave no trace.
        let grows = (busy + growth).clamp(-MOST_DEMAND, MOST_DEMAND);
        let demand = if self.is_stuck(self.at) { 1.0 } else { grows };
        let off = demand - self.demand;
        self.demand = (self.demand + self.part(passed, tuning) * off).max(0.0);
        // A step is no noise: whatever the mean has to catch up with counts as so much at most.
        let noise = off.clamp(-MOST_NOISE, MOST_NOISE);
        // However long the core has slept: what is known fades, and this is one look among others.
        let kept = |time: f64| (-time / tuning.memory as f64).exp();
        let one = 1.0 - kept(passed.min(tuning.look as f64));
        self.variance = kept(passed) * self.variance + one * noise * noise;
    }

    /// The weight of a look. The first estimates are means, so that a core is known soon after the start.
    fn part(&self, passed: f64, tuning: &Tuning) -> f64 {
        let first = 1.0 / f64::from(self.looks.saturating_sub(1).max(1));
        (1.0 - (-passed / self.smoothing(tuning)).exp()).max(first)
    }

    fn learn_loss(&mut self, busy: f64, lost: f64, passed: f64, tuning: &Tuning) {
        // A core that does not run loses no time. So that tells nothing, and what was known fades slowly.
        let fresh = 1.0 - (-passed / tuning.smoothing as f64).exp();
        let part = if lost > self.lost { fresh } else { fresh * (busy + lost).min(1.0) };
        self.lost += part * (lost - self.lost);
        self.lost *= (-passed / limits::LOST_FADES.as_nanos() as f64).exp();
        self.busy += fresh * (busy - self.busy);
        if self.is_taken(tuning) && self.avoided_until <= self.at {
            let most = limits::LONGEST_AVOIDED.as_nanos() as u64;
            self.avoided = (self.avoided * 2).clamp(limits::AVOIDED.as_nanos() as u64, most);
            self.avoided_until = self.at + self.avoided;
        } else if self.at > self.avoided_until + 2 * self.avoided {
            self.avoided = 0; // it has kept its CPU for as long as that, with tasks again
        }
    }

    /// It has given this core tasks. What goes to and fro does so ever more slowly.
    pub(super) fn gave(&mut self, now: u64, tuning: &Tuning) {
        if now >= self.no_way_back {
            let is_forgotten = now >= self.no_way_back + 2 * self.back;
            self.back = if is_forgotten { tuning.back } else { (2 * self.back).min(tuning.longest_back) };
        }
        self.no_way_back = now + self.back;
    }

    /// Whether another process has its CPU: it loses much, of all time and of the time it needs. Whoever shares its CPU with
    /// those that it serves loses some to each of them, as every core does.
    pub(super) fn is_taken(&self, tuning: &Tuning) -> bool {
        self.lost >= tuning.lost && self.lost >= self.busy * TAKEN
    }

    /// Over how many nanoseconds the demand is averaged: over a number of polls at least, or one long poll would make a
    /// difference.
    fn smoothing(&self, tuning: &Tuning) -> f64 {
        (tuning.polls * self.poll).clamp(tuning.smoothing as f64, 20.0 * tuning.smoothing as f64)
    }

    pub(super) fn is_stuck(&self, now: u64) -> bool {
        now.saturating_sub(self.silent_since) >= limits::STUCK.as_nanos() as u64
    }

    /// Whether it is always busy, and tasks wait for it for so long.
    pub(super) fn is_busy_with(&self, wait: Duration) -> bool {
        self.demand >= FULL && self.wait >= wait.as_nanos() as f64
    }

    /// By what it said last.
    pub(super) fn has_nothing_to_do(&self) -> bool {
        self.load.parked || self.load.queue == 0 && self.silent_since == self.at
    }

    /// The standard error of the smoothed demand: what looks show, or, if that is more, what requests of such length would
    /// make if they came at random. One look may not notice, since queues carry over from one to the next.
    pub(super) fn error(&self, tuning: &Tuning) -> f64 {
        let part = self.part(tuning.look as f64, tuning);
        let seen = self.variance * part / (2.0 - part);
        let over = tuning.look as f64 / part; // as long as the estimate looks back
        let random = tuning.chance * self.demand.min(1.0) * self.poll / over;
        seen.max(random).sqrt()
    }
}

/// However fast a queue grows: what tasks it takes to stop that shows after the first have gone.
const MOST_DEMAND: f64 = 4.0;

/// By how much single looks differ from the demand by chance, at most.
const MOST_NOISE: f64 = 0.3;

/// A core that loses so much, for each second in which it is awake, shares its CPU with somebody who is always busy.
const TAKEN: f64 = 0.35;
