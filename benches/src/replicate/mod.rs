//! `replicate`: what it costs to read state that every core has, and to change it everywhere, beside the maps that threads
//! share.
//!
//! All run on the two cores of one Machine, which are kept on two CPUs; a contender is what they share.
//! [`cases::Case`] lists what is measured. Every read is checked, and so is that what was written or proposed is on both
//! cores at the end of each visit, and whether cores slept that were to sleep.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;

use crate::harness::cpus::{self, Cpus};
use crate::harness::{pairs, table};
use crate::runs::{Common, choose};

pub mod cases;
mod machine;
mod maps;
pub mod measure;
pub mod plot;
pub mod report;
mod visits;

use cases::{Case, Contender};
use maps::{Dash, LeftRight, Locked, Mutual, Ours, Papaya, Plain, Swap};
use measure::Pace;
use report::Report;

/// Everyone, limits first.
#[must_use]
pub fn contenders() -> Vec<Contender> {
    let ours = [
        visits::read::<Ours<false>>(),
        visits::mixed::<Ours<false>>(),
        visits::one(Case::Home, 0),
        visits::one(Case::Other, 1),
        visits::one(Case::Parked, 0),
    ];
    vec![
        Contender::new("line", [visits::line(Case::Home, 4), visits::line(Case::Other, 6)]),
        Contender::new(report::PLAIN, [visits::read::<Plain>()]),
        map::<Swap>("arc-swap"),
        map::<LeftRight>("left-right"),
        map::<Papaya>("papaya"),
        map::<Dash>("dashmap"),
        map::<Locked>("rwlock"),
        map::<Mutual>("mutex"),
        Contender::new(report::OURS, ours.into_iter().chain(visits::batches())),
        Contender::new("multikernel-awaited", [visits::mixed::<Ours<true>>()]),
    ]
}

fn map<M: maps::Map>(name: &'static str) -> Contender {
    Contender::new(name, [visits::read::<M>(), visits::mixed::<M>()])
}

/// What this measurement alone can be told.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// What all can be told.
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
    let contenders = choose(contenders(), |contender| contender.name, &common.only)?;
    let cases = Case::all().into_iter().map(|case| (case.name(), case)).collect();
    let cases = choose(cases, |(name, _): &(String, Case)| name.as_str(), figures)?;
    let cases: Vec<Case> = cases.into_iter().map(|(_, case)| case).collect();
    let pace = Pace {
        slice: Duration::from_millis(if common.quick { 3 } else { 10 }),
        rounds: common.rounds.unwrap_or(if common.quick { 10 } else { 40 }),
    };
    println!("{}", cpus::head(cpus));
    println!(
        "replicate: {} rounds of visits of {}; all on the two cores of one Machine, on CPUs {} and {}, which change roles \
         from round to round\n",
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.client,
        cpus.server,
    );
    let progress = pairs::progress(cases.len());
    let results = measure::all(&contenders, &cases, cpus, pace, &progress)?;
    let report = Report { contenders: &contenders, results: &results };
    println!("{}\n", report.tables());
    println!(
        "read: each core. mixed: 99 reads for each write, by core 0; both cores' operations together; readers yield every \
         64 reads. multikernel announces its writes, multikernel-awaited waits for each. line: four hops beside home, six \
         beside other."
    );
    table::save(common.json.as_deref(), &json!({ "rounds": pace.rounds, "replicate": report.to_json() }))?;
    if let Some(folder) = plot {
        plot::draw(folder, &report)?;
    }
    verdict(&report)
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
