//! The replicas of several cores on one thread, and the object of a real Machine from within.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel_replicate::timers::HasStarted;
use multikernel_replicate::{Change, CoreId, CoreSet, Replicated, StateMachine};

use super::alarm::{Order, Timers};
use super::plan::{Kind, Plan};
use super::*;
use crate::machine::objects;
use crate::runtime::Builder;
use crate::task::yield_now;

/// More than a tick of the wheel.
const TICK: Duration = Duration::from_millis(1);

fn c(core: usize) -> CoreId {
    CoreId::new(core)
}

const LEAVE_1: Change = Change::Leave { core: CoreId::new(1), next: None };

/// Three cores' replicas, which the test tells what is decided.
struct Cores {
    replicas: Vec<Timers>,
    object: Replicated<Timers>,
    /// How often what was armed has run.
    runs: Arc<AtomicUsize>,
}

impl Cores {
    async fn new() -> Self {
        let object = Replicated::fixed(objects::TIMERS, Timers::new).await.unwrap();
        let nothing = (CoreSet::below(3), std::collections::BTreeMap::new());
        let replicas = (0..3).map(|core| Timers::of(c(core), &nothing)).collect();
        Self { replicas, object, runs: Arc::default() }
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::Relaxed)
    }

    fn commit(&mut self, order: &Order) {
        self.replicas.iter_mut().for_each(|replica| {
            replica.prepare(order).unwrap();
            replica.commit(order);
        });
    }

    fn arm(&mut self, deadline: Instant, owner: usize, kind: impl Fn(Arc<AtomicUsize>) -> Kind) -> Arc<Plan> {
        let kind = kind(self.runs.clone());
        let plan = Arc::new(Plan::new(deadline, kind, Location::caller(), self.object.clone()));
        self.commit(&Order::Arm { plan: plan.clone(), owner: c(owner) });
        plan
    }

    /// That core is gone, for the others at least.
    fn decide(&mut self, change: &Change) {
        for replica in &mut self.replicas {
            replica.prepare_view(change).unwrap();
            replica.commit_view(change);
        }
    }

    fn owners(&self, id: u64) -> Vec<Option<usize>> {
        self.replicas.iter().map(|replica| replica.owner(id).map(CoreId::index)).collect()
    }
}

fn once(runs: Arc<AtomicUsize>) -> Kind {
    Kind::once(move || _ = runs.fetch_add(1, Ordering::Relaxed))
}

fn each(runs: Arc<AtomicUsize>) -> Kind {
    Kind::each(move || _ = runs.fetch_add(1, Ordering::Relaxed))
}

fn every(runs: Arc<AtomicUsize>) -> Kind {
    Kind::every(move || _ = runs.fetch_add(1, Ordering::Relaxed), Duration::from_secs(3_600))
}

/// Until what is due at `deadline` has run: it was registered before this, and tasks run in order.
async fn pass(deadline: Instant) {
    sleep_until(deadline + TICK).await;
    yield_now().await;
}

fn on_a_core<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F) {
    Builder::new_test().run(test).unwrap();
}

fn soon() -> Instant {
    Instant::now() + 4 * TICK
}

#[test]
fn a_timer_that_may_be_cancelled_waits_for_the_decision() {
    on_a_core(|| async {
        for kind in [once, each, every] {
            let mut cores = Cores::new().await;
            let deadline = soon();
            let plan = cores.arm(deadline, 1, kind);
            let parts = if plan.claims.is_for_each() { 3 } else { 1 };
            let cancel = Order::Cancel(plan.claims.id);
            cores.replicas.iter_mut().for_each(|replica| replica.prepare(&cancel).unwrap());
            pass(deadline).await;
            assert_eq!(cores.runs(), 0, "nothing is decided");
            cores.replicas.iter_mut().for_each(|replica| replica.abort(&cancel));
            pass(deadline).await;
            assert_eq!(cores.runs(), parts, "it was not cancelled, and has been due for long");

            let deadline = soon();
            let plan = cores.arm(deadline, 1, kind);
            cores.commit(&Order::Cancel(plan.claims.id));
            assert_eq!(cores.owners(plan.claims.id), [None; 3]);
            pass(deadline).await;
            assert_eq!(cores.runs(), parts, "it was cancelled");
        }
    });
}

