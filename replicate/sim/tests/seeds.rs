//! The protocol as it ships holds, and its tables say all that it does.

use multikernel_replicate::STEPS;
use multikernel_sim::mutants::Compared;
use multikernel_sim::run_all;

#[test]
fn twenty_thousand_seeds_hold_and_take_every_step() {
    let ran = run_all::<Compared>(0..20_000).unwrap_or_else(|failure| panic!("{failure:?}"));
    let never: Vec<_> = STEPS.iter().filter(|(step, _)| !ran.steps.contains(step)).collect();
    assert!(never.is_empty(), "declared in vain: {never:?}");
}

#[test]
fn a_seed_is_one_run() {
    let twice = [(); 2].map(|()| run_all::<Compared>(40..60));
    assert_eq!(twice[0], twice[1]);
}
