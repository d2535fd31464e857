//! `balance`: how long requests wait if cores hand tasks over, beside one queue for all, stealing, and doing nothing.
//!
//! **Simulated.** Cores, connections and their requests exist in virtual time only; what they cost is assumed (see
//! [`costs`]). What decides is the code of the runtime.

use std::path::PathBuf;

use anyhow::Result;
use indicatif::ProgressBar;
use multikernel::machine_support::Tuning;
use serde_json::{Value, json};

use crate::harness::{pairs, table};
use crate::runs::{Common, choose};

pub mod costs;
pub mod load;
pub mod plot;
pub mod world;

use load::Load;
use world::{Plan, Scheme, Seen, World};

/// What this simulation alone can be told.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// What all can be told.
    pub common: Common,
    /// Names, or starts of names, of loads; empty means all.
    pub figures: Vec<String>,
    /// Where the plots go.
    pub plot: Option<PathBuf>,
}

/// A scheme with its name.
pub type Named = (&'static str, Scheme);

/// Ours.
pub const OURS: &str = "handing over";

/// Everyone, the best that can be first.
#[must_use]
pub fn schemes() -> Vec<Named> {
    vec![
        ("one queue", Scheme::Ideal),
        ("stealing", Scheme::Stealing),
        ("placed once", Scheme::Placed),
        (OURS, Scheme::Handing { tuning: Tuning::default(), weighs: true }),
        ("handing over, weights unknown", Scheme::Handing { tuning: Tuning::default(), weighs: false }),
    ]
}

/// One line of a table: the means of some seeds, times and shares by their logarithms.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Half of the requests were answered after so many times their service.
    pub half: f64,
    /// 99 of 100 were.
    pub most: f64,
    /// Requests per second and core.
    pub rate: f64,
    /// Tasks that went to another core, per second.
    pub moves: f64,
    /// The same in the second half of the time: when all is settled, if it ever is.
    pub later: f64,
}