#[test]
fn no_core_starts_what_another_has_agreed_to_cancel() {
    on_a_core(|| async {
        for kind in [once, each] {
            let mut cores = Cores::new().await;
            let deadline = soon();
            let plan = cores.arm(deadline, 1, kind);
            let cancel = Order::Cancel(plan.claims.id);
            for core in [0, 2] {
                cores.replicas[core].prepare(&cancel).unwrap();
            }
            pass(deadline).await;
            assert_eq!(cores.runs(), 0, "core 1 has not been asked");
            // It dies before it is, and so does one of those that have agreed. The last one undoes it.
            cores.replicas.drain(1..);
            cores.replicas[0].abort(&cancel);
            cores.decide(&Change::Dead(c(1)));
            pass(Instant::now()).await;
            assert_eq!(cores.runs(), 0, "what a dead core has agreed to may be decided");
            cores.decide(&Change::Dead(c(2)));
            pass(Instant::now() + crate::limits::TIMER_PAUSE).await;
            assert_eq!(cores.runs(), 1, "it is not cancelled");
        }
    });
}

#[test]
fn a_core_that_has_left_knows_who_owns_its_timers_now() {
    on_a_core(|| async {
        let mut cores = Cores::new().await;
        let plan = cores.arm(Instant::now() + Duration::from_secs(3_600), 1, once);
        cores.decide(&LEAVE_1);
        assert_eq!(cores.owners(plan.claims.id), [Some(2); 3]);
        let digests: Vec<_> = cores.replicas.iter().map(StateMachine::digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "debug builds compare them");
    });
}

#[test]
fn what_is_armed_is_not_armed_again_and_what_has_run_does_not_run_again() {
    on_a_core(|| async {
        for kind in [once, each] {
            let mut cores = Cores::new().await;
            let deadline = soon();
            let plan = cores.arm(deadline, 1, kind);
            let again = Order::Arm { plan: plan.clone(), owner: c(1) };
            assert!(cores.replicas.iter_mut().all(|replica| replica.prepare(&again) == Err(HasStarted)));
            pass(deadline).await;
            let runs = if plan.claims.is_for_each() { 3 } else { 1 };
            assert_eq!(cores.runs(), runs);
            (0..3).for_each(|core| cores.commit(&Order::Done { id: plan.claims.id, by: c(core) }));
            assert_eq!(cores.owners(plan.claims.id), [None; 3]);
            cores.commit(&again);
            pass(Instant::now()).await;
            assert_eq!(cores.runs(), runs);
        }
    });
}

#[test]
fn who_has_started_refuses_to_cancel() {
    on_a_core(|| async {
        for kind in [once, each] {
            let mut cores = Cores::new().await;
            let plan = cores.arm(Instant::now(), 1, kind);
            pass(Instant::now()).await;
            let ran = cores.runs();
            for replica in &mut cores.replicas {
                assert_eq!(replica.prepare(&Order::Cancel(plan.claims.id)), Err(HasStarted));
            }
            for core in 0..3 {
                cores.commit(&Order::Done { id: plan.claims.id, by: c(core) });
            }
            assert_eq!(cores.owners(plan.claims.id), [None; 3], "all know that it is done");
            let late = cores.replicas[0].prepare(&Order::Cancel(plan.claims.id));
            assert_eq!((late, cores.runs()), (Err(HasStarted), ran));
        }
    });
}

#[test]
fn a_core_that_leaves_starts_nothing_and_the_next_one_goes_on() {
    on_a_core(|| async {
        let mut cores = Cores::new().await;
        let deadline = soon();
        let plan = cores.arm(deadline, 1, once);
        cores.replicas.iter_mut().for_each(|replica| replica.prepare_view(&LEAVE_1).unwrap());
        pass(deadline).await;
        assert_eq!(cores.runs(), 0);
        cores.replicas.iter_mut().for_each(|replica| replica.abort_view(&LEAVE_1));
        pass(deadline).await;
        assert_eq!(cores.runs(), 1, "it stays, and it is late");
        cores.commit(&Order::Done { id: plan.claims.id, by: c(1) });

        let plan = cores.arm(soon(), 1, once);
        cores.replicas.iter_mut().for_each(|replica| replica.prepare_view(&LEAVE_1).unwrap());
        let deadline = plan.due();
        pass(deadline).await;
        assert_eq!(cores.runs(), 1);
        cores.replicas.iter_mut().for_each(|replica| replica.commit_view(&LEAVE_1));
        assert_eq!(cores.owners(plan.claims.id)[2], Some(2));
        pass(deadline).await;
        assert_eq!(cores.runs(), 2, "the next one owns it");
        // The order of the cores is a ring.
        let plan = cores.arm(Instant::now() + Duration::from_secs(3_600), 1, once);
        assert_eq!(cores.owners(plan.claims.id)[2], Some(2), "who armed it is no member any more");
        cores.decide(&Change::Dead(c(2)));
        assert_eq!(cores.owners(plan.claims.id)[0], Some(0));
    });
}

