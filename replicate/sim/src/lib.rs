//! Many cores in one thread and in virtual time, running the agreement of `multikernel-replicate` as it ships.
//!
//! A seed makes a plan (who proposes, sleeps, stalls, joins, leaves and dies, and when) and every delay. Checkers that know
//! nothing of the protocol watch. What fails once fails again with the same seed, and then prints a trace.

mod check;
mod costs;
mod journal;
pub mod mutants;
mod net;
mod objects;
mod plan;
mod rng;
mod world;

use std::ops::Range;

use multikernel_replicate::Policy;

/// A seed whose run breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was seen. Begins with the time, and has the name of the check in capitals.
    pub why: String,
}

/// Runs one seed. Prints what happens, if asked to. Returns how many events the checkers have seen.
///
/// # Errors
///
/// The first thing seen that must not be.
pub fn run<P: Policy>(seed: u64, traces: bool) -> Result<u64, Failure> {
    let (failure, events) = world::World::<P>::new(seed, traces).run();
    failure.map_or(Ok(events), |why| Err(Failure { seed, why }))
}

/// Runs seeds until one fails. Returns how many events the checkers have seen.
///
/// # Errors
///
/// The first failure.
pub fn run_all<P: Policy>(seeds: Range<u64>) -> Result<u64, Failure> {
    seeds.map(|seed| run::<P>(seed, false)).sum()
}
