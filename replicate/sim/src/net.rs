//! Rings between cores in virtual time, and the effects of the protocol on them.

use std::cell::RefCell;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use multikernel_replicate::{
    CoreId, CoreSet, Denial, Effects, Message, ObjectId, Outcome, Seq, Step, Time, Version, Wire,
};

use crate::costs::Costs;
use crate::journal::{Journal, What, told};
use crate::objects::Witness;
use crate::rng::Rng;

/// What is in a ring: a message, or its end, for its writer has gone.
pub(crate) type Item = Option<Wire<Witness>>;

/// What a task sends to a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) number: u64,
    /// Who was to handle it has looked, and needs that version first.
    pub(crate) held_for: Option<Version>,
}

/// Something that is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A message arrives.
    Arrive(CoreId, CoreId),
    /// A letter arrives.
    Letter(CoreId),
    /// A core wakes, if it sleeps since then.
    Wake(CoreId, u64),
    /// A deadline of the protocol.
    Tick(CoreId),
    /// An alarm of the core's timers, in the order in which they began to wait.
    Alarm(CoreId, usize),
    /// The next line of the plan.
    Plan(usize),
    /// A core that is doomed dies, if it is still that one.
    Die(CoreId, u64),
}

pub(crate) struct Net {
    /// Cores are below this.
    pub(crate) cores: usize,
    pub(crate) now: u64,
    queue: BinaryHeap<std::cmp::Reverse<(u64, u64, Event)>>,
    pushed: u64,
    rings: Vec<VecDeque<(u64, Item)>>,
    last_arrival: Vec<u64>,
    letters: Vec<VecDeque<(u64, Letter)>>,
    pub(crate) costs: Costs,
    pub(crate) rng: Rng,
    pub(crate) running: CoreSet,
    pub(crate) asleep: CoreSet,
    /// Counts the sleeps of a core.
    pub(crate) sleeps: Vec<u64>,
    pub(crate) slow: Vec<u64>,
    pub(crate) busy_until: Vec<u64>,
    pub(crate) ticks: Vec<Option<Time>>,
    /// The one word that all cores share: the highest version that somebody has begun to decide.
    pub(crate) published: Version,
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) traces: bool,
}

impl Net {
    pub(crate) fn new(cores: usize, costs: Costs, rng: Rng, journal: Rc<RefCell<Journal>>) -> Self {
        let traces = journal.borrow().traces;
        Self {
            cores,
            now: 0,
            queue: BinaryHeap::new(),
            pushed: 0,
            rings: (0..cores * cores).map(|_| VecDeque::new()).collect(),
            last_arrival: vec![0; cores * cores],
            letters: (0..(cores + 1) * cores).map(|_| VecDeque::new()).collect(),
            costs,
            rng,
            running: CoreSet::EMPTY,
            asleep: CoreSet::EMPTY,
            sleeps: vec![0; cores],
            slow: vec![1; cores],
            busy_until: vec![0; cores],
            ticks: vec![None; cores],
            published: Version::START,
            journal,
            traces,
        }
    }

    /// What is on its way from one core to another.
    pub(crate) fn ring(&mut self, from: CoreId, to: CoreId) -> &mut VecDeque<(u64, Item)> {
        &mut self.rings[from.index() * self.cores + to.index()]
    }

    /// The letters from one core to another. Those from threads that are no cores come from [`cores`](Self::cores).
    pub(crate) fn letters(&mut self, from: usize, to: CoreId) -> &mut VecDeque<(u64, Letter)> {
        &mut self.letters[from * self.cores + to.index()]
    }

    pub(crate) fn at(&mut self, time: u64, event: Event) {
        self.pushed += 1;
        self.queue.push(std::cmp::Reverse((time, self.pushed, event)));
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        let std::cmp::Reverse((time, _, event)) = self.queue.pop()?;
        self.now = self.now.max(time);
        self.journal.borrow_mut().now = self.now;
        Some(event)
    }

    /// Puts something into a ring, behind what is there.
    pub(crate) fn push(&mut self, from: CoreId, to: CoreId, item: Item) -> usize {
        if !self.running.contains(to) {
            return 0;
        }
        let cost = self.costs.of(from, to, &mut self.rng);
        let start = self.busy_until[from.index()].max(self.now) + cost.send * self.slow[from.index()];
        self.busy_until[from.index()] = start;
        let last_arrival = &mut self.last_arrival[from.index() * self.cores + to.index()];
        let arrival = (start + cost.flight).max(*last_arrival + 1);
        *last_arrival = arrival;
        self.at(arrival, Event::Arrive(from, to));
        let ring = self.ring(from, to);
        ring.push_back((arrival, item));
        ring.len()
    }

