//! One run: cores, their rings, their tasks, and what befalls them.

use std::cell::RefCell;
use std::rc::Rc;

use multikernel_replicate::{Agreement, Command, CoreId, CoreSet, ObjectId, Policy, Seq, Time};

use crate::check::CORES;
use crate::journal::{Journal, What};
use crate::net::{Event, FOREIGN, Item, Net, SimEffects};
use crate::objects::{Count, Id, LEDGER, Ledger, TALLY, Tagged, Tally, Witness};
use crate::plan::{Act, Plan, Whom};
use crate::rng::Rng;

struct Core<P: Policy> {
    part: Option<Agreement<Witness, P>>,
    /// How many of it there have been, to tell one life from the next.
    life: u64,
    pushes_left: Option<u32>,
    wants_to_leave: bool,
    has_asked_to_leave: bool,
    last_seq: u64,
    /// Settled reads that wait: the version they need, and their number.
    reads: Vec<(multikernel_replicate::Version, u64)>,
}

/// One run.
pub(crate) struct World<P: Policy> {
    net: Net,
    cores: Vec<Core<P>>,
    plan: Plan,
    journal: Rc<RefCell<Journal>>,
    /// Every core that has ever been.
    known: CoreSet,
    /// A core that reads its rings before it runs anything.
    waking: Option<CoreId>,
    last_id: Id,
    last_letter: u64,
    objects: Vec<ObjectId>,
}

/// More events than any run should need.
const TOO_MANY: u64 = 400_000;

impl<P: Policy> World<P> {
    pub(crate) fn new(seed: u64, traces: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let journal = Rc::new(RefCell::new(Journal::new(traces)));
        let mut net = Net::new(plan.costs, rng, journal.clone());
        let founders = CoreSet::below(plan.founders);
        net.running = founders;
        for (core, factor) in &plan.slow {
            net.slow[core.index()] = *factor;
        }
        let found = |index: usize| {
            let core = CoreId::new(index);
            let part = founders.contains(core).then(|| {
                Agreement::founder(core, founders, Witness::new(core, journal.clone(), true, false))
            });
            Core { part, life: 0, pushes_left: None, wants_to_leave: false, has_asked_to_leave: false, last_seq: 0, reads: Vec::new() }
        };
        let cores = (0..CORES).map(found).collect();
        journal.borrow_mut().note(CoreId::new(0), What::Founded(founders));
        for at in 0..plan.acts.len() {
            net.at(plan.acts[at].0, Event::Plan(at));
        }
        Self { net, cores, plan, journal, known: founders, waking: None, last_id: 0, last_letter: 0, objects: Vec::new() }
    }

