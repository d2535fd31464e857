//! Cores in virtual time. One event after the other, from a seed, so a run is the same each time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use multikernel::machine_support::{Balancer, Decision, Group, LongPoll, Tuning, Way, choose};
use multikernel::runtime::CoreLoad;

use super::costs;
use super::load::{Arrivals, CONNECTIONS, Cpu, Load, Rng};

/// How connections come to cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// One queue for all cores, at no cost. Nobody can have that; nothing is better that does not know the future.
    Ideal,
    /// A core that has nothing to do takes half of the queue of another.
    Stealing,
    /// A connection stays where it was placed.
    Placed,
    /// The same, and cores hand tasks over as the runtime decides it.
    Handing {
        /// The constants.
        tuning: Tuning,
        /// Whether the giver knows what each task costs.
        weighs: bool,
    },
}

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cores.
    pub cores: usize,
    /// What they have to do.
    pub load: Load,
    /// Of the random numbers.
    pub seed: u64,
    /// Virtual nanoseconds before the first request that counts.
    pub warm_up: u64,
    /// Virtual nanoseconds in all.
    pub length: u64,
}

/// What has been seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When each request was answered, and how many times as long as its service that took.
    pub slowdowns: Vec<(u64, f32)>,
    /// Tasks that went to another core: handed over, or stolen.
    pub moves: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives(usize),
    Done(usize),
    Joins(usize, usize),
    Wakes(usize),
}

struct Connection {
    arrivals: Arrivals,
    requests: VecDeque<(u64, u64)>,
    home: usize,
    /// Queued, polled, or on its way.
    is_somewhere: bool,
    is_cold: bool,
    travels: bool,
    /// Time in polls lately; fades.
    weight: f64,
    weighed: u64,
    polled: u64,
    /// Which of its last polls were long, as far as they were timed.
    timed: u8,
}

struct Core {
    cpu: Cpu,
    queue: VecDeque<(usize, u64)>,
    polls_now: Option<usize>,
    wakes: bool,
    /// Work to do before the next poll.
    extra: u64,
    load: CoreLoad,
    published: CoreLoad,
    publishes: u64,
    balancer: Balancer,
    looked: u64,
    /// Each poll is timed until then.
    searches: u64,
}

/// A simulated server.
pub struct World {
    plan: Plan,
    scheme: Scheme,
    now: u64,
    number: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    connections: Vec<Connection>,
    cores: Vec<Core>,
    common: VecDeque<(usize, u64)>,
    rng: Rng,
    seen: Seen,
}

