//! The policies on made-up machines, and pinning of real threads.

use std::process::Command;
use std::sync::atomic::AtomicUsize;

use tracing::subscriber::with_default;
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::super::cgroup::Quota;
use super::super::fixture::Fixture;
use super::super::placement;
use super::super::placer::{Newcomer, Placer};
use super::super::policy::{CoreLoad, Placement};
use super::super::registry::new_uid;
use super::super::topology::{CpuKind, Topology};
use super::*;

fn unknown(cpus: &[usize]) -> Vec<Seat> {
    cpus.iter().copied().map(Seat::unknown).collect()
}

/// As they are numbered.
fn plan<'r>(policy: Pinning, cores: usize, available: &Available, registry: &'r Registry) -> Plan<'r> {
    super::plan(policy, cores, available, unknown, registry)
}

fn machine(cpus: usize, share: Share) -> Available {
    Available { cpus: (0..cpus).collect(), quota: None, share }
}

fn cpus_of(plan: &Plan<'_>) -> Vec<Option<usize>> {
    plan.ties().iter().map(|tie| tie.seat.map(|seat| seat.cpu)).collect()
}

fn pinned(plan: &Plan<'_>) -> Vec<usize> {
    cpus_of(plan).into_iter().flatten().collect()
}

#[test]
fn names_and_values_match() {
    for (name, pinning) in Pinning::NAMES {
        assert_eq!(name.parse(), Ok(pinning));
        assert_eq!(pinning.to_string(), name);
    }
    let error = "Auto ".parse::<Pinning>().expect_err("not a value");
    assert_eq!(error.to_string(), "unknown pinning \"Auto \"; the valid values are auto, always and never");
}

