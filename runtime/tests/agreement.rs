//! What an agreement tells when something is wrong: a core is stuck or behind, code of users panics, replicas differ.
#![cfg(not(loom))]

use std::fmt::{Debug, Write};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use multikernel::replicate::limits::{PROPOSALS, STALL};
use multikernel::replicate::{
    Closed, CoreId, ProposeError, Replicated, ReplicatedCell, StateMachine, Version,
};
use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{on_each_core, spawn_on};
use support::poll_once;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

mod support;

fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce() -> F) {
    Builder::new_test().cores(cores).run(test).unwrap();
}

/// Keeps a core in one poll, until this is dropped.
struct Stuck {
    release: Arc<AtomicBool>,
    spawned: u32,
}

impl Stuck {
    async fn on(core: CoreId) -> Self {
        let (begun, release) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (says, waits, spawned) = (begun.clone(), release.clone(), line!() + 1);
        drop(spawn_on(core, move || async move {
            says.store(true, Ordering::Release);
            while !waits.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        }));
        let stuck = Self { release, spawned };
        while !begun.load(Ordering::Acquire) {
            yield_now().await;
        }
        stuck
    }

    fn is_of(&self, task: &Location<'_>) -> bool {
        (task.file(), task.line()) == (file!(), self.spawned)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.release.store(true, Ordering::Release);
    }
}

/// What a Machine logs on the thread that runs it, which is its core 0 and home.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?};", field.name()).unwrap();
    }
}