impl World {
    /// Runs `plan` with `scheme`.
    pub fn run(plan: Plan, scheme: Scheme) -> Seen {
        let mut world = Self::new(plan, scheme);
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            if at > plan.length {
                break;
            }
            world.now = at;
            world.happens(event);
        }
        world.seen
    }

    fn new(plan: Plan, scheme: Scheme) -> Self {
        let mut rng = Rng::new(plan.seed);
        let count = plan.cores * CONNECTIONS;
        let mut numbers: Vec<_> = (0..count).collect();
        // Connections come in no order; the core with the fewest gets the next.
        for at in (1..count).rev() {
            numbers.swap(at, rng.below(at + 1));
        }
        let connection = |(place, number): (usize, &usize)| Connection {
            arrivals: Arrivals::new(plan.load, plan.cores, *number, Rng::new(rng.bits())),
            requests: VecDeque::new(),
            home: if plan.load == Load::Heap { 0 } else { place % plan.cores },
            is_somewhere: false,
            is_cold: false,
            travels: false,
            weight: 0.0,
            weighed: 0,
            polled: 0,
            timed: 0,
        };
        let connections: Vec<_> = numbers.iter().enumerate().map(connection).collect();
        let tuning = if let Scheme::Handing { tuning, .. } = scheme { tuning } else { Tuning::default() };
        let mut load = CoreLoad::default();
        load.takes_tasks = true;
        let core = |index| Core {
            cpu: Cpu::new(plan.load, index),
            queue: VecDeque::new(),
            polls_now: None,
            wakes: false,
            extra: 0,
            load,
            published: load,
            publishes: 0,
            balancer: Balancer::with(plan.cores, index, tuning),
            looked: 0,
            searches: 0,
        };
        let cores = (0..plan.cores).map(core).collect();
        let mut world = Self {
            plan,
            scheme,
            now: 0,
            number: 0,
            events: BinaryHeap::new(),
            connections,
            cores,
            common: VecDeque::new(),
            rng,
            seen: Seen::default(),
        };
        for connection in 0..count {
            world.cores[world.connections[connection].home].load.tasks += 1;
            world.expect_arrival(connection);
        }
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number, event)));
    }

    fn expect_arrival(&mut self, connection: usize) {
        let next = self.connections[connection].arrivals.next(self.now);
        self.at(next, Event::Arrives(connection));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrives(connection) => {
                let cost = self.connections[connection].arrivals.cost();
                self.connections[connection].requests.push_back((self.now, cost));
                self.expect_arrival(connection);
                if !self.connections[connection].is_somewhere {
                    self.becomes_ready(connection);
                }
            }
            Event::Done(core) => self.done(core),
            Event::Joins(connection, core) => self.joins(connection, core),
            Event::Wakes(core) => {
                self.cores[core].wakes = false;
                self.runs_next(core);
            }
        }
    }

    fn becomes_ready(&mut self, connection: usize) {
        self.connections[connection].is_somewhere = true;
        let home = self.connections[connection].home;
        if self.scheme == Scheme::Ideal {
            self.common.push_back((connection, self.now));
            if let Some(idle) = self.idle() {
                self.runs_next(idle);
            }
            return;
        }
        self.cores[home].queue.push_back((connection, self.now));
        if self.cores[home].polls_now.is_none() {
            self.runs_next(home);
        } else if self.scheme == Scheme::Stealing {
            self.wakes_a_thief();
        }
    }

    /// One that has nothing to do, looked for from a random place.
    fn idle(&mut self) -> Option<usize> {
        let (count, start) = (self.cores.len(), self.rng.below(self.cores.len()));
        let mut all = (0..count).map(|off| (start + off) % count);
        all.find(|core| self.cores[*core].polls_now.is_none() && !self.cores[*core].wakes)
    }

    fn wakes_a_thief(&mut self) {
        if let Some(thief) = self.idle() {
            self.cores[thief].wakes = true;
            self.at(self.now + costs::WAKE, Event::Wakes(thief));
        }
    }

    fn runs_next(&mut self, core: usize) {
        if self.cores[core].polls_now.is_some() {
            return;
        }
        let mut next = match self.scheme {
            Scheme::Ideal => self.common.pop_front(),
            _ => self.cores[core].queue.pop_front(),
        };
        if next.is_none() && self.scheme == Scheme::Stealing && self.steals(core) {
            next = self.cores[core].queue.pop_front();
        }
        if let Some((connection, since)) = next
            && self.follows(core, connection, since)
        {
            return self.runs_next(core);
        }
        let Some((connection, since)) = next else {
            self.cores[core].load.parked = true;
            self.cores[core].load.delay = 0;
            self.publish(core);
            return;
        };
        let at = &mut self.connections[connection];
        let cost = at.requests.front().map_or(0, |request| request.1);
        let cold = if std::mem::take(&mut at.is_cold) { costs::COLD } else { 0 };
        let here = &mut self.cores[core];
        let work = cost + cold + std::mem::take(&mut here.extra);
        let end = here.cpu.ends(self.now, work);
        here.polls_now = Some(connection);
        here.load.parked = false;
        here.load.busy += end - self.now;
        here.load.run_delay += end - self.now - work;
        here.load.delay = if here.queue.is_empty() { 0 } else { self.now - since };
        self.at(end, Event::Done(core));
    }

    fn steals(&mut self, thief: usize) -> bool {
        let (count, start) = (self.cores.len(), self.rng.below(self.cores.len()));
        let mut all = (0..count).map(|off| (start + off) % count);
        let Some(victim) = all.find(|core| !self.cores[*core].queue.is_empty()) else { return false };
        let half = self.cores[victim].queue.len().div_ceil(2);
        for _ in 0..half {
            let Some((connection, since)) = self.cores[victim].queue.pop_front() else { break };
            self.connections[connection].home = thief;
            self.connections[connection].is_cold = true;
            self.cores[thief].queue.push_back((connection, since));
            self.note_move();
        }
        self.cores[thief].extra += costs::STEAL;
        if self.cores[thief].queue.len() > 1 {
            self.wakes_a_thief();
        }
        true
    }

    fn note_move(&mut self) {
        self.seen.moves.push(self.now);
    }

    fn done(&mut self, core: usize) {
        let Some(connection) = self.cores[core].polls_now.take() else { return };
        self.cores[core].load.polls += 1;
        let at = &mut self.connections[connection];
        if let Some((arrived, cost)) = at.requests.pop_front() {
            if let Scheme::Handing { tuning, .. } = self.scheme {
                self.cores[core].times(at, self.now, cost, tuning.long);
            }
            if arrived >= self.plan.warm_up {
                self.seen.slowdowns.push((self.now, (self.now - arrived) as f32 / cost as f32));
            }
            at.weigh(self.now);
            at.weight += cost as f64 / WEIGHED as f64;
        }
        at.polled = self.now;
        if at.requests.is_empty() {
            at.is_somewhere = false;
        } else if self.scheme == Scheme::Ideal {
            self.common.push_back((connection, self.now));
        } else {
            self.cores[core].queue.push_back((connection, self.now));
        }
        if self.cores[core].publishes <= self.now {
            self.publish(core);
        }
        if let Scheme::Handing { weighs, .. } = self.scheme {
            self.balance(core, weighs);
        }
        self.runs_next(core);
    }

    fn publish(&mut self, core: usize) {
        let core = &mut self.cores[core];
        core.load.queue = core.queue.len() as u32;
        core.load.is_reserved = core.balancer.is_reserved(self.now);
        core.load.takes_tasks = !core.load.is_reserved;
        core.published = core.load;
        core.publishes = self.now + costs::PUBLISH;
    }

    fn balance(&mut self, core: usize, weighs: bool) {
        if self.now < self.cores[core].balancer.next_look() {
            return;
        }
        self.publish(core);
        let since = self.cores[core].looked;
        self.cores[core].looked = self.now;
        let is_active = |connection: &&Connection| connection.is_at(core) && connection.is_active(since);
        let active = self.connections.iter().filter(is_active).count() as u32;
        let now = self.now;
        self.cores.iter_mut().for_each(|core| core.opens(now));
        let published: Vec<_> = self.cores.iter().map(|core| core.published).collect();
        let random = self.rng.bits() as u32;
        self.cores[core].extra += costs::LOOK * (self.cores.len() as u64 - 1).min(16);
        let mut decision = self.cores[core].balancer.look(self.now, active, |index| published[index], random);
        while let Decision::Give(group) = decision {
            self.hands_over(core, &group, since, weighs);
            decision = self.cores[core].balancer.more(self.rng.bits() as u32);
        }
        if let Decision::Ask { from } = decision {
            self.cores[from].balancer.asked(self.now);
        }
    }

    fn hands_over(&mut self, from: usize, group: &Group, since: u64, weighs: bool) {
        let now = self.now;
        let mine = |connection: &&mut Connection| connection.is_at(from);
        self.connections.iter_mut().filter(mine).for_each(|connection| connection.weigh(now));
        let is_here =
            |place: &usize| self.connections[*place].is_at(from) && self.connections[*place].is_active(since);
        let mut tasks: Vec<_> = (0..self.connections.len()).filter(is_here).collect();
        if tasks.is_empty() {
            return;
        }
        let start = self.rng.below(tasks.len());
        tasks.rotate_left(start);
        let weight = |place: &usize| weighs.then(|| (self.connections[*place].weight * 1000.0) as u32);
        let weights: Vec<_> = tasks.iter().map(weight).collect();
        let mut chosen = Vec::new();
        choose(&weights, group, |at| chosen.push(tasks[at]));
        chosen.iter().for_each(|connection| self.sends(*connection, from, group.to));
        self.cores[group.to].balancer.took(self.now, from, chosen.len() as u32);
    }

    fn sends(&mut self, connection: usize, from: usize, to: usize) {
        self.cores[from].queue.retain(|queued| queued.0 != connection);
        self.cores[from].load.tasks -= 1;
        self.cores[from].extra += costs::HAND;
        let at = &mut self.connections[connection];
        (at.home, at.is_cold, at.is_somewhere, at.travels) = (to, true, true, true);
        self.at(self.now + costs::WAY, Event::Joins(connection, to));
        self.note_move();
    }

    /// Before a poll that is known to be long, the others leave. Whether the connection leaves itself.
    fn follows(&mut self, core: usize, connection: usize, since: u64) -> bool {
        let Scheme::Handing { tuning, weighs } = self.scheme else { return false };
        if !self.connections[connection].is_known() {
            return false;
        }
        self.balance(core, weighs);
        if !self.connections[connection].is_at(core) {
            return true; // just handed over, like any other
        }
        let others: Vec<_> = (0..self.connections.len())
            .filter(|place| *place != connection)
            .filter(|place| self.connections[*place].is_at(core) && !self.connections[*place].is_known())
            .collect();
        let queued: Vec<_> =
            others.iter().copied().filter(|place| self.connections[*place].is_somewhere).collect();
        let counts = [queued.len(), others.len()].map(|count| count as u32);
        let expected = self.connections[connection].requests.front().map_or(0, |request| request.1);
        let expected = expected.max(tuning.long);
        let poll = LongPoll { expected, is_movable: true, queued: counts[0], others: counts[1] };
        let random = self.rng.bits() as u32;
        let leaves: Vec<(usize, usize)> =
            match self.cores[core].balancer.before_long_poll(self.now, poll, random) {
                Way::Stay => Vec::new(),
                Way::Follow { to } => {
                    self.cores[core].queue.push_front((connection, since));
                    vec![(connection, to)]
                }
                Way::ClearQueue { to } => queued.into_iter().zip(to.into_iter().cycle()).collect(),
                Way::ClearAll { groups } => {
                    let to = groups.iter().flat_map(|group| vec![group.to; group.tasks as usize]);
                    others.into_iter().zip(to).collect()
                }
            };
        leaves.iter().for_each(|(place, to)| self.sends(*place, core, *to));
        self.publish(core);
        let follows = leaves.first().filter(|first| first.0 == connection);
        follows.iter().for_each(|(_, to)| self.cores[*to].balancer.took(self.now, core, 1));
        follows.is_some()
    }

    fn joins(&mut self, connection: usize, core: usize) {
        self.cores[core].load.tasks += 1;
        self.cores[core].extra += costs::HAND;
        self.connections[connection].travels = false;
        self.connections[connection].is_somewhere = false;
        if !self.connections[connection].requests.is_empty() {
            self.becomes_ready(connection);
        }
    }
}

