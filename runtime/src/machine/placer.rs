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
        let takes = |core: usize| self.loads.get(core).is_some_and(|load| load.takes_tasks);
        match placement {
            Placement::Local if takes(self.own) => self.own,
            Placement::Pack { micros } => self.packed(micros).unwrap_or_else(|| self.spread(what, random)),
            Placement::ByKey(hash) => self.by_key(hash).unwrap_or(self.own),
            Placement::Custom(choose) => Some(choose(&self.loads))
                .filter(|core| takes(*core))
                .unwrap_or_else(|| self.spread(what, random)),
            Placement::Local | Placement::Spread => self.spread(what, random),
        }
    }

    fn spread(&self, what: Newcomer, random: u32) -> usize {
        let count = self.loads.len();
        let start = random as usize % count;
        let takers =
            || (0..count).map(|off| (start + off) % count).filter(|core| self.loads[*core].takes_tasks);
        if what == Newcomer::Connection {
            let fewest = takers().min_by_key(|core| (self.served(*core), self.loads[*core].delay));
            return fewest.unwrap_or(self.own);
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

    /// The connections of a core with one more, in proportion to what its CPU can do.
    fn served(&self, core: usize) -> u64 {
        let load = &self.loads[core];
        ((u64::from(load.connections) + 1) << 20) / u64::from(load.capacity.unwrap_or(FULL_CAPACITY).max(1))
    }

    /// The first that has little enough to do. All look from the same end, so they fill the same cores.
    fn packed(&self, micros: u32) -> Option<usize> {
        let most = u64::from(micros) * 1000;
        self.loads.iter().position(|load| load.takes_tasks && load.delay <= most)
    }

    fn by_key(&self, hash: u64) -> Option<usize> {
        Key::of(hash).choose((0..self.loads.len()).filter(|core| self.loads[*core].takes_tasks))
    }
}