    pub(crate) fn post_letter(&mut self, from: usize, to: CoreId, number: u64) {
        let arrival = self.now + 1 + self.rng.below(2000);
        let letters = self.letters(from, to);
        let arrival = letters.back().map_or(arrival, |(last, _)| arrival.max(*last));
        letters.push_back((arrival, Letter { number, held_for: None }));
        self.at(arrival, Event::Letter(to));
        self.wake(to);
    }

    pub(crate) fn wake(&mut self, core: CoreId) {
        if self.asleep.contains(core) {
            let at = self.now + 2000 + self.rng.below(20_000);
            self.at(at, Event::Wake(core, self.sleeps[core.index()]));
        }
    }

    /// Whether anything is on its way to that core.
    pub(crate) fn has_mail(&mut self, core: CoreId) -> bool {
        (0..self.cores).any(|from| !self.ring(CoreId::new(from), core).is_empty())
            || (0..=self.cores).any(|from| !self.letters(from, core).is_empty())
    }

    /// That core has gone: its rings end, and nobody reads what is sent to it.
    pub(crate) fn silence(&mut self, core: CoreId, known: CoreSet) {
        self.running.remove(core);
        self.asleep.remove(core);
        for from in 0..self.cores {
            self.ring(CoreId::new(from), core).clear();
        }
        for from in 0..=self.cores {
            self.letters(from, core).clear();
        }
        for to in known.without(core).iter() {
            self.push(core, to, None);
            self.wake(to);
        }
    }
}

/// What one core does to the world in one event. Dies after so many pushes, if it is to.
pub(crate) struct SimEffects<'a> {
    pub(crate) net: &'a mut Net,
    pub(crate) me: CoreId,
    pub(crate) pushes_left: Option<u32>,
    /// The number of its wish to leave, until it is refused.
    pub(crate) leaves: Option<Seq>,
    pub(crate) has_left: bool,
    /// It may not join, and gives up.
    pub(crate) is_refused: bool,
    pub(crate) has_moved: bool,
    pub(crate) died: bool,
}

impl SimEffects<'_> {
    fn note(&self, what: What) {
        self.net.journal.borrow_mut().note(self.me, what);
    }

    /// One more push: the moment at which a doomed core dies.
    fn survives(&mut self) -> bool {
        match &mut self.pushes_left {
            Some(0) => {
                self.died = true;
                // What its code does from here on does not happen.
                self.net.journal.borrow_mut().is_muted = true;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        !self.died
    }
}

impl Effects<Witness> for SimEffects<'_> {
    fn post(&mut self, to: CoreId, message: Wire<Witness>) {
        if !self.survives() {
            return;
        }
        if self.net.traces {
            self.net.journal.borrow().trace(self.me, || format!("> {to} {message:?}"));
        }
        let (kind, round) = kind(&message);
        let is_welcome = matches!(&message, Message::Prepare { welcome: Some(_), .. });
        let length = self.net.push(self.me, to, Some(message));
        self.note(What::Pushed(to, kind, round, length));
        if is_welcome {
            self.note(What::Welcomed(to));
        }
    }

    fn ring(&mut self, to: CoreId) {
        if !self.died {
            self.net.wake(to);
        }
    }

    fn is_asleep(&mut self, core: CoreId) -> bool {
        self.net.asleep.contains(core)
    }

    fn deciding(&mut self, version: Version) {
        if !self.died {
            self.net.published = self.net.published.max(version);
        }
    }

    fn advanced(&mut self, version: Version) {
        self.has_moved = true;
        self.note(What::Decided(version));
    }

    fn answer(&mut self, seq: Seq, outcome: Outcome<Denial>) {
        if matches!(outcome, Outcome::Refused { .. }) {
            self.is_refused |= seq == Seq::NONE;
            self.leaves = self.leaves.filter(|leave| *leave != seq);
        }
        self.note(What::Answered(seq, told(&outcome)));
    }

    fn left(&mut self) {
        self.has_left = true;
    }

    fn diverged(&mut self, core: CoreId, _: Version, object: ObjectId, _: &'static str) {
        self.note(What::Diverged(core, object));
    }

    fn step(&mut self, step: Step) {
        self.note(What::Step(step));
    }
}

fn kind(message: &Wire<Witness>) -> (&'static str, Option<Version>) {
    match message {
        Message::Prepare { round, .. } => ("Prepare", Some(*round)),
        Message::Decide { decision, .. } => ("Decide", Some(decision.round)),
        _ => ("other", None),
    }
}
