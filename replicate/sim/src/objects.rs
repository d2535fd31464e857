//! What the simulated cores replicate, and a witness of what is done to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use multikernel_replicate::{
    Asker, Change, Command, CoreId, CoreSet, Denial, Digests, ObjectId, Objects, Policy, Replicas, Saved,
    StateMachine,
};

use multikernel_replicate::timers::Timers;

use crate::journal::{Journal, What};
use crate::timers::Alarm;

/// The object with a veto that is there from the start.
pub const LEDGER: ObjectId = ObjectId(1);
/// The object without a veto that is there from the start.
pub const TALLY: ObjectId = ObjectId(2);

/// The timers of the Machine, which are there from the start.
pub const TIMERS: ObjectId = ObjectId(3);

/// The number of a command in one run. Each is proposed once.
pub type Id = u64;

/// Commands that the protocol proposes have this and the number of their object.
pub const OF_THE_PROTOCOL: Id = 1 << 63;

/// Keys taken by commands: who comes first has it.
#[derive(Default)]
pub struct Ledger {
    taken: BTreeMap<u8, Id>,
    reserved: Vec<(u8, Id)>,
    history: u64,
}

/// The key is taken by that command.
#[derive(Debug)]
pub struct TakenBy(pub Id);

impl StateMachine for Ledger {
    type Command = (u8, Id);
    type Refusal = TakenBy;
    type Snapshot = (BTreeMap<u8, Id>, u64);
    const VETO: bool = true;

    fn prepare(&mut self, &(key, id): &(u8, Id)) -> Result<(), TakenBy> {
        let reserved = self.reserved.iter().find(|(other, _)| *other == key).map(|(_, id)| *id);
        if let Some(by) = self.taken.get(&key).copied().or(reserved) {
            return Err(TakenBy(by));
        }
        self.reserved.push((key, id));
        Ok(())
    }

    fn commit(&mut self, &(key, id): &(u8, Id)) {
        self.reserved.retain(|(other, _)| *other != key);
        self.taken.insert(key, id);
        self.history = self.history.rotate_left(7) ^ id.wrapping_mul(0x9e37_79b9);
    }

    fn abort(&mut self, &(key, id): &(u8, Id)) {
        assert_eq!(self.reserved.pop(), Some((key, id)), "the latest prepare is undone first");
    }

    fn snapshot(&self) -> Self::Snapshot {
        assert!(self.reserved.is_empty(), "a snapshot is taken while nothing is prepared");
        (self.taken.clone(), self.history)
    }

    fn restore((taken, history): &Self::Snapshot) -> Result<Self, TakenBy> {
        Ok(Self { taken: taken.clone(), reserved: Vec::new(), history: *history })
    }

    fn digest(&self) -> Option<u64> {
        Some(self.history ^ self.taken.len() as u64)
    }
}

/// A sum with a bound, which the home alone watches.
#[derive(Default)]
pub struct Tally {
    sum: u64,
    reserved: u64,
}

/// What is done to a [`Tally`].
pub enum Count {
    /// Add so much.
    Add(u64),
    /// Panic at these cores.
    Boom(CoreSet),
}

thread_local! {
    /// The core that runs.
    static RUNNING: Cell<CoreId> = const { Cell::new(CoreId::new(0)) };
}

/// The core whose replicas run.
pub(crate) fn running() -> CoreId {
    RUNNING.get()
}

impl StateMachine for Tally {
    type Command = Count;
    type Refusal = ();
    type Snapshot = u64;
    const VETO: bool = false;

    fn prepare(&mut self, count: &Count) -> Result<(), ()> {
        let Count::Add(more) = count else { return Ok(()) };
        if self.sum + self.reserved + more > 1000 {
            return Err(());
        }
        self.reserved += more;
        Ok(())
    }

    fn commit(&mut self, count: &Count) {
        match count {
            Count::Add(more) => {
                self.reserved = self.reserved.saturating_sub(*more);
                self.sum += more;
            }
            Count::Boom(at) if at.contains(RUNNING.get()) => std::panic::resume_unwind(Box::new("boom")),
            Count::Boom(_) => {}
        }
    }

    fn abort(&mut self, count: &Count) {
        if let Count::Add(more) = count {
            self.reserved -= more;
        }
    }

