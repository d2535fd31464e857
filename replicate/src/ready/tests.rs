//! What the replicas of a core do with the machines of this module: code that panics, and what is due.

use std::cell::Cell as Flag;
use std::hash::{Hash, Hasher};

use super::fixture::ID;
use super::{Counter, Map};
use crate::limits::PROPOSE_AGAIN;
use crate::tests::Alone;
use crate::{
    Agreement, Asker, Change, Command, CoreId, CoreSet, Denial, ObjectId, Objects, Replicas, StateMachine,
    Time,
};

thread_local! {
    static BREAKS: Flag<&'static str> = const { Flag::new("") };
}

/// Panics where it is told to, if its name says so.
#[derive(Debug)]
struct Brittle(&'static str);

impl Brittle {
    fn touch(&self, what: &str) {
        if self.0 == "brittle" && BREAKS.get() == what {
            std::panic::resume_unwind(Box::new("as told"));
        }
    }
}

impl Clone for Brittle {
    fn clone(&self) -> Self {
        self.touch("clone");
        Self(self.0)
    }
}

impl PartialEq for Brittle {
    fn eq(&self, other: &Self) -> bool {
        self.touch("eq");
        self.0 == other.0
    }
}

impl Eq for Brittle {}

impl Hash for Brittle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.touch("hash");
        // All collide, so that they are compared.
        state.write_u8(0);
    }
}

type Strings = Map<Brittle, Brittle>;

fn change(command: super::MapCommand<Brittle, Brittle>) -> Command {
    Command::change::<Strings>(ID, command)
}

fn with_map() -> Replicas {
    BREAKS.set("");
    let mut replicas = Replicas::default();
    replicas.commit(&Command::create(ID, Strings::new));
    replicas.commit(&change(Map::insert(Brittle("brittle"), Brittle("value"))));
    replicas
}

#[test]
fn a_panic_in_a_prepare_leaves_no_trace() {
    for what in ["hash", "eq", "clone"] {
        let mut replicas = with_map();
        let mixed = change(Map::batch([
            Map::insert_if_absent(Brittle("first"), Brittle("value")),
            Map::remove(Brittle("brittle")),
            Map::insert_if_absent(Brittle("brittle"), Brittle("other")),
        ]));
        let before = change(Map::insert(Brittle("before"), Brittle("value")));
        replicas.prepare(&before, Asker::Home).expect("it is never refused");
        BREAKS.set(what);
        let denial = replicas.prepare(&mixed, Asker::Home).expect_err(what);
        assert!(matches!(denial, Denial::Panicked) && replicas.poisoned().is_none(), "{what}");
        BREAKS.set("");
        replicas.commit_announced(&change(Map::insert(Brittle("first"), Brittle("announced"))));
        let first = replicas.read(ID, |map: &Strings| map.get(&Brittle("first")).map(|value| value.0));
        assert_eq!(first, Some(Some("announced")), "no other core would leave this out");
        replicas.commit(&before);
        replicas.commit(&change(Map::remove(Brittle("first"))));
        // Had it left its first step, this would be refused. Had it left one more, the second would be.
        let first = change(Map::insert_if_absent(Brittle("first"), Brittle("mine")));
        replicas.prepare(&first, Asker::Home).expect("the key is absent");
        replicas.abort(&first);
        replicas.prepare(&mixed, Asker::Home).expect("all keys are free at their turn");
        replicas.commit(&mixed);
        let other = replicas.read(ID, |map: &Strings| map.get(&Brittle("brittle")).map(|value| value.0));
        assert_eq!(other, Some(Some("other")));
    }
}

#[test]
fn a_panic_in_a_commit_closes_the_object() {
    let mut replicas = with_map();
    let insert = change(Map::insert(Brittle("key"), Brittle("brittle")));
    replicas.prepare(&insert, Asker::Member).expect("nothing is cloned yet");
    BREAKS.set("clone");
    replicas.commit(&insert);
    BREAKS.set("");
    assert!(replicas.poisoned().is_some());
    assert_eq!(replicas.read(ID, Strings::len), None);
    assert!(replicas.next_due().is_none() && replicas.take_due(Time(u64::MAX)).is_none());
}