impl Log {
    /// Those lines that have this in them.
    fn with(&self, part: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    fn on_cores<F: Future<Output = ()> + 'static>(cores: usize, test: impl FnOnce(Self) -> F) {
        let log = Self::default();
        tracing::subscriber::with_default(log.clone(), || on_cores(cores, || test(log)));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

type Hook = Arc<dyn Fn(&i64) + Send + Sync>;

/// A sum, and what each core does besides as it prepares and commits.
struct Sum {
    sum: i64,
    prepares: Hook,
    commits: Hook,
}

impl Sum {
    async fn new() -> Replicated<Self> {
        Self::hooked(|_| (), |_| ()).await
    }

    async fn hooked(
        prepares: impl Fn(&i64) + Send + Sync + 'static,
        commits: impl Fn(&i64) + Send + Sync + 'static,
    ) -> Replicated<Self> {
        let (prepares, commits): (Hook, Hook) = (Arc::new(prepares), Arc::new(commits));
        let make = move || Self { sum: 0, prepares: prepares.clone(), commits: commits.clone() };
        Replicated::new(make).await.unwrap()
    }
}

impl StateMachine for Sum {
    type Command = i64;
    type Refusal = ();
    type Snapshot = ();
    /// So that every core is asked, asleep or not.
    const VETO: bool = true;

    fn prepare(&mut self, number: &i64) -> Result<(), ()> {
        (self.prepares)(number);
        Ok(())
    }
    fn commit(&mut self, number: &i64) {
        (self.commits)(number);
        self.sum += number;
    }
    fn abort(&mut self, _: &i64) {}
    fn snapshot(&self) {}
    fn restore((): &()) -> Result<Self, ()> {
        Err(())
    }
}

fn sum(sum: &Sum) -> i64 {
    sum.sum
}

#[test]
fn who_holds_up_a_proposal_that_waits_for_its_turn_is_named() {
    const PATIENCE: Duration = Duration::from_millis(20);
    /// Fills the room at the home, and gives up one more. Says who was waited for.
    async fn give_up(total: &Replicated<Sum>, stuck: Option<&Stuck>) -> CoreId {
        let mut many = pin!(total.propose_all([1; PROPOSALS + 1]));
        assert!(poll_once(&mut many).await.is_pending());
        match total.propose_within(1000, PATIENCE).await.unwrap_err() {
            ProposeError::Stalled { core, waited, task, .. } => {
                assert!(waited > PATIENCE, "{waited:?} is what was given, not what it took");
                assert!(stuck.is_none_or(|stuck| stuck.is_of(task.unwrap())));
                core
            }
            other => panic!("{other}"),
        }
    }
    on_cores(3, || async {
        let total = Sum::new().await;
        let stuck = Stuck::on(CoreId::new(1)).await;
        assert_eq!(give_up(&total, Some(&stuck)).await, CoreId::new(1));
        // Another core knows only that the home has not taken it.
        let there = total.clone();
        let told = spawn_on(CoreId::new(2), move || async move { give_up(&there, None).await });
        assert_eq!(told.await.unwrap(), CoreId::new(0));
        drop(stuck);
        let there = total.clone();
        spawn_on(CoreId::new(2), move || async move { there.propose(0).await.unwrap() }).await.unwrap();
        assert_eq!(total.read(sum), 2 * (PROPOSALS as i64 + 1), "what was given up is committed nowhere");
    });
}

/// The home finds out by itself, for nothing else happens; and says so once.
#[test]
fn a_core_that_holds_up_a_round_for_long_is_logged_with_its_task() {
    Log::on_cores(2, |log| async move {
        let total = Sum::new().await;
        let stuck = Stuck::on(CoreId::new(1)).await;
        let (begun, mut proposed) = (Instant::now(), pin!(total.propose(1)));
        assert!(poll_once(&mut proposed).await.is_pending());
        let lines = || log.with("an agreement waits for a core");
        while lines().is_empty() {
            multikernel::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(begun.elapsed() >= STALL);
        let spawned = format!("{}:{}:", file!(), stuck.spawned);
        drop(stuck);
        proposed.await.unwrap();
        let [line] = &lines()[..] else { panic!("{:?}", lines()) };
        assert!(line.contains("core=core 1;"), "{line}");
        assert!(line.contains(&spawned), "{line}");
    });
}

/// As a clock or the order of a hash map would have it.
#[test]
fn replicas_that_differ_are_logged_in_debug_builds() {
    struct Differs(u64);
    impl StateMachine for Differs {
        type Command = bool;
        type Refusal = ();
        type Snapshot = ();
        const VETO: bool = true;
        fn prepare(&mut self, _: &bool) -> Result<(), ()> {
            Ok(())
        }
        fn commit(&mut self, differs: &bool) {
            self.0 += if *differs { CoreId::current().index() as u64 } else { 1 };
        }
        fn abort(&mut self, _: &bool) {}
        fn snapshot(&self) {}
        fn restore((): &()) -> Result<Self, ()> {
            Err(())
        }
        fn digest(&self) -> Option<u64> {
            Some(self.0)
        }
    }
    Log::on_cores(2, |log| async move {
        let _other = ReplicatedCell::new(7_u64).await.unwrap();
        let object = Replicated::new(|| Differs(0)).await.unwrap();
        let lines = || log.with("a replica differs");
        object.propose(false).await.unwrap();
        wake_all().await;
        assert_eq!(lines(), [""; 0]);
        let committed = object.propose(true).await.unwrap();
        wake_all().await;
        while cfg!(debug_assertions) && lines().is_empty() {
            yield_now().await;
        }
        let of_core_1 = format!("core=core 1;version={};object=", committed.version);
        assert_eq!(lines().len(), usize::from(cfg!(debug_assertions)));
        let says = |line: &String| line.contains(&of_core_1) && line.contains("::Differs;");
        assert!(lines().iter().all(says), "{:?}", lines());
    });
}

/// Until every core has run something: one that sleeps commits when it wakes.
async fn wake_all() {
    for core in on_each_core(|| async {}) {
        core.await.unwrap();
    }
}

/// How many cores find it closed.
async fn closed<S: StateMachine>(object: &Replicated<S>) -> usize {
    let (object, mut closed) = (object.clone(), 0);
    for core in on_each_core(move || async move { object.try_read(|_| ()) }) {
        closed += usize::from(core.await.unwrap() == Err(Closed));
    }
    closed
}

#[test]
fn a_closure_that_panics_closes_its_cell_on_every_core() {
    on_cores(3, || async {
        let (cell, other) = (ReplicatedCell::new(1).await.unwrap(), ReplicatedCell::new(7).await.unwrap());
        // The closure runs in the commit, which cannot fail: so it was committed.
        cell.update(|_| resume_unwind(Box::new("as told"))).await.unwrap();
        assert!(matches!(cell.set(2).await, Err(ProposeError::Closed { .. })));
        assert_eq!(closed(&cell).await, 3);
        other.update(|seven| seven + 1).await.unwrap();
        assert_eq!((*other.get(), closed(&other).await), (8, 0));
    });
}

#[test]
fn reading_inside_a_commit_panics_with_the_reason_and_closes_the_object() {
    on_cores(2, || async {
        let shared = Arc::new(OnceLock::<Replicated<Sum>>::new());
        let (given, told) = (shared.clone(), Arc::new(AtomicUsize::new(0)));
        let tells = told.clone();
        let nosy = move |_: &i64| {
            let read = catch_unwind(AssertUnwindSafe(|| given.get().unwrap().read(sum)));
            let panicked = read.unwrap_err();
            let message = panicked.downcast_ref::<&str>().unwrap();
            tells.fetch_add(
                usize::from(message.contains("inside a prepare, commit or abort")),
                Ordering::SeqCst,
            );
            resume_unwind(panicked);
        };
        let total = Sum::hooked(|_| (), nosy).await;
        assert!(shared.set(total.clone()).is_ok());
        total.propose(1).await.unwrap();
        wake_all().await;
        assert_eq!(told.load(Ordering::SeqCst), 2, "on each core");
        assert!(matches!(total.propose(1).await, Err(ProposeError::Closed { .. })));
        assert_eq!(closed(&total).await, 2);
    });
}

/// The home has committed, and another core has voted and does not know yet.
#[test]
fn a_core_that_is_behind_waits_for_the_version_that_came_by_another_way() {
    on_cores(3, || async {
        // Core 2 keeps its vote until core 1 has voted and is in a long poll, so that it cannot read the decision.
        let (has_voted, is_behind) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (votes, waits) = (has_voted.clone(), is_behind.clone());
        let total = Sum::hooked(
            move |_| match CoreId::current().index() {
                1 => votes.store(true, Ordering::Release),
                2 => {
                    while !waits.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                }
                _ => {}
            },
            |_| (),
        )
        .await;
        let (tell, told) = mpsc::channel::<Version>();
        let there = total.clone();
        let behind = spawn_on(CoreId::new(1), move || async move {
            while !has_voted.load(Ordering::Acquire) {
                yield_now().await;
            }
            is_behind.store(true, Ordering::Release);
            let version = told.recv().unwrap(); // blocks the core
            assert!(there.version() < version && there.read(sum) == 0);
            there.at_least(version).await;
            (there.version() >= version, there.read(sum))
        });
        let (changed, mut proposed) = (total.changed(), pin!(total.propose(7)));
        assert!(poll_once(&mut proposed).await.is_pending());
        tell.send(changed.await.unwrap()).unwrap();
        proposed.await.unwrap();
        assert_eq!(behind.await.unwrap(), (true, 7));
    });
}