/// For so long each poll is timed after one that was long.
const SEARCH: u64 = 1_000_000_000;

impl Core {
    /// As the runtime does: it notices that some poll was long, and then looks for who makes such polls.
    fn times(&mut self, connection: &mut Connection, now: u64, cost: u64, long: u64) {
        let is_long = cost >= long;
        if connection.timed != 0 || now < self.searches {
            connection.timed = (connection.timed << 1 | u8::from(is_long)) & 0x7f;
        }
        if is_long && connection.is_known() {
            self.balancer.note_long_poll(now, cost);
        } else if is_long {
            self.searches = now + SEARCH;
        }
    }

    /// A core that was reserved and sleeps wakes when that is over, and says so.
    fn opens(&mut self, now: u64) {
        self.published.is_reserved &= self.balancer.is_reserved(now);
        self.published.takes_tasks |= !self.published.is_reserved;
    }
}

/// The time over which a task is weighed.
const WEIGHED: u64 = 50_000_000;

impl Connection {
    fn is_at(&self, core: usize) -> bool {
        self.home == core && !self.travels
    }

    /// Has been polled, or waits for it.
    fn is_active(&self, since: u64) -> bool {
        self.is_somewhere || self.polled >= since
    }

    /// Whether three of its last seven polls were long.
    fn is_known(&self) -> bool {
        self.timed.count_ones() >= 3
    }

    fn weigh(&mut self, now: u64) {
        self.weight *= (-((now - self.weighed) as f64) / WEIGHED as f64).exp();
        self.weighed = now;
    }
}
