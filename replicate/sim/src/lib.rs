//! Many cores in one thread and in virtual time, running the agreement of `multikernel-replicate` as it ships.
//!
//! A seed makes a plan (who proposes, sleeps, stalls, joins, leaves and dies, and when) and every delay. Checkers that know
//! nothing of the protocol watch. What fails once fails again with the same seed, and then prints a trace.

mod check;
mod costs;
mod journal;
pub mod latency;
pub mod mutants;
mod net;
mod objects;
mod plan;
mod rng;
mod tasks;
mod timers;
mod world;

pub use journal::{Journal, Repeat, Told, What};

use std::collections::BTreeSet;
use std::ops::Range;

use multikernel_replicate::{Policy, Step};

/// A seed whose run breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was seen. Begins with the time, and has the name of the check in capitals.
    pub why: String,
}

/// What a run has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// How many events the checkers have looked at.
    pub events: u64,
    /// The steps of the protocol's tables that were taken.
    pub steps: BTreeSet<Step>,
}

/// Runs one seed. Prints what happens, if asked to.
///
/// # Errors
///
/// The first thing seen that must not be.
pub fn run<P: Policy>(seed: u64, traces: bool) -> Result<Ran, Failure> {
    world::World::<P>::new(seed, traces).run().map_err(|why| Failure { seed, why })
}

/// Runs seeds until one fails.
///
/// # Errors
///
/// The first failure.
pub fn run_all<P: Policy>(seeds: Range<u64>) -> Result<Ran, Failure> {
    let mut all = Ran::default();
    for seed in seeds {
        let ran = run::<P>(seed, false)?;
        all.events += ran.events;
        all.steps.extend(ran.steps);
    }
    Ok(all)
}
