//! Every schedule of small Machines, of the protocol as it ships: all orders of delivery across links, and a crash before each push
//! of each step. Cores are awake and there are no deadlines; the seeded runs have those.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use multikernel_replicate::{
    Agreement, Asker, Change, CoreId, CoreSet, Digests, Effects, Objects, Outcome, Policy, Seq, Sound, Step,
    Version, Wire,
};
use multikernel_sim::mutants::{AnySurvivor, NoAlarm};
use stateright::{Checker, Model, Property};

/// What a core has prepared and committed, in order. Commands are numbers; changes of the view are written as numbers from 100.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Small {
    /// A command that this core refuses.
    refuses: Option<u8>,
    open: Vec<u8>,
    done: Vec<u8>,
}

fn line(change: &Change) -> u8 {
    let kind = match change {
        Change::Join(_) => 100,
        Change::Leave { .. } => 110,
        Change::Dead(_) => 120,
    };
    kind + u8::try_from(change.core().index()).expect("few cores")
}

impl Small {
    fn take(&mut self, line: u8) {
        assert_eq!(self.open.remove(0), line, "what is prepared first commits first");
        self.done.push(line);
    }

    fn undo(&mut self, line: u8) {
        assert_eq!(self.open.pop(), Some(line), "the latest prepare is undone first");
    }
}

impl Objects for Small {
    type Command = u8;
    type Refusal = ();
    type Snapshot = Vec<u8>;

    fn may_veto(&self, _: &u8) -> bool {
        true
    }
    fn prepare(&mut self, command: &u8, _: Asker) -> Result<(), ()> {
        if self.refuses == Some(*command) {
            return Err(());
        }
        self.open.push(*command);
        Ok(())
    }
    fn commit(&mut self, command: &u8) {
        self.take(*command);
    }
    fn abort(&mut self, command: &u8) {
        self.undo(*command);
    }
    fn prepare_view(&mut self, change: &Change) -> Result<(), ()> {
        self.open.push(line(change));
        Ok(())
    }
    fn commit_view(&mut self, change: &Change) {
        self.take(line(change));
    }
    fn abort_view(&mut self, change: &Change) {
        self.undo(line(change));
    }
    fn snapshot(&self) -> Vec<u8> {
        self.done.clone()
    }
    fn restore(&mut self, done: &Vec<u8>) -> Result<(), ()> {
        self.done.clone_from(done);
        Ok(())
    }
    fn clear(&mut self) {
        *self = Self::default();
    }
    fn poisoned(&self) -> Option<u8> {
        None
    }
    fn digests(&self) -> Option<Digests> {
        None
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Item {
    Message(Wire<Small>),
    End,
}

/// What a core was told of its proposals: its number and whether it is committed.
type Answers = Vec<(CoreId, Seq, bool)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State<P: Policy> {
    cores: Vec<Option<Agreement<Small, P>>>,
    rings: Vec<VecDeque<Item>>,
    /// What cores that are dead or have left had committed.
    past: Vec<Vec<u8>>,
    answers: Answers,
    crashes: usize,
}

/// One step of a core, in which it may die before a push.
struct Push<'a> {
    me: CoreId,
    size: usize,
    rings: &'a mut [VecDeque<Item>],
    answers: &'a mut Answers,
    live: CoreSet,
    left: Option<usize>,
    ends: bool,
}

struct Death;

impl Effects<Small> for Push<'_> {
    fn post(&mut self, to: CoreId, message: Wire<Small>) {
        match &mut self.left {
            Some(0) => resume_unwind(Box::new(Death)),
            Some(left) => *left -= 1,
            None => {}
        }
        if self.live.contains(to) {
            self.rings[self.me.index() * self.size + to.index()].push_back(Item::Message(message));
        }
    }
    fn ring(&mut self, _: CoreId) {}
    fn is_asleep(&mut self, _: CoreId) -> bool {
        false
    }
    fn deciding(&mut self, _: Version) {}
    fn advanced(&mut self, _: Version) {}
    fn answer(&mut self, seq: Seq, outcome: Outcome<()>) {
        if seq != Seq::NONE {
            self.answers.push((self.me, seq, matches!(outcome, Outcome::Committed(_))));
            self.answers.sort_unstable();
        }
    }
    fn left(&mut self) {
        self.ends = true;
    }
    fn step(&mut self, step: Step) {
        assert!(step.is_declared(), "no table has {step:?}");
    }
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    /// The first of that ring is read. The reader dies before its push of that number, if it has so many.
    Read { from: usize, to: usize, dies: Option<usize> },
    /// A core dies.
    Die(usize),
}

/// A small Machine.
#[derive(Clone)]
struct Machine<P: Policy> {
    cores: usize,
    crashes: usize,
    /// Who proposes at the start: the number of the core, and 0 to leave, or a command.
    proposals: Vec<(usize, u8)>,
    /// Who refuses what.
    refuses: Option<(usize, u8)>,
    /// How many of the cores, the last ones, are not there from the start and want to join.
    joiners: usize,
    policy: std::marker::PhantomData<P>,
}

/// More pushes than any step has in these Machines.
const PUSHES: usize = 12;

