//! What can be seen without other cores.

use crate::effects::Effects;
use crate::{
    Agreement, Asker, Change, Command, CoreId, CoreSet, Denial, ObjectId, Objects, Outcome, Refusal,
    Replicas, STEPS, Seq, StateMachine, Step, Time, Version, Wire,
};

/// Even numbers only; panics where it is told to.
#[derive(Default)]
struct Evens {
    began: Vec<usize>,
    sum: i64,
    views: Vec<Change>,
}

const PANIC_IN_PREPARE: i64 = 1000;
const PANIC_IN_COMMIT: i64 = 2000;

impl StateMachine for Evens {
    type Command = i64;
    type Refusal = &'static str;
    type Snapshot = i64;
    const VETO: bool = true;

    fn prepare(&mut self, number: &i64) -> Result<(), &'static str> {
        if *number == PANIC_IN_PREPARE {
            std::panic::resume_unwind(Box::new("as told"));
        }
        if number % 2 == 0 { Ok(()) } else { Err("odd") }
    }
    fn commit(&mut self, number: &i64) {
        if *number == PANIC_IN_COMMIT {
            std::panic::resume_unwind(Box::new("as told"));
        }
        self.sum += number;
    }
    fn abort(&mut self, _: &i64) {}
    fn snapshot(&self) -> i64 {
        self.sum
    }
    fn restore(sum: &i64) -> Result<Self, &'static str> {
        if *sum < 0 { Err("negative") } else { Ok(Self { sum: *sum, ..Self::default() }) }
    }
    fn begin(&mut self, members: CoreSet) {
        self.began = members.iter().map(CoreId::index).collect();
    }
    fn commit_view(&mut self, change: &Change) {
        self.views.push(*change);
    }
}

const ID: ObjectId = ObjectId(7);

fn add(number: i64) -> Command {
    Command::change::<Evens>(ID, number)
}

fn with_evens() -> Replicas {
    let mut replicas = Replicas::default();
    let create = Command::create(ID, Evens::default);
    replicas.prepare(&create, Asker::Home).expect("the name is free");
    assert_eq!(replicas.read(ID, |evens: &Evens| evens.sum), None, "nobody sees what is only prepared");
    replicas.commit(&create);
    replicas
}

/// What one core does when it is alone.
#[derive(Default)]
pub(crate) struct Alone {
    answers: Vec<(Seq, Outcome<Denial>)>,
    ended: bool,
}

impl Effects<Replicas> for Alone {
    fn post(&mut self, to: CoreId, message: Wire<Replicas>) {
        panic!("there is nobody to tell {to} {message:?}");
    }
    fn ring(&mut self, _: CoreId) {}
    fn is_asleep(&mut self, _: CoreId) -> bool {
        false
    }
    fn deciding(&mut self, _: Version) {}
    fn advanced(&mut self, _: Version) {}
    fn answer(&mut self, seq: Seq, outcome: Outcome<Denial>) {
        self.answers.push((seq, outcome));
    }
    fn left(&mut self) {
        self.ended = true;
    }
    fn step(&mut self, step: Step) {
        assert!(step.is_declared(), "{step:?}");
    }
}

#[test]
fn a_core_alone_decides_at_once() {
    let me = CoreId::new(3);
    let (mut part, mut fx) =
        (Agreement::<Replicas>::founder(me, CoreSet::only(me), with_evens()), Alone::default());
    part.propose(add(2), Some(Time(5)), &mut fx).expect("a member");
    part.propose(add(3), None, &mut fx).expect("a member");
    part.announce(add(4), &mut fx).expect("a member");
    part.leave(&mut fx).expect("a member");
    assert_eq!(part.objects().read(ID, |evens: &Evens| evens.sum), Some(6));
    assert_eq!((part.version(), part.unanswered(), part.next_deadline()), (Version(2), 0, None));
    let [(_, Outcome::Committed(Version(1))), (_, Outcome::Refused { by, refusal }), (_, last)] =
        &fx.answers[..]
    else {
        panic!("{:?}", fx.answers);
    };
    let Refusal::Object(denial) = refusal else { panic!("{refusal:?}") };
    assert_eq!((*by, denial.refusal::<&str>()), (me, Some(&"odd")));
    assert!(matches!(last, Outcome::Refused { refusal: Refusal::LastCore, .. }) && !fx.ended);
}

#[test]
fn who_is_no_member_gets_the_command_back() {
    let (mut part, mut fx) =
        (Agreement::<Replicas>::joiner(CoreId::new(1), Replicas::default()), Alone::default());
    assert!(part.propose(add(2), None, &mut fx).is_err() && part.announce(add(2), &mut fx).is_err());
    assert!(part.leave(&mut fx).is_none() && !part.is_member());
}

