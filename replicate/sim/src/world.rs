//! One run: cores, their rings, their tasks, and what befalls them.

use std::cell::RefCell;
use std::rc::Rc;

use multikernel_replicate::{Agreement, CoreId, CoreSet, Digests, ObjectId, Policy, Seq, Time};

use crate::Ran;
use crate::journal::{Journal, What};
use crate::net::{Event, Net, SimEffects};
use crate::objects::{Id, Witness};
use crate::plan::{Plan, Whom};
use crate::rng::Rng;
use crate::timers::Waiting;

pub(crate) struct Core<P: Policy> {
    pub(crate) part: Option<Agreement<Witness, P>>,
    /// How many of it there have been, to tell one life from the next.
    pub(crate) life: u64,
    pub(crate) pushes_left: Option<u32>,
    pub(crate) wants_to_leave: bool,
    /// The number of its proposal to leave, if it has made one.
    pub(crate) leaves: Option<Seq>,
    pub(crate) last_seq: u64,
    /// Settled reads that wait: the version they need, and their number.
    pub(crate) reads: Vec<(multikernel_replicate::Version, u64)>,
}

/// One run.
pub(crate) struct World<P: Policy> {
    pub(crate) net: Net,
    pub(crate) cores: Vec<Core<P>>,
    pub(crate) plan: Plan,
    pub(crate) journal: Rc<RefCell<Journal>>,
    /// Every core that has ever been.
    pub(crate) known: CoreSet,
    /// A core that reads its rings before it runs anything.
    pub(crate) waking: Option<CoreId>,
    pub(crate) last_id: Id,
    pub(crate) last_letter: u64,
    pub(crate) objects: Vec<ObjectId>,
    /// All timers of the Machine that somebody has wanted.
    pub(crate) timers: Vec<Id>,
    /// All that has waited for one.
    pub(crate) alarms: Vec<Waiting>,
}

/// More events than any run should need, for each core: one that finds its core busy happens again.
const TOO_MANY: u64 = 100_000;

impl<P: Policy> World<P> {
    pub(crate) fn new(seed: u64, traces: bool) -> Self {
        Self::forget_alarms();
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let journal = Rc::new(RefCell::new(Journal::new(traces)));
        let mut net = Net::new(plan.cores, plan.costs, rng, journal.clone());
        let founders = CoreSet::below(plan.founders);
        net.running = founders;
        for (core, factor) in &plan.slow {
            net.slow[core.index()] = *factor;
        }
        let found = |index: usize| {
            let core = CoreId::new(index);
            let part = founders.contains(core).then(|| {
                Agreement::founder(core, founders, Witness::founder::<P>(core, founders, journal.clone()))
            });
            Core {
                part,
                life: 0,
                pushes_left: None,
                wants_to_leave: false,
                leaves: None,
                last_seq: 0,
                reads: Vec::new(),
            }
        };
        let cores = (0..plan.cores).map(found).collect();
        journal.borrow_mut().note(CoreId::new(0), What::Founded(founders));
        for at in 0..plan.acts.len() {
            net.at(plan.acts[at].0, Event::Plan(at));
        }
        Self {
            net,
            cores,
            plan,
            journal,
            known: founders,
            waking: None,
            last_id: 0,
            last_letter: 0,
            objects: Vec::new(),
            timers: Vec::new(),
            alarms: Vec::new(),
        }
    }

