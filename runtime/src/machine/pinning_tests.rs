//! The policies on made-up machines, and pinning of real threads.

use super::super::cgroup::Quota;
use super::*;

fn machine(cpus: usize, share: Share) -> Available {
    Available { cpus: (0..cpus).collect(), quota: None, share }
}

fn cpus_of(plan: &Plan<'_>) -> Vec<Option<usize>> {
    plan.cpus.clone()
}

fn pinned(plan: &Plan<'_>) -> Vec<usize> {
    plan.cpus.iter().copied().flatten().collect()
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
    assert!(registry.claims().is_empty());
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
    assert!(registry.claims().is_empty());
}

#[test]
fn never_claims_nothing() {
    let registry = Registry::new();
    let plan = plan(Pinning::Never, 2, &machine(2, Share::Exclusive), &registry);
    assert_eq!(cpus_of(&plan), [None, None]);
    assert!(registry.claims().is_empty());
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
