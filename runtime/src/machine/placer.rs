//! The choice of a core for a new task: the decision alone, without a clock, a thread or a message.

use crate::limits;
use crate::machine::CoreId;
use crate::machine::policy::{CoreLoad, Placement};
use crate::machine::topology::FULL_CAPACITY;
use crate::task::key::Key;

/// What is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomer {
    /// A task.
    Task,
    /// A task that serves a connection just accepted.
    Connection,
}

/// What a core has sent to another and may not be in that core's figures yet.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    published: u32,
    /// Since the figures changed last, and before that.
    newer: u32,
    older: u32,
}

impl Sent {
    /// The core has published another count. What it has more of has arrived; what has not arrived by the second time never
    /// will, or has ended since.
    fn arrives(&mut self, published: u32) {
        let more = published.saturating_sub(self.published);
        let on_its_way = self.newer.saturating_sub(more.saturating_sub(self.older));
        *self = Self { published, newer: 0, older: on_its_way };
    }

    fn count(self) -> u32 {
        self.published.saturating_add(self.newer).saturating_add(self.older)
    }
}

/// A core's choice of places. Plain memory of that core: what the others publish, corrected by what it has sent them.
#[derive(Clone, Debug)]
pub struct Placer {
    own: usize,
    loads: Vec<CoreLoad>,
    sent: Vec<(Sent, Sent)>,
    read_at: Option<u64>,
}

impl Placer {
    /// For core `own` of `cores`.
    pub fn new(cores: usize, own: usize) -> Self {
        Self {
            own,
            loads: vec![CoreLoad::default(); cores],
            sent: vec![Default::default(); cores],
            read_at: None,
        }
    }

    /// Chooses a core at `now`. `load` reads what a core publishes; it is asked seldom.
    pub fn choose(
        &mut self,
        now: u64,
        placement: Placement,
        what: Newcomer,
        load: impl Fn(usize) -> CoreLoad,
        random: u32,
    ) -> CoreId {
        let pause = limits::PLACEMENT_PAUSE.as_nanos() as u64 * self.loads.len() as u64;
        if self.read_at.is_none_or(|at| now.saturating_sub(at) >= pause) {
            self.read(load);
            self.read_at = Some(now);
        }
        let to = self.core_for(placement, what, random);
        self.loads[to].tasks += 1;
        self.sent[to].0.newer += 1;
        if what == Newcomer::Connection {
            self.loads[to].connections += 1;
            self.sent[to].1.newer += 1;
        }
        // What is queued before a task delays it, and this one will delay the next.
        self.loads[to].delay += self.loads[to].poll();
        CoreId::new(to)
    }

    fn read(&mut self, load: impl Fn(usize) -> CoreLoad) {
        for core in 0..self.loads.len() {
            let new = load(core);
            let (tasks, connections) = &mut self.sent[core];
            let old = &self.loads[core];
            let counts = (tasks.published, connections.published);
            // While a core publishes nothing, all that was sent to it counts.
            if new.polls != old.polls || new.busy != old.busy || (new.tasks, new.connections) != counts {
                tasks.arrives(new.tasks);
                connections.arrives(new.connections);
            }
            let (tasks, connections) = (tasks.count(), connections.count());
            self.loads[core] = CoreLoad { tasks, connections, ..new };
        }
    }

    fn core_for(&self, placement: Placement, what: Newcomer, random: u32) -> usize {
        match placement {
            Placement::Local if self.loads[self.own].takes_tasks => self.own,
            _ => by_loads(placement, &self.loads).unwrap_or_else(|| self.spread(what, random)),
        }
    }

    fn spread(&self, what: Newcomer, random: u32) -> usize {
        let count = self.loads.len();
        let start = random as usize % count;
        let takers =
            || (0..count).map(|off| (start + off) % count).filter(|core| self.loads[*core].takes_tasks);
        if what == Newcomer::Connection {
            return takers().min_by(|one, other| self.by_connections(*one, *other)).unwrap_or(self.own);
        }
        // The better of two at random (Mitzenmacher 2001) is nearly as good as the best of all, and whoever places by old
        // figures does not send everything to one core.
        let takers_count = takers().count();
        if takers_count == 0 {
            return self.own;
        }
        let second = 1 + (random >> 16) as usize % takers_count.saturating_sub(1).max(1);
        let one = takers().next().unwrap_or(self.own);
        let other = takers().nth(second).unwrap_or(one);
        let key = |core: usize| (self.ends(core), self.loads[core].tasks);
        if key(other) < key(one) { other } else { one }
    }

    /// When a task's first poll would have ended there, in nanoseconds from now, if it takes what polls here take. One that
    /// computes is drawn to fast CPUs so, and one that does not to those of this cache, since it talks to who spawns it.
    fn ends(&self, core: usize) -> u64 {
        let (load, own) = (&self.loads[core], &self.loads[self.own]);
        let far = if load.is_far_from(own) { limits::FAR_TALK.as_nanos() as u64 } else { 0 };
        load.delay + (own.poll() as f64 * own.speed_beside(load)) as u64 + far
    }

    /// Which core would have fewer connections with one more, for what its CPU can do, and if they are alike the shorter delay.
    fn by_connections(&self, one: usize, other: usize) -> std::cmp::Ordering {
        let [one, other] = [one, other].map(|core| &self.loads[core]);
        let capacity = |load: &CoreLoad| u64::from(load.capacity.unwrap_or(FULL_CAPACITY).max(1));
        let share = |load: &CoreLoad, beside| (u64::from(load.connections) + 1) * capacity(beside);
        share(one, other).cmp(&share(other, one)).then(one.delay.cmp(&other.delay))
    }
}

/// The choice of those policies that go by the loads alone. `None` if it is left to [`Spread`](Placement::Spread).
pub(super) fn by_loads(placement: Placement, loads: &[CoreLoad]) -> Option<usize> {
    match placement {
        // The first that has little enough to do. All look from the same end, so they fill the same cores.
        Placement::Pack { micros } => {
            loads.iter().position(|load| load.takes_tasks && load.delay <= u64::from(micros) * 1000)
        }
        Placement::ByKey(hash) => {
            Key::of(hash).choose((0..loads.len()).filter(|core| loads[*core].takes_tasks))
        }
        Placement::Custom(choose) => {
            Some(choose(loads)).filter(|core| loads.get(*core).is_some_and(|load| load.takes_tasks))
        }
        Placement::Local | Placement::Spread => None,
    }
}