#[test]
fn auto_pins_one_core_per_cpu_of_a_whole_computer() {
    let registry = Registry::new();
    let plan = plan(Pinning::Auto, 4, &machine(4, Share::Whole), &registry);
    assert_eq!(cpus_of(&plan), [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!((plan.cpu(3), plan.cpu(4), plan.pins()), (Some(3), None, true));
}

#[test]
fn auto_leaves_shared_cpus_to_the_system() {
    let registry = Registry::new();
    for (cores, share) in [(5, Share::Whole), (3, Share::Whole), (4, Share::Part), (5, Share::Exclusive)] {
        let plan = plan(Pinning::Auto, cores, &machine(4, share), &registry);
        assert_eq!(cpus_of(&plan), vec![None; cores], "{cores} {share:?}");
        assert!(!plan.pins());
    }
    let plan = plan(Pinning::Auto, 3, &machine(4, Share::Exclusive), &registry);
    assert_eq!(pinned(&plan), [0, 1, 2]);
}

#[test]
fn auto_does_not_pin_under_a_quota_that_binds() {
    let registry = Registry::new();
    let with = |quota_us| Available { quota: Quota::new(quota_us, 100_000), ..machine(4, Share::Whole) };
    assert!(!plan(Pinning::Auto, 4, &with(350_000), &registry).pins());
    // As a container manager sets it that hands out whole CPUs.
    assert!(plan(Pinning::Auto, 4, &with(400_000), &registry).pins());
}

#[test]
fn auto_claims_no_cpu_twice_and_gives_claims_back() {
    let registry = Registry::new();
    let four = machine(4, Share::Exclusive);
    let first = plan(Pinning::Auto, 2, &four, &registry);
    let second = plan(Pinning::Auto, 2, &four, &registry);
    assert_eq!((pinned(&first), pinned(&second)), (vec![0, 1], vec![2, 3]));
    assert!(!plan(Pinning::Auto, 1, &four, &registry).pins(), "all are taken");
    drop(first);
    assert_eq!(pinned(&plan(Pinning::Auto, 1, &four, &registry)), [0]);
    assert!(!plan(Pinning::Auto, 3, &four, &registry).pins(), "half a Machine is not pinned");
    drop(second);
    assert_eq!(pinned(&plan(Pinning::Auto, 4, &four, &registry)), [0, 1, 2, 3]);
    assert!(registry.claims().0.is_empty());
}

#[test]
fn always_deals_round_robin_from_the_least_claimed() {
    let registry = Registry::new();
    let shared = machine(3, Share::Part);
    let first = plan(Pinning::Always, 5, &shared, &registry);
    assert_eq!(pinned(&first), [0, 1, 2, 0, 1]);
    let second = plan(Pinning::Always, 2, &shared, &registry);
    assert_eq!(pinned(&second), [2, 0]);
    drop(first);
    assert_eq!(pinned(&plan(Pinning::Always, 1, &shared, &registry)), [1]);
    drop(second);
    assert!(registry.claims().0.is_empty());
}

#[test]
fn never_claims_nothing() {
    let registry = Registry::new();
    let plan = plan(Pinning::Never, 2, &machine(2, Share::Exclusive), &registry);
    assert_eq!(cpus_of(&plan), [None, None]);
    assert!(registry.claims().0.is_empty());
}

#[test]
fn machines_that_start_at_once_share_nothing() {
    let registry = Registry::new();
    let available = machine(32, Share::Exclusive);
    let mut all: Vec<usize> = std::thread::scope(|scope| {
        let start = || plan(Pinning::Auto, 4, &available, &registry);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        let plans: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("a plan")).collect();
        plans.iter().flat_map(pinned).collect()
    });
    all.sort_unstable();
    assert_eq!(all, available.cpus);
}

fn on(cpus: &[usize]) -> Available {
    Available { cpus: cpus.to_vec(), ..machine(1, Share::Exclusive) }
}

#[test]
fn machines_whose_cpus_change_still_share_none() {
    let registry = Registry::new();
    let four = machine(4, Share::Exclusive);
    let machines = [(); 2].map(|()| plan(Pinning::Auto, 2, &four, &registry));
    let [one, other] = &machines;
    let after = |cpus: &[usize]| {
        machines.iter().for_each(|plan| plan.choose_again(&on(cpus), unknown, |_| true));
        [pinned(one), pinned(other)]
    };
    assert_eq!(after(&[0, 1, 2, 3]), [[0, 1], [2, 3]]);
    assert_eq!(after(&[1, 2, 3, 4]), [[4, 1], [2, 3]], "who can stays");
    assert_eq!(registry.widen(vec![3]), [1, 2, 3, 4]);
    assert_eq!(after(&[0, 1]), [[0, 1], [0, 1]], "there are no others");
    assert_eq!(after(&[0, 1, 2, 3]), [[2, 3], [0, 1]]);
    other.give_back();
    assert_eq!(after(&[1, 4]), [vec![1, 4], vec![]]);
    assert_eq!(pinned(&plan(Pinning::Auto, 1, &four, &registry)), [0]);
    drop(machines);
    assert!(registry.claims().0.is_empty());
}

#[test]
fn those_that_serve_choose_first() {
    let registry = Registry::new();
    let plan = plan(Pinning::Always, 4, &machine(4, Share::Part), &registry);
    plan.choose_again(&on(&[5, 6]), unknown, |core| core % 2 == 1);
    assert_eq!(pinned(&plan), [5, 5, 6, 6]);
    let never = self::plan(Pinning::Never, 2, &machine(4, Share::Part), &registry);
    never.choose_again(&on(&[5, 6]), unknown, |_| true);
    assert!(!never.pins());
}

/// Counts warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn what_the_system_refuses_is_told_once() {
    const NOT_THERE: usize = 60_000;
    let registry = Registry::new();
    let visit = || {
        let here = on(&cpus::affinity().expect("the mask"));
        let plan = plan(Pinning::Always, 1, &on(&[NOT_THERE]), &registry);
        let mailbox = Mailbox::new(new_uid(), new_uid().0, 0, |_| {}).expect("a mailbox");
        mailbox.thread.store(cpus::this_thread(), Ordering::Relaxed);
        let (cores, warnings) = ([mailbox], Warnings::default());
        with_default(warnings.clone(), || {
            for told in 1..3 {
                (0..3).for_each(|_| plan.tie(&cores));
                assert_eq!(warnings.0.load(Ordering::Relaxed), told);
                plan.choose_again(&here, unknown, |_| true);
                plan.tie(&cores);
                assert_eq!(cpus::affinity().expect("the mask"), here.cpus[..1]);
                plan.choose_again(&on(&[NOT_THERE]), unknown, |_| true);
            }
        });
        plan.let_go(&cores[0]);
        cpus::set_affinity(&here.cpus).expect("our CPUs");
        plan.choose_again(&here, unknown, |_| true);
        plan.tie(&cores);
        assert_eq!(cpus::affinity().expect("the mask"), here.cpus, "it is none of ours any more");
    };
    std::thread::scope(|scope| scope.spawn(visit).join().expect("the thread ends well"));
}

