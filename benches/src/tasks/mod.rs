//! `tasks`: what a spawn, a yield, a message and a sleep cost, runtime beside runtime in one process.
//!
//! All contenders are kept on one CPU and visited in turn, in an order that rotates; medians over rounds.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::harness::cpus::{self, Cpus};
use crate::harness::stats::Summary;
use crate::harness::{pairs, table};
use crate::runs::{Common, choose};

#[macro_use]
mod cases;
mod compio;
mod glommio;
mod monoio;
mod multikernel;
mod smol;
mod tokio;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Spawn 1,000 tasks, then join them; per task.
    SpawnBatch,
    /// Spawn a task and join it; per task.
    SpawnOne,
    /// One task yields; per yield.
    Yield,
    /// 100 tasks yield; per yield.
    YieldHundred,
    /// Two tasks send one message there and back over the runtime's usual channel; per round trip.
    PingPong,
    /// The same over tokio's channel, which runs on every executor.
    PingPongTokio,
    /// A sleep is made, polled once and dropped.
    Sleep,
}

impl Case {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::SpawnBatch,
        Self::SpawnOne,
        Self::Yield,
        Self::YieldHundred,
        Self::PingPong,
        Self::PingPongTokio,
        Self::Sleep,
    ];

    /// The column's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SpawnBatch => "spawn+join/1000",
            Self::SpawnOne => "spawn+join/1",
            Self::Yield => "yield/1 task",
            Self::YieldHundred => "yield/100 tasks",
            Self::PingPong => "ping-pong/own",
            Self::PingPongTokio => "ping-pong/tokio::sync",
            Self::Sleep => "sleep",
        }
    }
}

/// A runtime, ready to run cases.
pub trait Contender {
    /// What `--only` and the tables call it.
    fn name(&self) -> &'static str;

    /// How many cores it has.
    fn cores(&self) -> usize {
        1
    }

    /// Runs `case` with `count` operations and says how long they took: in a task of its own, unless the runtime
    /// does better in its root future.
    fn run(&mut self, case: Case, count: u32) -> Duration;
}

/// Operations per visit: a few milliseconds' worth, and a multiple of the batch of 1,000.
const COUNT: u32 = 20_000;

/// Builds every contender, on the calling thread where it has one core.
///
/// # Errors
/// When a runtime does not come up.
pub fn contenders() -> Result<Vec<Box<dyn Contender>>> {
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    tokio::add_to(&mut all)?;
    smol::add_to(&mut all);
    monoio::add_to(&mut all)?;
    glommio::add_to(&mut all)?;
    compio::add_to(&mut all)?;
    multikernel::add_to(&mut all)?;
    Ok(all)
}

/// Nanoseconds per operation: by contender, by case, by round. The first of `rounds` + 1 rounds does not count.
pub fn measure(contenders: &mut [Box<dyn Contender>], rounds: usize, count: u32) -> Vec<Vec<Vec<f64>>> {
    let mut figures = vec![vec![Vec::with_capacity(rounds); Case::ALL.len()]; contenders.len()];
    let progress = pairs::progress(Case::ALL.len() * (rounds + 1));
    for round in 0..=rounds {
        for (column, case) in Case::ALL.into_iter().enumerate() {
            progress.set_message(case.name());
            progress.inc(1);
            for place in 0..contenders.len() {
                let turn = (place + round) % contenders.len();
                let took = contenders[turn].run(case, count);
                if round > 0 {
                    figures[turn][column].push(took.as_nanos() as f64 / f64::from(count));
                }
            }
        }
    }
    progress.finish_and_clear();
    figures
}

/// Measures and prints.
///
/// # Errors
/// When a runtime does not come up, or a name in `common.only` fits none.
pub fn run(common: &Common) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    cpus::pin(&[cpus.server])?;
    let mut contenders = choose(contenders()?, |contender| contender.name(), &common.only)?;
    let rounds = common.rounds.unwrap_or(if common.quick { 20 } else { 60 });
    println!("{}", cpus::head(cpus));
    println!(
        "tasks: median ns per operation over {rounds} rounds of {COUNT}, and the quartiles; all on CPU {}\n",
        cpus.server
    );
    let figures = measure(&mut contenders, rounds, COUNT);
    let mut header = vec!["runtime", "cores"];
    header.extend(Case::ALL.map(Case::name));
    let rows = contenders.iter().zip(&figures).map(|(contender, columns)| {
        let mut row = vec![contender.name().to_owned(), contender.cores().to_string()];
        row.extend(columns.iter().map(|figures| {
            let summary = Summary::of(figures.iter().copied());
            summary.map_or("-".to_owned(), |s| format!("{:.0} ({:.0}-{:.0})", s.median, s.low, s.high))
        }));
        row
    });
    println!("{}\n", table::table(&header, rows));
    println!("A ping-pong is a round trip: two messages and two switches of task.");
    let by_case = |columns: &Vec<Vec<f64>>| -> serde_json::Map<_, _> {
        Case::ALL.into_iter().zip(columns).map(|(case, ns)| (case.name().to_owned(), json!(ns))).collect()
    };
    let all: Vec<_> = contenders
        .iter()
        .zip(&figures)
        .map(|(contender, columns)| {
            json!({ "name": contender.name(), "cores": contender.cores(), "ns": by_case(columns) })
        })
        .collect();
    table::save(common.json.as_deref(), &json!(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_on_every_kind_of_tokio() {
        let mut all: Vec<Box<dyn Contender>> = Vec::new();
        tokio::add_to(&mut all).unwrap();
        let figures = measure(&mut all, 1, 1000);
        assert_eq!(figures.len(), 3);
        for ns in figures.iter().flatten() {
            assert!(ns.len() == 1 && ns[0] > 0.0, "{figures:?}");
        }
    }
}