    /// Runs to the end. Why it failed, if it did, and how much happened.
    pub(crate) fn run(mut self) -> (Option<String>, u64) {
        if self.net.traces {
            println!("{:#?}", self.plan);
        }
        let mut left = TOO_MANY;
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
        let journal = self.journal.borrow();
        (journal.failure().map(str::to_owned), journal.events())
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
                if self.net.sleeps[core.index()] == sleep {
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
        let ring = Net::ring_at(from, to);
        let is_due = self.net.rings[ring].front().is_some_and(|(arrival, _)| *arrival <= self.net.now);
        if !is_due || self.net.asleep.contains(to) || self.is_busy(to, event) {
            return;
        }
        self.read(from, to);
    }

    /// Reads one message.
    fn read(&mut self, from: CoreId, to: CoreId) {
        let Some((_, item)) = self.net.rings[Net::ring_at(from, to)].pop_front() else { return };
        let cost = self.net.costs.of(from, to, &mut self.net.rng).receive * self.net.slow[to.index()];
        let busy = &mut self.net.busy_until[to.index()];
        *busy = (*busy).max(self.net.now) + cost;
        if self.net.traces {
            self.journal.borrow().trace(to, || format!("< {from} {item:?}"));
        }
        self.with(to, |part, fx| match item {
            Item::Message(message) => part.receive(from, message, fx),
            Item::End => part.gone(from, fx),
        });
    }

    /// Lets a core do something, and sees to what comes of it.
    fn with<T>(
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
            has_left: false,
            is_refused: false,
            has_moved: false,
            died: false,
        };
        let answer = f(&mut part, &mut fx);
        let (died, left, moved) = (fx.died || fx.is_refused, fx.has_left, fx.has_moved);
        state.pushes_left = fx.pushes_left;
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
        if moved && self.waking != Some(core) {
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
        state.has_asked_to_leave = false;
        state.last_seq = 0;
        state.reads.clear();
        self.net.ticks[core.index()] = None;
        self.journal.borrow_mut().note(core, how);
        self.net.silence(core, self.known);
    }

    /// Some member has to be left.
    fn is_expendable(&self, core: CoreId) -> bool {
        let stays = |other: &CoreId| {
            let state = &self.cores[other.index()];
            let is_going = state.wants_to_leave || state.has_asked_to_leave || state.pushes_left.is_some();
            !is_going && state.part.as_ref().is_some_and(Agreement::is_member)
        };
        self.cores[core.index()].part.is_some() && self.net.running.without(core).iter().any(|other| stays(&other))
    }

    fn die(&mut self, core: CoreId) {
        self.end(core, What::Died);
    }

    fn wake(&mut self, core: CoreId) {
        if !self.net.asleep.remove(core) {
            return;
        }
        self.waking = Some(core);
        // All that was pushed before this core's fence is there, however long its line takes. Before anything else runs.
        let mut rings: Vec<CoreId> = self.known.iter().collect();
        while !rings.is_empty() && self.net.running.contains(core) {
            let at = self.net.rng.index(rings.len());
            if self.net.rings[Net::ring_at(rings[at], core)].is_empty() {
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

    fn read_letters(&mut self, core: CoreId) {
        for from in 0..=FOREIGN {
            let ring = from * CORES + core.index();
            while let Some((arrival, (number, stamp))) = self.net.letters[ring].front().copied() {
                let part = self.cores[core.index()].part.as_ref();
                let admits = part.is_some_and(|part| part.is_member() && part.admits(stamp));
                if arrival > self.net.now || !admits || self.net.asleep.contains(core) {
                    break;
                }
                self.net.letters[ring].pop_front();
                self.journal.borrow_mut().note(core, What::Handled(number));
            }
        }
    }

    fn read_settled(&mut self, core: CoreId) {
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

    /// A core leaves when its tasks have ended: when nothing that they proposed is open.
    fn try_leave(&mut self, core: CoreId) {
        let state = &mut self.cores[core.index()];
        let is_idle = state.part.as_ref().is_some_and(|part| part.unanswered() == 0 && part.is_member());
        if state.wants_to_leave && is_idle {
            state.wants_to_leave = false;
            state.has_asked_to_leave = true;
            let seq = self.next_seq(core);
            self.note(core, What::Leaves(seq));
            self.with(core, |part, fx| part.leave(fx));
        }
    }

    fn note(&self, core: CoreId, what: What) {
        self.journal.borrow_mut().note(core, what);
    }

    /// The number that the next proposal of this core gets.
    fn next_seq(&mut self, core: CoreId) -> Seq {
        let state = &mut self.cores[core.index()];
        state.last_seq += 1;
        Seq(state.last_seq)
    }

    fn propose(&mut self, core: CoreId, veto: CoreSet, deadline: Option<u64>, make: impl FnOnce(Id) -> Command) {
        if !self.runs_tasks(core) {
            return;
        }
        self.last_id += 1;
        let id = self.last_id;
        let seq = self.next_seq(core);
        self.note(core, What::Proposed(seq, id));
        let tagged = Tagged { id, veto, command: make(id) };
        let deadline = deadline.map(|after| Time(self.net.now + after));
        self.with(core, |part, fx| part.propose(tagged, deadline, fx));
    }

    /// Whether tasks run on that core, and will.
    fn runs_tasks(&self, core: CoreId) -> bool {
        let state = &self.cores[core.index()];
        let is_going = state.wants_to_leave || state.has_asked_to_leave;
        !is_going && state.part.as_ref().is_some_and(Agreement::is_member)
    }

    fn act(&mut self, core: CoreId, act: Act) {
        if let Act::Join { stubborn } = act {
            return self.join(core, stubborn);
        }
        self.wake(core);
        if !self.runs_tasks(core) {
            return;
        }
        match act {
            Act::Propose { burst, deadline, veto } => self.propose_puts(core, burst, deadline, veto),
            Act::Count { burst, deadline } => {
                for _ in 0..burst {
                    let more = 1 + self.net.rng.below(8);
                    let add = |_| Command::change::<Tally>(TALLY, Count::Add(more));
                    self.propose(core, CoreSet::EMPTY, deadline, add);
                }
            }
            Act::Announce => {
                self.last_id += 1;
                self.next_seq(core);
                self.note(core, What::Announced(self.last_id));
                let command = Command::change::<Tally>(TALLY, Count::Add(1));
                let tagged = Tagged { id: self.last_id, veto: CoreSet::EMPTY, command };
                self.with(core, |part, fx| part.announce(tagged, fx));
            }
            Act::Object => self.use_object(core, None),
            Act::Boom(at) => self.use_object(core, Some(at)),
            Act::Send(to) => self.send(core, to),
            Act::Foreign(to) => {
                self.last_letter += 1;
                self.note(core, What::SeenBy(self.last_letter));
                self.post_letter(FOREIGN, to, self.net.published.stamp());
            }
            Act::Read => self.begin_read(core),
            Act::Sleep(time) => self.sleep(core, time),
            Act::Stall(time) => {
                let until = self.net.now + time;
                self.net.busy_until[core.index()] = until;
                self.journal.borrow().trace(core, || format!("is in a poll until {until}"));
            }
            Act::Leave => {
                if self.is_expendable(core) {
                    self.cores[core.index()].wants_to_leave = true;
                    self.try_leave(core);
                }
            }
            Act::Doom { pushes, within } => {
                if self.is_expendable(core) {
                    self.cores[core.index()].pushes_left = Some(pushes);
                    let life = self.cores[core.index()].life;
                    self.net.at(self.net.now + within, Event::Die(core, life));
                }
            }
            Act::Join { .. } => unreachable!("handled above"),
        }
    }

    fn propose_puts(&mut self, core: CoreId, burst: u32, deadline: Option<u64>, veto: CoreSet) {
        for _ in 0..burst {
            let key = u8::try_from(self.net.rng.below(40)).expect("small");
            self.propose(core, veto, deadline, |id| Command::change::<Ledger>(LEDGER, (key, id)));
        }
    }

    /// Creates an object, or does something with one of those made before.
    fn use_object(&mut self, core: CoreId, boom: Option<CoreSet>) {
        let Some(object) = self.objects.last().copied().filter(|_| boom.is_some() || self.net.rng.percent(60)) else {
            let object = ObjectId(self.last_id + 100);
            self.objects.push(object);
            return self.propose(core, CoreSet::EMPTY, None, |_| Command::create(object, Tally::default));
        };
        let command = match boom {
            Some(at) => Command::change::<Tally>(object, Count::Boom(at)),
            None if self.net.rng.percent(20) => Command::destroy(object),
            None => Command::change::<Tally>(object, Count::Add(1)),
        };
        self.propose(core, CoreSet::EMPTY, None, |_| command);
    }

    fn send(&mut self, core: CoreId, to: CoreId) {
        let stamp = self.cores[core.index()].part.as_ref().map(|part| part.version().stamp());
        if let Some(stamp) = stamp
            && to != core
        {
            self.last_letter += 1;
            self.note(core, What::Sent(self.last_letter));
            self.post_letter(core.index(), to, stamp);
        }
    }

    fn post_letter(&mut self, from: usize, to: CoreId, stamp: u32) {
        if self.net.running.contains(to) {
            self.net.post_letter(from, to, (self.last_letter, stamp));
        }
    }

    fn begin_read(&mut self, core: CoreId) {
        self.last_letter += 1;
        let number = self.last_letter;
        let state = &mut self.cores[core.index()];
        if let Some(part) = &state.part {
            state.reads.push((part.settled_at(), number));
            self.note(core, What::ReadBegun(number));
            self.read_settled(core);
        }
    }

    fn sleep(&mut self, core: CoreId, time: u64) {
        if self.net.has_mail(core) {
            return;
        }
        self.net.asleep.insert(core);
        self.net.sleeps[core.index()] += 1;
        self.note(core, What::Slept);
        self.net.at(self.net.now + time, Event::Wake(core, self.net.sleeps[core.index()]));
    }

    /// Starts a core that is not there, if nobody remembers one of that name.
    fn join(&mut self, core: CoreId, is_stubborn: bool) {
        let knows = |other: CoreId| {
            let part = self.cores[other.index()].part.as_ref();
            part.is_some_and(|part| part.knows(core)) || !self.net.rings[Net::ring_at(core, other)].is_empty()
        };
        let all = self.net.running;
        if all.contains(core) || all.iter().any(knows) {
            return;
        }
        self.known.insert(core);
        self.net.running.insert(core);
        let witness = Witness::new(core, self.journal.clone(), false, is_stubborn);
        self.cores[core.index()].part = Some(Agreement::joiner(core, witness));
        self.note(core, What::Started);
        for dead in self.known.minus(self.net.running).iter() {
            self.net.push(dead, core, Item::End);
        }
        self.with(core, |part, fx| part.knock(all, fx));
    }

    fn wake_all(&mut self) {
        for core in self.net.asleep.iter() {
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
            } else if digest(part) != digest(first) {
                fail(format!("the replicas of {core} differ from those of {}", first.core()));
            }
        }
    }
}

fn digest<P: Policy>(part: &Agreement<Witness, P>) -> (Option<u64>, bool) {
    use multikernel_replicate::Objects;
    (part.objects().digest(), part.objects().poisoned().is_some())
}