#[test]
fn what_is_due_is_taken_once_until_it_is_done() {
    type Leases = Map<u32, u32>;
    let other = ObjectId(9);
    let mut replicas = Replicas::default();
    for id in [ID, other] {
        replicas.commit(&Command::create(id, Leases::new));
    }
    replicas.commit(&Command::create(ObjectId(10), Counter::new));
    assert!(replicas.next_due().is_none() && replicas.take_due(Time(u64::MAX)).is_none());
    let lease = |id, key, at| Command::change::<Leases>(id, Map::insert_until(key, 0, Time(at)));
    replicas.commit(&lease(other, 1, 10));
    replicas.commit_announced(&lease(ID, 1, 20));
    assert_eq!(replicas.next_due(), Some(Time(10)));
    assert!(replicas.take_due(Time(9)).is_none());

    let expiry = replicas.take_due(Time(15)).expect("one is late");
    assert_eq!(replicas.next_due(), Some(Time(20)), "the late one has been taken");
    replicas.commit(&lease(other, 2, 30));
    assert!(replicas.take_due(Time(15)).is_none(), "another commit does not change that");
    replicas.prepare(&expiry, Asker::Home).expect("an expiry is not refused");
    replicas.commit(&expiry);
    assert_eq!(replicas.read(other, Leases::len), Some(1));
    replicas.commit(&lease(other, 1, 10));
    assert_eq!(replicas.next_due(), Some(Time(10)), "it is late again");

    assert!(replicas.take_due(Time(20)).is_some() && replicas.take_due(Time(20)).is_some());
    let again = Time(20 + PROPOSE_AGAIN);
    assert_eq!(replicas.next_due(), Some(again), "what was lost is proposed again");
    let (mut joiner, saved) = (Replicas::default(), replicas.snapshot());
    joiner.restore(&saved).expect("it was saved");
    assert_eq!(joiner.next_due(), Some(Time(10)), "who joins may be the next home");
    replicas.commit(&Command::destroy(other));
    replicas.commit(&Command::destroy(ID));
    assert!(replicas.next_due().is_none());
}

#[test]
fn only_the_home_proposes_what_is_due() {
    type Leases = Map<u32, u32>;
    let founders = CoreSet::below(2);
    for (core, is_home) in [(0, true), (1, false)] {
        let mut replicas = Replicas::default();
        replicas.commit(&Command::create(ID, Leases::new));
        replicas.commit(&Command::change::<Leases>(ID, Map::insert_until(1, 1, Time(5))));
        let mut part = Agreement::<Replicas>::founder(CoreId::new(core), founders, replicas);
        assert_eq!(part.next_due().is_some(), is_home);
        assert_eq!(part.take_due(Time(5)).is_some(), is_home);
    }
}

/// Due once for each change of the view.
struct Greeter(u64);

impl StateMachine for Greeter {
    type Command = ();
    type Refusal = ();
    type Snapshot = u64;
    const VETO: bool = false;

    fn prepare(&mut self, (): &()) -> Result<(), ()> {
        Ok(())
    }
    fn commit(&mut self, (): &()) {}
    fn abort(&mut self, (): &()) {}
    fn snapshot(&self) -> u64 {
        self.0
    }
    fn restore(views: &u64) -> Result<Self, ()> {
        Ok(Self(*views))
    }
    fn next_due(&self) -> Option<Time> {
        Some(Time(self.0))
    }
    fn commit_view(&mut self, _: &Change) {
        self.0 += 1;
    }
}

#[test]
fn something_may_be_due_from_the_start_and_by_a_change_of_the_view() {
    let mut replicas = Replicas::default();
    replicas.commit(&Command::create(ID, || Greeter(7)));
    assert_eq!(replicas.next_due(), Some(Time(7)));
    replicas.commit_view(&Change::Dead(CoreId::new(1)));
    assert_eq!(replicas.next_due(), Some(Time(8)));
    assert!(replicas.take_due(Time(8)).is_none(), "it does not know what it wants");
    assert_eq!(replicas.next_due(), Some(Time(8 + PROPOSE_AGAIN)));
}

#[test]
fn what_is_announced_keeps_the_promises_of_the_machine() {
    let (me, mut fx) = (CoreId::new(0), Alone::default());
    let mut replicas = Replicas::default();
    replicas.commit(&Command::create(ID, || Counter::with_bound(1)));
    let mut part = Agreement::<Replicas>::founder(me, CoreSet::only(me), replicas);
    for (amount, value) in [(2, 0), (1, 1), (1, 1)] {
        part.announce(Command::change::<Counter>(ID, Counter::add(me, amount)), &mut fx).expect("a member");
        assert_eq!(part.objects().read(ID, Counter::value), Some(value));
    }
}
