//! Runs rounds on some cores as the protocol does, beside a model that knows nothing of rounds.

use std::fmt::Debug;

use proptest::prelude::*;

use crate::{Asker, Change, Command, ObjectId, Objects, Replicas, StateMachine, Time};

pub(super) const ID: ObjectId = ObjectId(1);

/// What a state machine ought to be: commands one after the other, each done or refused.
pub(super) trait Model: Clone + Debug + PartialEq {
    type Machine: StateMachine<Refusal: Clone + Debug + PartialEq>;
    type Order: Clone + Debug;

    fn of(machine: &Self::Machine) -> Self;
    fn command(order: &Self::Order) -> <Self::Machine as StateMachine>::Command;
    fn apply(&mut self, order: &Self::Order) -> Result<(), <Self::Machine as StateMachine>::Refusal>;

    /// What a prepare counts with, if it may know less than what will be.
    fn plan(&mut self, order: &Self::Order) -> Result<(), <Self::Machine as StateMachine>::Refusal> {
        self.apply(order)
    }

    fn change_view(&mut self, _: &Change) {}

    fn next_due(&self) -> Option<Time> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Proposed,
    Announced,
}

#[derive(Clone, Debug)]
pub(super) enum Event<O> {
    /// A batch, and how much of it commits, in tenths.
    Round(Vec<(How, O)>, usize),
    /// A change of the view, and whether it commits.
    View(Change, bool),
    /// The home is from now on the core that has just been restored.
    NewHome,
}

pub(super) fn events<O: Clone + Debug + 'static>(
    order: impl Strategy<Value = O> + Clone + 'static,
    announced: u32,
    changes: impl Strategy<Value = Change> + 'static,
) -> impl Strategy<Value = Vec<Event<O>>> {
    let how = prop_oneof![10 - announced => Just(How::Proposed), announced => Just(How::Announced)];
    let batch = prop::collection::vec((how, order), 1..12);
    let event = prop_oneof![
        8 => (batch, 0..15_usize).prop_map(|(batch, tenths)| Event::Round(batch, tenths.min(10))),
        1 => (changes, any::<bool>()).prop_map(|(change, commits)| Event::View(change, commits)),
        1 => Just(Event::NewHome),
    ];
    prop::collection::vec(event, 1..25)
}

const HOME: usize = 0;
const MEMBER: usize = 1;
const FRESH: usize = 2;

/// A home, a member that was there from the start, and a core that is restored before each event and asked as the home is: what
/// it answers shows whether anything is left in the others that is not in a snapshot.
struct Cores<M> {
    replicas: [Replicas; 3],
    model: M,
}

/// Runs the events on replicas that begin as the factory says.
pub(super) fn run<M: Model>(
    factory: impl Fn() -> M::Machine + Clone + Send + Sync + 'static,
    events: Vec<Event<M::Order>>,
) {
    let model = M::of(&factory());
    let replicas = [(); 3].map(|()| {
        let mut replicas = Replicas::default();
        replicas.commit(&Command::create(ID, factory.clone()));
        replicas
    });
    let mut cores = Cores { replicas, model };
    for event in events {
        cores.replicas[FRESH] = cores.restored();
        cores.check("restored");
        match event {
            Event::Round(deeds, tenths) => cores.round(deeds, tenths),
            Event::View(change, commits) => cores.view(change, commits),
            Event::NewHome => cores.replicas[HOME] = cores.restored(),
        }
        cores.check("decided");
    }
}

impl<M: Model> Cores<M> {
    fn restored(&self) -> Replicas {
        let mut replicas = Replicas::default();
        replicas.restore(&self.replicas[MEMBER].snapshot()).expect("what was saved is restored");
        replicas
    }

    /// Readers see the model, on every core.
    fn check(&self, when: &str) {
        for replicas in &self.replicas {
            let seen = replicas.read(ID, M::of);
            assert_eq!(seen.as_ref(), Some(&self.model), "{when}");
            assert_eq!(replicas.next_due(), self.model.next_due(), "{when}");
            assert_eq!(replicas.digests(), self.replicas[HOME].digests(), "{when}");
        }
    }

    fn round(&mut self, deeds: Vec<(How, M::Order)>, tenths: usize) {
        let mut plan = self.model.clone();
        let mut batch = Vec::new();
        for (how, order) in deeds {
            let command = Command::change::<M::Machine>(ID, M::command(&order));
            if how == How::Announced || self.prepare(&command, &order, &mut plan) {
                batch.push((how, order, command));
            }
        }
        self.check("prepared");
        let rest = batch.split_off(batch.len() * tenths / 10);
        for (_, _, command) in rest.iter().rev().filter(|(how, ..)| *how == How::Proposed) {
            self.replicas.iter_mut().for_each(|replicas| replicas.abort(command));
        }
        self.check("aborted");
        self.commit(&batch);
    }

    /// Asks all cores. Says whether the command is accepted, which is what the model says.
    fn prepare(&mut self, command: &Command, order: &M::Order, plan: &mut M) -> bool {
        let mut planned = plan.clone();
        let expected = planned.plan(order);
        for core in [HOME, FRESH] {
            let answer = self.replicas[core].prepare(command, Asker::Home);
            let answer = answer.map_err(|denial| {
                denial.refusal::<<M::Machine as StateMachine>::Refusal>().cloned().expect("its own refusal")
            });
            assert_eq!(answer, expected, "{order:?} at core {core}");
        }
        if expected.is_ok() {
            *plan = planned;
            self.replicas[MEMBER].prepare(command, Asker::Member).expect("members do not refuse");
        }
        expected.is_ok()
    }

    /// What is proposed takes place. What is announced takes place if it can, or comes to nothing for the sake of what is proposed.
    fn commit(&mut self, batch: &[(How, M::Order, Command)]) {
        let is_free = batch.iter().all(|(how, ..)| *how == How::Announced);
        let mut possible = vec![self.model.clone()];
        for (how, order, command) in batch {
            let mut next = Vec::new();
            for before in possible {
                let mut after = before.clone();
                let applied = after.apply(order);
                let is_sure = is_free && before.clone().plan(order).is_ok();
                if *how == How::Announced && (applied.is_err() || !is_sure) {
                    next.push(before);
                }
                if applied.is_ok() && !next.contains(&after) {
                    next.push(after);
                }
            }
            possible = next;
            for replicas in &mut self.replicas {
                match how {
                    How::Proposed => replicas.commit(command),
                    How::Announced => replicas.commit_announced(command),
                }
            }
        }
        let seen = self.replicas[HOME].read(ID, M::of).expect("it is there");
        assert!(possible.contains(&seen), "{seen:?} is none of {possible:?}");
        self.model = seen;
    }

    fn view(&mut self, change: Change, commits: bool) {
        for replicas in &mut self.replicas {
            replicas.prepare_view(&change).expect("nobody refuses");
        }
        self.check("view prepared");
        for replicas in &mut self.replicas {
            if commits {
                replicas.commit_view(&change);
            } else {
                replicas.abort_view(&change);
            }
        }
        if commits {
            self.model.change_view(&change);
        }
    }
}