#[test]
fn a_panic_in_prepare_refuses_and_in_commit_poisons() {
    let mut replicas = with_evens();
    assert!(matches!(replicas.prepare(&add(PANIC_IN_PREPARE), Asker::Member), Err(Denial::Panicked)));
    assert!(replicas.poisoned().is_none());
    replicas.prepare(&add(PANIC_IN_COMMIT), Asker::Member).expect("even");
    replicas.commit(&add(PANIC_IN_COMMIT));
    assert_eq!(replicas.read(ID, |evens: &Evens| evens.sum), None, "a poisoned replica is not read");
    assert!(matches!(replicas.prepare(&add(2), Asker::Home), Err(Denial::Closed)));
    assert!(replicas.prepare(&add(2), Asker::Member).is_ok(), "a member leaves it to the home");
    let close = replicas.poisoned().expect("it is to be closed");
    replicas.prepare(&close, Asker::Home).expect("it is there");
    assert!(replicas.poisoned().is_none(), "once is enough");
    replicas.commit(&close);
    assert!(matches!(replicas.prepare(&add(2), Asker::Member), Err(Denial::Closed)));
}

#[test]
fn objects_are_created_once_and_end_once() {
    let mut replicas = with_evens();
    let (again, end) = (Command::create(ID, Evens::default), Command::destroy(ID));
    assert!(matches!(replicas.prepare(&again, Asker::Member), Err(Denial::Exists)));
    replicas.prepare(&end, Asker::Member).expect("it is there");
    assert!(matches!(replicas.prepare(&add(2), Asker::Member), Err(Denial::Closed)));
    replicas.abort(&end);
    replicas.prepare(&add(2), Asker::Member).expect("it goes on");
}

#[test]
fn a_new_replica_is_told_who_the_members_are() {
    let mut first = Replicas::among(CoreSet::below(3));
    first.commit_view(&Change::Dead(CoreId::new(1)));
    let mut joiner = Replicas::default();
    joiner.restore(&first.snapshot()).expect("it is empty");
    for replicas in [&mut first, &mut joiner] {
        replicas.commit_view(&Change::Join(CoreId::new(5)));
        let create = Command::create(ID, Evens::default);
        replicas.prepare(&create, Asker::Home).expect("the name is free");
        replicas.commit(&create);
        assert_eq!(replicas.read(ID, |evens: &Evens| evens.began.clone()), Some(vec![0, 2, 5]));
    }
}

#[test]
fn a_snapshot_restores_or_is_refused_whole() {
    let (mut replicas, mut joiner) = (with_evens(), Replicas::default());
    replicas.commit(&add(8));
    joiner.restore(&replicas.snapshot()).expect("a positive sum");
    assert_eq!(joiner.read(ID, |evens: &Evens| evens.sum), Some(8));
    joiner.commit_view(&Change::Dead(CoreId::new(0)));
    assert_eq!(joiner.read(ID, |evens: &Evens| evens.views.len()), Some(1));
    replicas.commit(&add(-10));
    let denial = joiner.restore(&replicas.snapshot()).expect_err("a negative sum");
    assert_eq!(denial.refusal::<&str>(), Some(&"negative"));
    assert_eq!(joiner.read(ID, |evens: &Evens| evens.sum), None, "nothing is left of what was there");
}

#[test]
fn a_command_of_another_type_is_refused() {
    let mut replicas = with_evens();
    let wrong = Command::change::<Wrong>(ID, "no");
    assert!(matches!(replicas.prepare(&wrong, Asker::Member), Err(Denial::Closed)));
}

struct Wrong;

impl StateMachine for Wrong {
    type Command = &'static str;
    type Refusal = ();
    type Snapshot = ();
    const VETO: bool = false;
    fn prepare(&mut self, _: &&'static str) -> Result<(), ()> {
        Ok(())
    }
    fn commit(&mut self, _: &&'static str) {}
    fn abort(&mut self, _: &&'static str) {}
    fn snapshot(&self) {}
    fn restore((): &()) -> Result<Self, ()> {
        Ok(Self)
    }
}

/// The tables in README.md are those of the code.
#[test]
fn the_tables_are_as_written() {
    let page = include_str!("../README.md");
    let written =
        page.split("```steps\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the tables");
    let declared: String =
        STEPS.iter().map(|(step, when)| format!("{:<32}{when}\n", format!("{step:?}"))).collect();
    assert_eq!(written, declared, "README.md should say:\n{declared}");
}
