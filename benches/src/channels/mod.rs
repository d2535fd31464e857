//! `channels`: what it costs to send a message to another core, channel beside channel in one process.
//!
//! A contender is a kind of channel on whatever runs its ends: two threads on two CPUs, each a core of its runtime if
//! it has one. [`cases::Case`] lists what is measured. A channel is new for each visit; threads and runtimes are there
//! for all visits of a case. Every message is checked, and so is whether cores slept that were to sleep, and stayed
//! awake that were to stay awake.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

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
pub mod plot;
pub mod report;
mod rings;
mod slots;
mod tokio;
mod visits;

use cases::{Case, Contender};
use idle::Idle;
use measure::Pace;
use report::Report;

/// Both layouts of a ring, for `--only layouts`: indices, as in `ring`, and a sequence word in each slot.
const LAYOUTS: [&str; 4] = ["rtrb", "ring", "slots-packed", "slots-lined"];
/// A line that takes so many times as long has farther to go.
const MOVED: f64 = 1.5;
/// What `--figure` calls the cores that have nothing to do.
const IDLE: &str = "idle";

/// Everyone, limits first.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let groups = [
        rings::contenders(),
        doorbell::contenders(),
        general::contenders(),
        tokio::contenders(),
        glommio::contenders(),
        multikernel::contenders(),
    ];
    groups.into_iter().flatten().collect()
}

/// What this measurement alone can be told.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// What all can be told; `only` also knows `layouts`.
    pub common: Common,
    /// Names, or starts of names, of cases; empty means all.
    pub figures: Vec<String>,
    /// Where the plots go.
    pub plot: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(shape: &Shape) -> Result<()> {
    let Shape { common, figures, plot } = shape;
    let cpus = Cpus::of_this_process()?;
    cpus::pin(&[cpus.client, cpus.server])?;
    let contenders = choose(contenders(), |contender| contender.name, &layouts_by_name(&common.only))?;
    let (cases, with_idle) = cases_of(figures)?;
    let pace = Pace {
        slice: Duration::from_millis(if common.quick { 3 } else { 10 }),
        rounds: common.rounds.unwrap_or(if common.quick { 10 } else { 30 }),
    };
    let window = Duration::from_secs(if common.quick { 2 } else { 10 });
    println!("{}", cpus::head(cpus));
    println!(
        "channels: {} rounds of visits of {}, on CPUs {} and {}, which change roles from round to round; {} cores with \
         nothing to do for {} s\n",
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.client,
        cpus.server,
        idle::CORES,
        window.as_secs()
    );
    let progress = pairs::progress(cases.len());
    let (results, distances) = measure::all(&contenders, &cases, cpus, pace, &progress)?;
    // Nobody else's cores are left by now.
    let idle: Vec<Idle> =
        if with_idle { idle::measure(&contenders, idle::CORES, window)? } else { Vec::new() };
    let report = Report { contenders: &contenders, results: &results, idle: &idle };
    println!("{}\n", report.tables());
    println!("{}", how_far(&distances));
    println!(
        "tokio-mt puts its tasks where it likes, often both on one thread; all others have one end on each of two. \
         mpsc-4 has a core for each sender and one for the receiver, five on two CPUs."
    );
    table::save(
        common.json.as_deref(),
        &json!({ "rounds": pace.rounds, "line_ns": distances, "channels": report.to_json() }),
    )?;
    if let Some(folder) = plot {
        plot::draw(folder, &report)?;
    }
    verdict(&report)
}

/// What the distance of the two CPUs says of the figures.
fn how_far(distances: &[f64]) -> String {
    let least = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let most = distances.iter().copied().fold(0.0, f64::max);
    let moved = if most > MOVED * least {
        " The CPUs moved meanwhile: compare within a table's column and round, as the ratios do, and nothing else."
    } else {
        ""
    };
    format!("Between the cases a bare cache line went there and back in {least:.0} to {most:.0} ns.{moved}")
}

/// Fails if the run proves nothing; every reason is printed first.
fn verdict(report: &Report<'_>) -> Result<()> {
    let reasons = report.reasons();
    reasons.iter().for_each(|reason| println!("PROVES NOTHING: {reason}"));
    if !reasons.is_empty() {
        bail!("the run proves nothing for {} figures", reasons.len());
    }
    Ok(())
}

fn layouts_by_name(only: &[String]) -> Vec<String> {
    let names = only.iter().flat_map(|name| match name.as_str() {
        "layouts" => LAYOUTS.map(str::to_owned).to_vec(),
        _ => vec![name.clone()],
    });
    names.collect()
}

/// The cases that `figures` ask for, and whether the cores with nothing to do are among them.
fn cases_of(figures: &[String]) -> Result<(Vec<Case>, bool)> {
    let cases = Case::all().into_iter().map(|case| (case.name(), Some(case)));
    let all = cases.chain([(IDLE.to_owned(), None)]).collect();
    let chosen = choose(all, |(name, _)| name.as_str(), figures)?;
    let with_idle = chosen.iter().any(|(_, case)| case.is_none());
    Ok((chosen.into_iter().filter_map(|(_, case)| case).collect(), with_idle))
}