impl<P: Policy + Clone> Machine<P> {
    fn new(cores: usize, crashes: usize, proposals: &[(usize, u8)], refuses: Option<(usize, u8)>) -> Self {
        Self {
            cores,
            crashes,
            proposals: proposals.to_vec(),
            refuses,
            joiners: 0,
            policy: std::marker::PhantomData,
        }
    }

    fn with_joiners(self, joiners: usize) -> Self {
        Self { joiners, ..self }
    }

    /// Lets a core act; it may die in doing so. Nothing, if it does not get as far.
    fn step(
        &self,
        state: &mut State<P>,
        core: usize,
        dies: Option<usize>,
        f: impl FnOnce(&mut Agreement<Small, P>, &mut Push),
    ) -> Option<()> {
        let live = state.cores.iter().flatten().map(Agreement::core).collect();
        let mut part = state.cores[core].take()?;
        let me = CoreId::new(core);
        let (rings, answers) = (&mut state.rings[..], &mut state.answers);
        let mut push = Push { me, size: self.cores, rings, answers, live, left: dies, ends: false };
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut part, &mut push)));
        let ends = push.ends;
        match outcome {
            Ok(()) if dies.is_some() => return None,
            Ok(()) if ends => self.end(state, core, &part),
            Ok(()) => state.cores[core] = Some(part),
            Err(payload) if payload.is::<Death>() => {
                state.crashes -= 1;
                self.end(state, core, &part);
            }
            Err(payload) => resume_unwind(payload),
        }
        Some(())
    }

    fn end(&self, state: &mut State<P>, core: usize, part: &Agreement<Small, P>) {
        state.past.push(part.objects().done.clone());
        state.past.sort_unstable();
        state.cores[core] = None;
        for other in (0..self.cores).filter(|other| *other != core) {
            state.rings[other * self.cores + core].clear();
            if state.cores[other].is_some() {
                state.rings[core * self.cores + other].push_back(Item::End);
            }
        }
    }
}

impl<P: Policy + Clone + std::fmt::Debug + std::hash::Hash + Eq + Send + Sync> Model for Machine<P> {
    type State = State<P>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<P>> {
        let founders = CoreSet::below(self.cores - self.joiners);
        let cores = (0..self.cores).map(|core| {
            let refuses = self.refuses.filter(|(who, _)| *who == core).map(|(_, command)| command);
            let (core, objects) = (CoreId::new(core), Small { refuses, ..Small::default() });
            Some(match founders.contains(core) {
                true => Agreement::founder(core, founders, objects),
                false => Agreement::joiner(core, objects),
            })
        });
        let rings = vec![VecDeque::new(); self.cores * self.cores];
        let mut state = State {
            cores: cores.collect(),
            rings,
            past: Vec::new(),
            answers: Vec::new(),
            crashes: self.crashes,
        };
        for (core, command) in &self.proposals {
            self.step(&mut state, *core, None, |part, push| match command {
                0 => assert!(part.leave(push).is_some(), "a founder is a member"),
                command => assert!(part.propose(*command, None, push).is_ok(), "a founder is a member"),
            });
        }
        for core in self.cores - self.joiners..self.cores {
            let all = CoreSet::below(core);
            self.step(&mut state, core, None, |part, push| part.knock(all, push));
        }
        vec![state]
    }

    fn actions(&self, state: &State<P>, actions: &mut Vec<Action>) {
        for to in (0..self.cores).filter(|to| state.cores[*to].is_some()) {
            for from in (0..self.cores).filter(|from| !state.rings[from * self.cores + to].is_empty()) {
                actions.push(Action::Read { from, to, dies: None });
                if state.crashes > 0 {
                    actions.extend((0..PUSHES).map(|at| Action::Read { from, to, dies: Some(at) }));
                }
            }
            if state.crashes > 0 && state.cores.iter().flatten().count() > 1 {
                actions.push(Action::Die(to));
            }
        }
    }