    fn snapshot(&self) -> u64 {
        self.sum
    }

    fn restore(sum: &u64) -> Result<Self, ()> {
        Ok(Self { sum: *sum, reserved: 0 })
    }

    fn digest(&self) -> Option<u64> {
        Some(self.sum)
    }
}

/// A command with its number, and the cores that refuse it whatever it is.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// Its number.
    pub id: Id,
    /// Who refuses it.
    pub veto: CoreSet,
    /// What it does.
    pub command: Command,
}

/// The replicas that ship, and somebody who writes down what is done to them.
#[derive(Debug)]
pub struct Witness {
    me: CoreId,
    inner: Replicas,
    journal: Rc<RefCell<Journal>>,
    /// Refuses to restore.
    is_stubborn: bool,
}

impl Witness {
    /// The replicas of a core that joins: none yet.
    pub(crate) fn new(me: CoreId, journal: Rc<RefCell<Journal>>, is_stubborn: bool) -> Self {
        Self { me, inner: Replicas::default(), journal, is_stubborn }
    }

    /// The replicas of a core that is there from the start, with these others, and the objects that are.
    pub(crate) fn founder<P: Policy>(me: CoreId, founders: CoreSet, journal: Rc<RefCell<Journal>>) -> Self {
        let mut witness = Self { inner: Replicas::among(founders), ..Self::new(me, journal, false) };
        let objects = [
            Command::create(LEDGER, Ledger::default),
            Command::create(TALLY, Tally::default),
            Command::create(TIMERS, Timers::<Alarm, P>::new),
        ];
        RUNNING.set(me);
        objects.iter().for_each(|command| witness.inner.commit(command));
        witness
    }

    /// How many timers of the Machine this core knows, and how many of them wait here.
    pub(crate) fn timers<P: Policy>(&self) -> Option<(usize, usize)> {
        self.inner.read(TIMERS, Timers::<Alarm, P>::count)
    }

    fn note(&self, what: What) {
        self.journal.borrow_mut().note(self.me, what);
    }
}

impl Objects for Witness {
    type Command = Tagged;
    type Refusal = Denial;
    type Snapshot = Saved;

    fn may_veto(&self, command: &Tagged) -> bool {
        self.inner.may_veto(&command.command)
    }

    fn prepare(&mut self, command: &Tagged, asker: Asker) -> Result<(), Denial> {
        RUNNING.set(self.me);
        if command.veto.contains(self.me) && self.may_veto(command) {
            return Err(Denial::Refused(Arc::new("veto")));
        }
        self.inner.prepare(&command.command, asker)?;
        self.note(What::Prepared(command.id));
        Ok(())
    }

    fn commit(&mut self, command: &Tagged) {
        RUNNING.set(self.me);
        self.note(What::Committed(command.id));
        self.inner.commit(&command.command);
    }

    fn abort(&mut self, command: &Tagged) {
        RUNNING.set(self.me);
        self.note(What::Aborted(command.id));
        self.inner.abort(&command.command);
    }

    fn prepare_view(&mut self, change: &Change) -> Result<(), Denial> {
        self.inner.prepare_view(change)?;
        self.note(What::ViewPrepared(*change));
        Ok(())
    }

    fn commit_view(&mut self, change: &Change) {
        self.note(What::ViewCommitted(*change));
        self.inner.commit_view(change);
    }

    fn abort_view(&mut self, change: &Change) {
        self.note(What::ViewAborted(*change));
        self.inner.abort_view(change);
    }

    fn snapshot(&self) -> Saved {
        self.inner.snapshot()
    }

    fn restore(&mut self, snapshot: &Saved) -> Result<(), Denial> {
        if self.is_stubborn {
            return Err(Denial::Refused(Arc::new("stubborn")));
        }
        RUNNING.set(self.me);
        self.note(What::Restored);
        self.inner.restore(snapshot)
    }

    fn clear(&mut self) {
        self.note(What::Cleared);
        self.inner.clear();
    }

    fn poisoned(&self) -> Option<Tagged> {
        let command = self.inner.poisoned()?;
        Some(Tagged { id: OF_THE_PROTOCOL | u64::MAX >> 1, veto: CoreSet::EMPTY, command })
    }

    fn digests(&self) -> Option<Digests> {
        self.inner.digests()
    }
}