#[test]
fn what_a_dead_core_has_claimed_is_not_started_again() {
    on_a_core(|| async {
        let mut cores = Cores::new().await;
        let plan = cores.arm(Instant::now(), 1, once);
        let hourly = cores.arm(Instant::now(), 1, every);
        pass(Instant::now()).await;
        assert_eq!(cores.runs(), 2);
        // It dies before it can tell.
        drop(cores.replicas.remove(1));
        cores.decide(&Change::Dead(c(1)));
        pass(Instant::now()).await;
        assert_eq!(cores.runs(), 2);
        assert_eq!(cores.owners(plan.claims.id), [Some(2), Some(2)]);
        assert!(hourly.due() > Instant::now() + Duration::from_secs(3_000), "the next tick is where it was");
        // And the other way round: what it has not claimed is started once.
        let deadline = soon();
        let plan = cores.arm(deadline, 2, once);
        drop(cores.replicas.pop());
        cores.decide(&Change::Dead(c(2)));
        pass(deadline).await;
        assert_eq!((cores.runs(), cores.owners(plan.claims.id)), (3, vec![Some(0)]));
    });
}

#[test]
fn a_core_that_joins_gets_what_is_armed_and_runs_its_part() {
    on_a_core(|| async {
        let mut cores = Cores::new().await;
        let deadline = soon();
        let (all, mine) = (cores.arm(deadline, 0, each), cores.arm(deadline, 0, once));
        let mut joiner = Timers::of(c(7), &cores.replicas[0].snapshot());
        assert_eq!(joiner.count(), (2, 0), "it is no member yet");
        cores.decide(&Change::Join(c(7)));
        joiner.commit_view(&Change::Join(c(7)));
        assert_eq!(joiner.count(), (2, 1));
        cores.replicas.push(joiner);
        pass(deadline).await;
        assert_eq!(cores.runs(), 4 + 1);
        cores.commit(&Order::Done { id: mine.claims.id, by: c(0) });
        for core in [0, 1, 7] {
            cores.commit(&Order::Done { id: all.claims.id, by: c(core) });
        }
        assert_eq!(cores.replicas[0].count(), (1, 0), "core 2 has not told");
        // It never will: it has died.
        drop(cores.replicas.remove(2));
        cores.decide(&Change::Dead(c(2)));
        assert!(cores.replicas.iter().all(|replica| replica.count() == (0, 0)));
        let digests: Vec<_> = cores.replicas.iter().map(StateMachine::digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    });
}

#[test]
fn what_is_done_or_cancelled_is_forgotten() {
    Builder::new_test()
        .cores(3)
        .run(|| async {
            let object = Replicated::fixed(objects::TIMERS, Timers::new).await.unwrap();
            for round in 0..50 {
                let deadline = Instant::now() + Duration::from_micros(round * 50);
                machine::once(deadline, || {}).await.unwrap();
                machine::on_each(deadline, || {}).await.unwrap();
                let beat = machine::every(Duration::from_micros(50), || {}).await.unwrap();
                beat.cancel().await.unwrap();
                let hour = Instant::now() + Duration::from_secs(3_600);
                machine::once(hour, || {}).await.unwrap().cancel().await.unwrap();
                machine::on_each(hour, || {}).await.unwrap().cancel().await.unwrap();
            }
            while object.read(Timers::count) != (0, 0) {
                object.changed().await.unwrap();
            }
            for core in crate::on_each_core(move || async move {
                assert_eq!(object.read(Timers::count), (0, 0));
                // The barrier's own sleeps are all that is left.
                crate::context::with_core(|here| here.unwrap().timers.borrow().len())
            }) {
                assert_eq!(core.await.unwrap(), 0, "a timer was left in a wheel");
            }
        })
        .unwrap();
}