/// A computer that was captured, and its CPUs that are online.
fn captured(name: &str) -> (Topology, Available) {
    let (archives, fixture) = (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/topologies"), Fixture::new(&[]));
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--no-same-owner", "--file", &format!("{archives}/{name}.tar.gz"), "--directory"]);
    assert!(tar.arg(fixture.root()).status().expect("tar runs").success());
    let topology = Topology::read_from(&fixture.root().join(name)).expect("it is read");
    let available = on(&topology.online().map(|cpu| cpu.number).collect::<Vec<_>>());
    (topology, available)
}

#[test]
fn cores_get_fast_cpus_of_their_own_that_are_near() {
    let registry = Registry::new();
    let (topology, available) = captured("16em64t-4s2c2t-offlines");
    let order = |cpus: &[usize]| topology.for_cores(cpus);
    let first = super::plan(Pinning::Auto, 4, &available, order, &registry);
    assert_eq!(pinned(&first), [0, 4, 1, 3], "two of one package, and no second thread");
    let second = super::plan(Pinning::Auto, 8, &available, order, &registry);
    assert_eq!(pinned(&second), [6, 7, 10, 8, 12, 9, 11, 15], "what is left, second threads last");
    second.choose_again(&available, order, |_| true);
    assert_eq!(pinned(&second), [6, 7, 10, 8, 12, 9, 11, 15]);
    drop((first, second));

    let (topology, available) = captured("20em64t-hybrid-1p6c2t+2ca4co1t");
    let plan = super::plan(Pinning::Auto, 13, &available, |cpus| topology.for_cores(cpus), &registry);
    let mut cpus = pinned(&plan);
    assert_eq!(cpus[12], 12, "small cores come last");
    cpus[..6].sort_unstable();
    assert_eq!(cpus[..6], [0, 2, 4, 6, 8, 10]);
    drop(plan);

    // The numbers go up and down in nearness.
    let (topology, available) = captured("48amd64-4d2n6c-sparse");
    let some = on(&available.cpus[6..]);
    let plan = super::plan(Pinning::Auto, 42, &some, |cpus| topology.for_cores(cpus), &registry);
    assert_eq!(pinned(&plan), topology.nearest(6, &some.cpus));
    assert!(!pinned(&plan).is_sorted(), "{:?}", pinned(&plan));
}

#[test]
fn where_cores_are_pinned_is_known_to_who_places_tasks() {
    let registry = Registry::new();
    let (topology, available) = captured("20em64t-hybrid-1p6c2t+2ca4co1t");
    let plan = super::plan(Pinning::Auto, 20, &available, |cpus| topology.for_cores(cpus), &registry);
    let mailbox = |index| Mailbox::new(new_uid(), new_uid().0, index, |_| ()).expect("there are descriptors");
    let cores: Vec<_> = (0..20).map(mailbox).collect();
    let loads = || cores.iter().map(|core| placement::load_of(core)).collect::<Vec<_>>();
    assert!(loads().iter().all(|load| load.cpu.is_none()));
    plan.publish(&cores);
    for load in loads() {
        let cpu = topology.cpu(load.cpu.unwrap()).unwrap();
        assert_eq!((load.cache, load.capacity), (cpu.last_level_cache(), cpu.capacity));
    }
    // The fast ones come first, so tasks that compute leave the slow ones alone as long as those are idle.
    let slowest = |load: &CoreLoad| topology.cpu(load.cpu.unwrap()).unwrap().kind == CpuKind::Efficient;
    assert_eq!(loads().iter().filter(|load| slowest(load)).count(), 8);
    let published =
        loads().into_iter().map(|load| CoreLoad { busy: 1_000_000, polls: 10, ..load }).collect::<Vec<_>>();
    let mut placer = Placer::new(20, 0);
    let slow = (0..1000_u32).filter(|step| {
        let random = step.wrapping_mul(0x9e37_79b9);
        let now = u64::from(*step) * 1_000_000;
        let to = placer.choose(now, Placement::Spread, Newcomer::Task, |core| published[core], random);
        slowest(&published[to.index()])
    });
    let slow = slow.count();
    assert!(slow < 200, "{slow} of 1000 go to the 8 slow ones of 20");
    plan.give_back();
    plan.publish(&cores);
    assert!(loads().iter().all(|load| load.cpu.is_none()));
}

#[test]
fn a_mask_inherited_from_a_pinned_core_is_widened() {
    let registry = Registry::new();
    let plan = plan(Pinning::Auto, 4, &machine(4, Share::Whole), &registry);
    assert_eq!(registry.widen(vec![2]), [0, 1, 2, 3]);
    assert_eq!(registry.widen(vec![2, 3]), [2, 3]);
    assert_eq!(registry.widen(vec![9]), [9]);
    drop(plan);
    assert_eq!(registry.widen(vec![2]), [2]);
}

#[test]
fn a_thread_is_pinned_for_a_while() {
    let visit = || {
        let before = cpus::affinity().expect("the mask");
        let last = *before.last().expect("a CPU");
        let keep = KeepAffinity::of_current_thread().expect("the mask");
        pin_current_thread(last).expect("a CPU of the mask");
        assert_eq!(cpus::affinity().expect("the mask"), [last]);
        drop(keep);
        assert_eq!(cpus::affinity().expect("the mask"), before);
        assert!(pin_current_thread(usize::MAX).is_err());
        assert_eq!(cpus::affinity().expect("the mask"), before, "a failed call changes nothing");
    };
    std::thread::spawn(visit).join().expect("the thread ends well");
}

#[test]
fn a_machine_built_below_a_pinned_core_sees_the_computer() {
    let visit = || {
        let outside = available();
        let plan = plan(Pinning::Always, 1, &outside, &REGISTRY);
        pin_current_thread(plan.cpu(0).expect("pinned")).expect("a CPU of the mask");
        assert_eq!(available().cpus, outside.cpus);
        let child = std::thread::spawn(available).join().expect("the thread ends well");
        assert_eq!(child.cpus, outside.cpus);
    };
    std::thread::spawn(visit).join().expect("the thread ends well");
}
