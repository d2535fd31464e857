//! `timers`: what it costs to begin and to drop a sleep on a core that has a million of them, and how late sleeps end,
//! runtime beside runtime in one process.
//!
//! All contenders are kept on one CPU and visited in turn, in an order that rotates; ratios are of visits in the same round.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::harness::cpus::{self, Cpus};
use crate::harness::stats::Summary;
use crate::harness::{pairs, table};
use crate::runs::{Common, choose};

#[macro_use]
mod cases;
mod multikernel;
mod tokio;

/// Nanoseconds for each operation of one visit.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A sleep is made and polled for the first time.
    pub insert: f64,
    /// It is dropped, those made first going first.
    pub cancel: f64,
    /// One sleep of all, at random, is dropped and another one begins.
    pub replace: f64,
}

/// A runtime with many sleeps.
pub trait Contender {
    /// What `--only` and the tables call it.
    fn name(&self) -> &'static str;

    /// Does each operation `count` times beside `live` sleeps, which stay for the next visit.
    fn visit(&mut self, live: usize, count: usize) -> Costs;

    /// By how many nanoseconds `count` sleeps at a time end late, while nothing else is to be done.
    fn late(&mut self, count: usize) -> Vec<u64>;
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Sleeps that wait all the time.
    pub live: usize,
    /// Operations of each kind in a visit.
    pub count: usize,
    /// Sleeps whose lateness is taken in a visit.
    pub sleepers: usize,
}

const SIZE: Size = Size { live: 1_000_000, count: 50_000, sleepers: 100 };

/// What was measured of one contender.
#[derive(Debug, Default)]
pub struct Series {
    /// By round.
    pub insert: Vec<f64>,
    /// By round.
    pub cancel: Vec<f64>,
    /// By round.
    pub replace: Vec<f64>,
    /// By round, and sorted within it: by how many nanoseconds each sleep ended late.
    pub late: Vec<Vec<u64>>,
}

impl Series {
    fn add(&mut self, costs: Costs, mut late: Vec<u64>) {
        late.sort_unstable();
        self.insert.push(costs.insert);
        self.cancel.push(costs.cancel);
        self.replace.push(costs.replace);
        self.late.push(late);
    }

    /// The lateness that this share of a round's sleeps stays below, in milliseconds, over the rounds. A process that takes
    /// the CPU away for some milliseconds spoils one round, not the figure.
    fn late_by(&self, share: f64) -> Option<Summary> {
        let at = |round: &Vec<u64>| {
            let place = (round.len() as f64 * share) as usize;
            round[place.min(round.len() - 1)] as f64 / 1e6
        };
        Summary::of(self.late.iter().map(at))
    }
}

/// Xorshift (Marsaglia 2003): the same sleeps for everybody.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    /// Ten minutes to an hour: more than a run takes.
    fn far(&mut self) -> Duration {
        Duration::from_micros(600_000_000 + self.below(3_000_000_000) as u64)
    }

    /// One to five milliseconds.
    fn near(&mut self) -> Duration {
        Duration::from_nanos(1_000_000 + self.below(4_000_000) as u64)
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Builds every contender.
///
/// # Errors
/// When a runtime does not come up.
pub fn contenders() -> Result<Vec<Box<dyn Contender>>> {
    Ok(vec![Box::new(tokio::CurrentThread::new()?), Box::new(multikernel::OneCore::new()?)])
}

/// Visits all in turn. The first of `rounds` + 1 rounds, in which the sleeps begin, does not count.
pub fn measure(contenders: &mut [Box<dyn Contender>], rounds: usize, size: Size) -> Vec<Series> {
    let mut all: Vec<Series> = contenders.iter().map(|_| Series::default()).collect();
    let progress = pairs::progress((rounds + 1) * contenders.len());
    for round in 0..=rounds {
        for place in 0..contenders.len() {
            let turn = (place + round) % contenders.len();
            progress.set_message(contenders[turn].name());
            progress.inc(1);
            let costs = contenders[turn].visit(size.live, size.count);
            let late = contenders[turn].late(size.sleepers);
            if round > 0 {
                all[turn].add(costs, late);
            }
        }
    }
    progress.finish_and_clear();
    all
}

fn row(name: &str, series: &Series) -> Vec<String> {
    let spread = |figures: &[f64]| {
        let summary = Summary::of(figures.iter().copied());
        summary.map_or("-".to_owned(), |s| format!("{:.0} ({:.0}-{:.0})", s.median, s.low, s.high))
    };
    let mut row = vec![name.to_owned()];
    row.extend([&series.insert, &series.cancel, &series.replace].map(|figures| spread(figures)));
    row.extend([0.5, 0.9, 0.99].map(|share| {
        let late = series.late_by(share);
        late.map_or("-".to_owned(), |s| format!("{:.2} ({:.2}-{:.2})", s.median, s.low, s.high))
    }));
    row
}

fn ratios(name: &str, series: &Series, base: &Series) -> Vec<String> {
    let ratio = |ours: &[f64], theirs: &[f64]| {
        let summary = Summary::of_ratios(ours, theirs);
        summary.map_or("-".to_owned(), |s| format!("{:.2} ({:.2}-{:.2})", s.median, s.low, s.high))
    };
    vec![
        name.to_owned(),
        ratio(&series.insert, &base.insert),
        ratio(&series.cancel, &base.cancel),
        ratio(&series.replace, &base.replace),
    ]
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
        "timers: median ns per operation beside {} sleeps over {rounds} rounds of {}, and the quartiles; how late {} sleeps \
         of 1 to 5 ms end, by round; all on CPU {}\n",
        SIZE.live, SIZE.count, SIZE.sleepers, cpus.server
    );
    let all = measure(&mut contenders, rounds, SIZE);
    let names: Vec<_> = contenders.iter().map(|contender| contender.name()).collect();
    let rows = names.iter().zip(&all).map(|(name, series)| row(name, series));
    let header = ["runtime", "insert", "cancel", "replace at random", "late p50 ms", "p90", "p99"];
    println!("{}\n", table::table(&header, rows));
    if let Some(base) = names.iter().position(|name| *name == "tokio-ct") {
        let rows = names.iter().zip(&all).map(|(name, series)| ratios(name, series, &all[base]));
        println!("{}\n", table::table(&["divided by tokio's", "insert", "cancel", "replace"], rows));
    }
    let figures = names.iter().zip(&all).map(|(name, series)| {
        let Series { insert, cancel, replace, late } = series;
        json!({ "name": name, "insert": insert, "cancel": cancel, "replace": replace, "late": late })
    });
    let figures: Vec<_> = figures.collect();
    table::save(common.json.as_deref(), &json!(figures))
}
