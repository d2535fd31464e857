//! `channels`: what it costs to send a message to another core, channel beside channel in one process.
//!
//! The cores of each contender are two threads on two CPUs; each case is described in [`cases::Case`].

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::harness::cpus::{self, Cpus};
use crate::harness::{pairs, table};
use crate::runs::{Common, choose};

pub mod cases;
mod crew;
mod doorbell;
mod ends;
mod general;
mod glommio;
pub mod idle;
mod jobs;
pub mod measure;
mod multikernel;
mod rings;
mod slots;
mod tokio;
mod visits;

use cases::{Case, Contender};
use measure::Pace;

/// Everyone, limits first.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    [
        rings::contenders(),
        doorbell::contenders(),
        general::contenders(),
        tokio::contenders(),
        glommio::contenders(),
        multikernel::contenders(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Measures and prints.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, figures: &[String]) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    cpus::pin(&[cpus.client, cpus.server])?;
    let contenders = choose(contenders(), |contender| contender.name, &common.only)?;
    let cases = choose(Case::all(), |c| Box::leak(c.name().into_boxed_str()), figures)?;
    let pace = Pace { slice: Duration::from_millis(3), rounds: common.rounds.unwrap_or(10) };
    println!("{}", cpus::head(cpus));
    let results = measure::all(&contenders, &cases, cpus, pace, &pairs::progress(cases.len()));
    for (c, r) in contenders.iter().zip(&results) {
        print!("{:20}", c.name);
        for case in &cases {
            if let Some(s) = r.get(case) {
                let m =
                    crate::harness::stats::Summary::of(s.ns.iter().copied()).map_or(f64::NAN, |s| s.median);
                print!(
                    " {}={m:.1}{}",
                    case.name(),
                    s.amiss(*case).map_or(String::new(), |w| format!("({w})"))
                );
                if !s.off.is_empty() {
                    print!("{:?}", crate::harness::stats::Summary::of(s.off.iter().copied()).unwrap())
                }
            }
        }
        println!();
    }
    for i in idle::measure(&contenders, 16, Duration::from_secs(2))? {
        println!("{i:?}");
    }
    Ok(())
}