    fn next_state(&self, last: &State<P>, action: Action) -> Option<State<P>> {
        let mut state = last.clone();
        match action {
            Action::Read { from, to, dies } => {
                let item = state.rings[from * self.cores + to].pop_front()?;
                if dies.is_some() && state.cores.iter().flatten().count() == 1 {
                    return None;
                }
                let from = CoreId::new(from);
                self.step(&mut state, to, dies, |part, push| match item {
                    Item::Message(message) => part.receive(from, message, push),
                    Item::End => part.gone(from, push),
                })?;
            }
            Action::Die(core) => {
                let part = state.cores[core].take()?;
                state.crashes -= 1;
                self.end(&mut state, core, &part);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one order, also of the dead", |_, state: &State<P>| {
                let live = state.cores.iter().flatten().map(|part| &part.objects().done);
                let all: Vec<_> = live.chain(&state.past).collect();
                let longest = all.iter().max_by_key(|done| done.len()).expect("somebody lives or is dead");
                all.iter().all(|done| longest.starts_with(done))
            }),
            Property::always("committed means everywhere", |machine, state: &State<P>| {
                state.answers.iter().filter(|(.., is_committed)| *is_committed).all(|(core, seq, _)| {
                    let command = machine.command(*core, *seq);
                    let mut members = state.cores.iter().flatten().filter(|part| part.is_member());
                    members.all(|part| part.objects().done.contains(&command))
                })
            }),
            Property::always("refused means nowhere, and each is told once", |machine, state: &State<P>| {
                let mut told: Vec<_> = state.answers.iter().map(|(core, seq, _)| (core, seq)).collect();
                told.dedup();
                let denied = state.answers.iter().filter(|(.., is_committed)| !is_committed);
                let denied: Vec<u8> = denied.map(|(core, seq, _)| machine.command(*core, *seq)).collect();
                let live = state.cores.iter().flatten().map(|part| &part.objects().done);
                let nowhere = live.chain(&state.past).flatten().all(|line| !denied.contains(line));
                nowhere && told.len() == state.answers.len()
            }),
            Property::always("at rest all is settled and answered", |_, state: &State<P>| {
                let is_at_rest = state.rings.iter().all(VecDeque::is_empty);
                let version = state.cores.iter().flatten().map(Agreement::version).max();
                let running: CoreSet = state.cores.iter().flatten().map(Agreement::core).collect();
                let is_over = !state.cores.iter().flatten().any(Agreement::is_member);
                !is_at_rest
                    || is_over
                    || state.cores.iter().flatten().all(|part| {
                        let is_settled = Some(part.settled_at()) == version && part.objects().open.is_empty();
                        is_settled && part.unanswered() == 0 && part.is_member() && part.members() == running
                    })
            }),
            Property::sometimes("somebody is told of a commit", |_, state: &State<P>| {
                state.answers.iter().any(|(.., is_committed)| *is_committed)
            }),
        ]
    }
}

impl<P: Policy> Machine<P> {
    /// The command that this was the proposal of.
    fn command(&self, core: CoreId, seq: Seq) -> u8 {
        let mut own = self.proposals.iter().filter(|(who, _)| *who == core.index());
        let index = usize::try_from(seq.0).expect("small") - 1;
        match own.nth(index).expect("it was proposed").1 {
            0 => 110 + u8::try_from(core.index()).expect("few cores"),
            command => command,
        }
    }
}

fn check<P>(machine: Machine<P>) -> impl Checker<Machine<P>>
where
    P: Policy + Clone + std::fmt::Debug + std::hash::Hash + Eq + Send + Sync,
{
    let start = std::time::Instant::now();
    let checker = machine.checker().threads(2).spawn_bfs().join();
    println!("{} states, depth {}, {:?}", checker.unique_state_count(), checker.max_depth(), start.elapsed());
    checker
}

#[test]
fn three_cores_two_proposals_one_crash() {
    check(Machine::<Sound>::new(3, 1, &[(1, 1), (2, 2)], None)).assert_properties();
}

#[test]
fn three_cores_the_home_leaves_one_crash() {
    check(Machine::<Sound>::new(3, 1, &[(0, 0), (1, 1)], None)).assert_properties();
}

#[test]
fn four_cores_two_crashes_one_refusal() {
    check(Machine::<Sound>::new(4, 2, &[(1, 1)], Some((3, 1)))).assert_properties();
}

#[test]
fn four_cores_two_proposals_two_crashes_one_refusal() {
    check(Machine::<Sound>::new(4, 2, &[(1, 1), (2, 2)], Some((3, 1)))).assert_properties();
}

#[test]
fn four_cores_three_crashes() {
    check(Machine::<Sound>::new(4, 3, &[(0, 1)], None)).assert_properties();
}

#[test]
fn four_cores_the_home_leaves_two_crashes() {
    check(Machine::<Sound>::new(4, 2, &[(0, 0), (1, 1)], None)).assert_properties();
}

#[test]
fn two_cores_and_one_that_joins_two_crashes() {
    check(Machine::<Sound>::new(3, 2, &[(1, 1)], None).with_joiners(1)).assert_properties();
}

#[test]
fn three_cores_and_one_that_joins_as_the_home_leaves_one_crash() {
    check(Machine::<Sound>::new(4, 1, &[(0, 0), (1, 1)], None).with_joiners(1)).assert_properties();
}

#[test]
fn one_core_and_two_that_join_one_crash() {
    check(Machine::<Sound>::new(3, 1, &[(0, 1)], None).with_joiners(2)).assert_properties();
}

#[test]
#[ignore = "800,000 states take half a minute"]
fn two_cores_and_two_that_join_one_crash() {
    check(Machine::<Sound>::new(4, 1, &[(1, 1)], None).with_joiners(2)).assert_properties();
}

#[test]
fn the_rule_that_any_survivor_decides_is_caught() {
    let checker = check(Machine::<AnySurvivor>::new(3, 2, &[(2, 1)], None));
    assert!(checker.discovery("one order, also of the dead").is_some());
}

#[test]
fn takeovers_without_an_alarm_get_stuck() {
    let checker = check(Machine::<NoAlarm>::new(3, 1, &[(0, 0)], None));
    assert!(checker.discovery("at rest all is settled and answered").is_some());
}