/// Results by load, cores and scheme.
#[derive(Clone, Debug, Default)]
pub struct Results(Vec<(Load, usize, &'static str, Row)>);

impl Results {
    /// Of one scheme under one load, by cores.
    #[must_use]
    pub fn line(&self, load: Load, scheme: &str) -> Vec<(usize, Row)> {
        let rows = self.0.iter().filter(|row| row.0 == load && row.2 == scheme);
        rows.map(|row| (row.1, row.3)).collect()
    }

    fn table(&self, load: Load) -> String {
        let rows = self.0.iter().filter(|row| row.0 == load).map(|(_, cores, scheme, row)| {
            let numbers = [row.half, row.most].map(|slowdown| format!("{slowdown:.2}"));
            let counts = [row.rate, row.moves, row.later].map(|count| format!("{count:.1}"));
            [cores.to_string(), (*scheme).to_owned()].into_iter().chain(numbers).chain(counts).collect()
        });
        let header = ["cores", load.name(), "p50", "p99", "requests/s/core", "moves/s", "later"];
        table::table(&header, rows)
    }

    fn to_json(&self) -> Value {
        let row = |(load, cores, scheme, row): &(Load, usize, &str, Row)| {
            json!({ "load": load.name(), "cores": cores, "scheme": scheme, "p50": row.half, "p99": row.most,
                "rate": row.rate, "moves": row.moves, "later": row.later })
        };
        self.0.iter().map(row).collect()
    }
}

/// How much is simulated.
#[derive(Clone, Debug)]
pub struct Size {
    /// Numbers of cores.
    pub cores: Vec<usize>,
    /// How often, from different seeds.
    pub seeds: usize,
    /// Virtual nanoseconds.
    pub length: u64,
}

const WARM_UP: u64 = 500_000_000;

/// Simulates and prints.
///
/// # Errors
/// When a name is unknown, or a file cannot be written.
pub fn run(shape: &Shape) -> Result<()> {
    let Shape { common, figures, plot } = shape;
    let schemes = choose(schemes(), |scheme| scheme.0, &common.only)?;
    let loads = choose(Load::ALL.to_vec(), |load| load.name(), figures)?;
    let size = Size {
        cores: if common.quick { vec![2, 8] } else { vec![2, 8, 32, 128, 256] },
        seeds: common.rounds.unwrap_or(if common.quick { 1 } else { 3 }),
        length: if common.quick { 2_500_000_000 } else { 3_000_000_000 },
    };
    println!(
        "balance: SIMULATED, not measured. {} connections for each core, requests of {} us on average, {} seconds of \
         virtual time from {} seeds; above 8 cores from one seed, above 32 cores a third of the time. The first half second \
         counts only for heap.\n",
        load::CONNECTIONS,
        load::SERVICE / 1000.0,
        size.length as f64 / 1e9,
        size.seeds,
    );
    let progress = pairs::progress(loads.len() * schemes.len());
    let results = simulate(&loads, &schemes, &size, &progress);
    for load in &loads {
        println!("{}\n", results.table(*load));
    }
    println!(
        "Simulated. p50, p99: time to the answer, divided by the request's own service time. later: moves in the second \
         half of the time. one queue: for all cores, at no cost. stealing: an idle core takes half of another's queue. \
         placed once: connections stay with the core that had the fewest."
    );
    table::save(common.json.as_deref(), &json!({ "simulated": true, "balance": results.to_json() }))?;
    if let Some(folder) = plot {
        plot::draw(folder, &results, &plot::recoveries(&schemes, if common.quick { 1 } else { 4 }))?;
    }
    Ok(())
}

/// Every load with every scheme.
pub fn simulate(loads: &[Load], schemes: &[Named], size: &Size, progress: &ProgressBar) -> Results {
    let mut results = Results::default();
    for load in loads {
        let start = results.0.len();
        for (name, scheme) in schemes {
            for cores in &size.cores {
                results.0.push((*load, *cores, name, row(*load, *cores, *scheme, size)));
            }
            progress.inc(1);
        }
        results.0[start..].sort_by_key(|row| row.1);
    }
    progress.finish_and_clear();
    results
}

fn row(load: Load, cores: usize, scheme: Scheme, size: &Size) -> Row {
    // Where all begin on one core, the way to the others is what is of interest.
    let warm_up = if load == Load::Heap { 0 } else { WARM_UP };
    let mut mean = Row::default();
    // Large Machines need no more: they average over their cores.
    let seeds = if cores > 8 { 1 } else { size.seeds };
    let is_long = cores <= 32 || load == Load::Taken;
    let length = if is_long { size.length } else { size.length / 3 };
    let share = 1.0 / seeds as f64;
    for seed in 1..=seeds as u64 {
        let mut seen = World::run(Plan { cores, load, seed, warm_up, length }, scheme);
        let seconds = length as f64 / 1e9;
        let later = seen.moves.iter().filter(|at| **at > length / 2).count();
        mean.half += f64::from(quantile(&mut seen, 0.5)).ln() * share;
        mean.most += f64::from(quantile(&mut seen, 0.99)).ln() * share;
        mean.rate += seen.slowdowns.len() as f64 * share / ((length - warm_up) as f64 / 1e9 * cores as f64);
        mean.moves += seen.moves.len() as f64 / seconds * share;
        mean.later += later as f64 / (seconds / 2.0) * share;
    }
    Row { half: mean.half.exp(), most: mean.most.exp(), ..mean }
}

/// What so many of the requests did not exceed.
fn quantile(seen: &mut Seen, share: f64) -> f32 {
    if seen.slowdowns.is_empty() {
        return f32::INFINITY;
    }
    let at = ((seen.slowdowns.len() - 1) as f64 * share) as usize;
    seen.slowdowns.select_nth_unstable_by(at, |one, other| one.1.total_cmp(&other.1)).1.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(load: Load, scheme: Scheme) -> Row {
        row(load, 8, scheme, &Size { cores: Vec::new(), seeds: 2, length: 1_200_000_000 })
    }

    #[test]
    fn one_queue_is_the_best_and_doing_nothing_the_worst() {
        let ours = Scheme::Handing { tuning: Tuning::default(), weighs: true };
        let [best, stealing, ours, placed] =
            [Scheme::Ideal, Scheme::Stealing, ours, Scheme::Placed].map(|scheme| most(Load::Skew, scheme));
        assert!(best.most <= stealing.most && stealing.most < ours.most, "{best:?} {stealing:?} {ours:?}");
        assert!(ours.most * 5.0 < placed.most, "{ours:?} {placed:?}");
        assert!(ours.moves * 100.0 < stealing.moves, "{ours:?} {stealing:?}");
        assert_eq!(placed.moves, 0.0);
    }

    #[test]
    fn what_is_even_stays_where_it_is() {
        for weighs in [true, false] {
            let row = most(Load::Even, Scheme::Handing { tuning: Tuning::default(), weighs });
            assert!(row.moves <= 1.0, "{row:?}");
        }
    }

    /// Known from the textbook: the waits of an M/G/1 queue (Pollaczek and Khinchine).
    #[test]
    fn a_core_by_itself_is_the_queue_of_the_textbook() {
        let plan = Plan { cores: 1, load: Load::Even, seed: 5, warm_up: WARM_UP, length: 40_000_000_000 };
        let seen = World::run(plan, Scheme::Placed);
        // Service is a half and an exponential half: its square has mean 1.25. So at 70 % requests wait for 0.7 * 1.25 /
        // (2 * 0.3) services, and the mean of one over the service, E1(1) * 2e, makes a slowdown of that.
        let expected = 1.0 + 0.7 * 1.25 / 0.6 * 2.0 * std::f64::consts::E * 0.219_384;
        let sum: f64 = seen.slowdowns.iter().map(|slowdown| f64::from(slowdown.1)).sum();
        let mean = sum / seen.slowdowns.len() as f64;
        assert!((mean / expected - 1.0).abs() < 0.05, "{mean}, not {expected}");
    }

    #[test]
    fn a_seed_gives_the_same_each_time() {
        let plan = Plan { cores: 4, load: Load::Skew, seed: 9, warm_up: 0, length: 300_000_000 };
        let ours = Scheme::Handing { tuning: Tuning::default(), weighs: true };
        let [one, other] = [World::run(plan, ours), World::run(plan, ours)];
        assert!(one.slowdowns == other.slowdowns && one.moves == other.moves);
    }
}