    /// Runs to the end: what happened, or why it failed.
    pub(crate) fn run(mut self) -> Result<Ran, String> {
        if self.net.traces {
            println!("{:#?}", self.plan);
        }
        let mut left = TOO_MANY * self.net.cores as u64;
        while self.journal.borrow().failure().is_none() {
            if let Some(event) = self.net.next() {
                self.happen(event);
            } else if self.net.asleep.is_empty() {
                break;
            } else {
                self.wake_all();
            }
            left -= 1;
            if left == 0 {
                self.journal.borrow_mut().fail("LIVE: it does not come to an end".to_owned());
            }
        }
        self.journal.borrow_mut().end();
        self.check_rest();
        let mut journal = self.journal.borrow_mut();
        let (events, steps) = journal.taken();
        journal.failure().map_or(Ok(Ran { events, steps }), |why| Err(why.to_owned()))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(from, to) => self.arrive(from, to, event),
            Event::Letter(to) => {
                if !self.is_busy(to, event) {
                    self.read_letters(to);
                }
            }
            Event::Wake(core, sleep) => {
                if self.net.sleeps[core.index()] != sleep {
                    return;
                }
                if self.net.rng.percent(50) && self.read_asleep(core) {
                    let later = self.net.now + 1 + self.net.rng.below(500);
                    self.net.at(later, event);
                } else {
                    self.wake(core);
                }
            }
            Event::Tick(core) => {
                if !self.is_busy(core, event) {
                    self.wake(core);
                    self.net.ticks[core.index()] = None;
                    let now = Time(self.net.now);
                    self.with(core, |part, fx| part.tick(now, fx));
                }
            }
            Event::Alarm(core, at) => {
                if !self.is_busy(core, event) {
                    self.ring(core, at);
                }
            }
            Event::Plan(at) => {
                let (_, whom, act) = self.plan.acts[at];
                if let Some(core) = self.who(whom)
                    && !self.is_busy(core, event)
                {
                    self.act(core, act);
                }
            }
            Event::Die(core, life) => {
                if self.cores[core.index()].life == life && self.is_expendable(core) {
                    self.die(core);
                }
            }
        }
    }

    /// A core that is in a long poll does nothing: what should happen happens when it is over.
    fn is_busy(&mut self, core: CoreId, event: Event) -> bool {
        let until = self.net.busy_until[core.index()];
        if until <= self.net.now {
            return false;
        }
        self.net.at(until, event);
        true
    }

    fn who(&self, whom: Whom) -> Option<CoreId> {
        match whom {
            Whom::Core(core) => Some(core),
            Whom::Home => self.net.running.iter().find(|core| {
                let part = self.cores[core.index()].part.as_ref();
                part.is_some_and(|part| part.is_member() && part.lead().home == *core)
            }),
        }
    }

    fn arrive(&mut self, from: CoreId, to: CoreId, event: Event) {
        let now = self.net.now;
        let is_due = self.net.ring(from, to).front().is_some_and(|(arrival, _)| *arrival <= now);
        if !is_due || self.net.asleep.contains(to) || self.is_busy(to, event) {
            return;
        }
        self.read(from, to);
    }

    /// Reads one message.
    fn read(&mut self, from: CoreId, to: CoreId) {
        let Some((_, item)) = self.net.ring(from, to).pop_front() else { return };
        let cost = self.net.costs.of(from, to, &mut self.net.rng).receive * self.net.slow[to.index()];
        let busy = &mut self.net.busy_until[to.index()];
        *busy = (*busy).max(self.net.now) + cost;
        if self.net.traces {
            self.journal.borrow().trace(to, || format!("< {from} {item:?}"));
        }
        self.with(to, |part, fx| match item {
            Some(message) => part.receive(from, message, fx),
            None => part.gone(from, fx),
        });
    }

    /// Lets a core do something, and sees to what comes of it.
    pub(crate) fn with<T>(
        &mut self,
        core: CoreId,
        f: impl FnOnce(&mut Agreement<Witness, P>, &mut SimEffects) -> T,
    ) -> Option<T> {
        let state = &mut self.cores[core.index()];
        let mut part = state.part.take()?;
        let mut fx = SimEffects {
            net: &mut self.net,
            me: core,
            pushes_left: state.pushes_left,
            leaves: state.leaves,
            has_left: false,
            is_refused: false,
            has_moved: false,
            died: false,
        };
        let answer = f(&mut part, &mut fx);
        let (died, left, moved) = (fx.died || fx.is_refused, fx.has_left, fx.has_moved);
        (state.pushes_left, state.leaves) = (fx.pushes_left, fx.leaves);
        self.journal.borrow_mut().is_muted = false;
        if died || left {
            drop(part);
            self.end(core, if died { What::Died } else { What::Ended });
            return Some(answer);
        }
        if let Some(deadline) = part.next_deadline()
            && self.net.ticks[core.index()].is_none_or(|tick| deadline < tick)
        {
            self.net.ticks[core.index()] = Some(deadline);
            self.net.at(deadline.0.max(self.net.now + 1), Event::Tick(core));
        }
        state.part = Some(part);
        self.wait_for_alarms();
        if moved && self.waking != Some(core) && !self.net.asleep.contains(core) {
            self.read_letters(core);
            self.read_settled(core);
            self.try_leave(core);
        }
        Some(answer)
    }

    fn end(&mut self, core: CoreId, how: What) {
        let state = &mut self.cores[core.index()];
        state.part = None;
        state.life += 1;
        state.pushes_left = None;
        state.wants_to_leave = false;
        state.leaves = None;
        state.last_seq = 0;
        state.reads.clear();
        self.net.ticks[core.index()] = None;
        self.journal.borrow_mut().note(core, how);
        self.net.silence(core, self.known);
    }

    /// Some member has to be left.
    pub(crate) fn is_expendable(&self, core: CoreId) -> bool {
        let stays = |other: &CoreId| {
            let state = &self.cores[other.index()];
            let is_going = state.wants_to_leave || state.leaves.is_some() || state.pushes_left.is_some();
            !is_going && state.part.as_ref().is_some_and(Agreement::is_member)
        };
        self.cores[core.index()].part.is_some()
            && self.net.running.without(core).iter().any(|other| stays(&other))
    }

    fn die(&mut self, core: CoreId) {
        self.end(core, What::Died);
    }

    pub(crate) fn wake(&mut self, core: CoreId) {
        if !self.net.asleep.remove(core) {
            return;
        }
        self.waking = Some(core);
        // All that was pushed before this core's fence is there, however long its line takes. Before anything else runs.
        let mut rings: Vec<CoreId> = self.known.iter().collect();
        while !rings.is_empty() && self.net.running.contains(core) {
            let at = self.net.rng.index(rings.len());
            if self.net.ring(rings[at], core).is_empty() {
                rings.swap_remove(at);
            } else {
                self.read(rings[at], core);
            }
        }
        self.waking = None;
        if self.net.running.contains(core) {
            self.journal.borrow_mut().note(core, What::Woke);
            self.read_letters(core);
            self.read_settled(core);
            self.try_leave(core);
        }
    }

    /// A core that is about to wake reads a little, while the others still take it for asleep. Says whether it found anything.
    fn read_asleep(&mut self, core: CoreId) -> bool {
        if !self.net.asleep.contains(core) {
            return false;
        }
        let mut has_read = false;
        for _ in 0..=self.net.rng.below(4) {
            let full = |from: &CoreId| !self.net.ring(*from, core).is_empty();
            let rings: Vec<_> = self.known.iter().filter(full).collect();
            if rings.is_empty() || !self.net.running.contains(core) {
                break;
            }
            let from = self.net.rng.one_of(&rings);
            self.read(from, core);
            has_read = true;
        }
        has_read
    }

    fn read_letters(&mut self, core: CoreId) {
        for from in 0..=self.net.cores {
            let (now, published) = (self.net.now, self.net.published);
            let is_asleep = self.net.asleep.contains(core);
            while let Some((arrival, letter)) = self.net.letters(from, core).front_mut() {
                let part = self.cores[core.index()].part.as_ref().filter(|part| part.is_member());
                let (true, Some(part)) = (*arrival <= now && !is_asleep, part) else { break };
                let admits = match letter.held_for {
                    Some(needed) => needed <= part.version(),
                    None => part.admits(published),
                };
                if !admits {
                    letter.held_for.get_or_insert(published);
                    break;
                }
                let number = letter.number;
                self.net.letters(from, core).pop_front();
                self.journal.borrow_mut().note(core, What::Handled(number));
            }
        }
    }

    pub(crate) fn read_settled(&mut self, core: CoreId) {
        let state = &mut self.cores[core.index()];
        let Some(part) = &state.part else { return };
        let version = part.version();
        let (ready, waiting) = state.reads.drain(..).partition(|(needed, _)| *needed <= version);
        state.reads = waiting;
        let ready: Vec<_> = ready;
        for (_, number) in ready {
            self.journal.borrow_mut().note(core, What::ReadEnded(number));
        }
    }

    fn wake_all(&mut self) {
        let asleep = self.net.asleep;
        for core in asleep.iter() {
            self.wake(core);
        }
    }

    /// What must hold when nothing is on its way any more.
    fn check_rest(&self) {
        let parts = || self.net.running.iter().filter_map(|core| self.cores[core.index()].part.as_ref());
        let fail = |failure: String| self.journal.borrow_mut().fail(format!("LIVE: {failure}"));
        let homes = parts().filter(|part| part.lead().home == part.core()).count();
        if homes != 1 {
            fail(format!("{homes} cores are home"));
        }
        let Some(first) = parts().next() else { return };
        for part in parts() {
            let core = part.core();
            if !part.is_member() {
                fail(format!("{core} is left half in"));
            } else if part.members() != self.net.running {
                fail(format!("{core} thinks that the members are {:?}", part.members()));
            } else if part.settled_at() != first.version() || part.lead() != first.lead() {
                fail(format!("{core} is not where {} is", first.core()));
            } else if part.unanswered() != 0 || !part.waiting_for().is_empty() {
                fail(format!("{core} waits for {:?}", part.waiting_for()));
            } else if part.objects().timers::<P>() != Some((0, 0)) {
                fail(format!("{core} has not forgotten timers that are over"));
            } else if digests(part) != digests(first) {
                fail(format!("the replicas of {core} differ from those of {}", first.core()));
            }
        }
    }
}

fn digests<P: Policy>(part: &Agreement<Witness, P>) -> (Option<Digests>, bool) {
    use multikernel_replicate::Objects;
    (part.objects().digests(), part.objects().poisoned().is_some())
}
