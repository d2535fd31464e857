//! `fs`: random reads of a file that is in the page cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Common, Field};
use crate::client::reads::Reads;
use crate::fs::{self, BLOCK, IN_FLIGHT};
use crate::harness::cpus::{self, Cpus};
use crate::harness::goals::{self, Goal, Measure};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::stats::Summary;
use crate::harness::table;
use crate::servers::{Protocol, Server};

const GOALS: [Goal; 2] = [
    Goal { ours: "multikernel", theirs: "raw", measure: Measure::Rate, at_least: 0.9 },
    Goal { ours: "multikernel", theirs: "tokio-ct", measure: Measure::Rate, at_least: 8.0 },
];

/// A file with numbered blocks. Dropping it removes it.
#[derive(Debug)]
pub struct Blocks {
    path: PathBuf,
}

impl Blocks {
    /// Makes one of so many MiB, in the folder for temporary files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(mib: u32) -> Result<Self> {
        // Several at a time in one process: tests.
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed); // Relaxed: only distinct
        let name = format!("multikernel-benches-fs-{}-{number}", std::process::id());
        let blocks = Self { path: std::env::temp_dir().join(name) };
        fs::make(&blocks.path, (u64::from(mib) << 20) / BLOCK as u64)
            .with_context(|| format!("cannot write {}", blocks.path.display()))?;
        Ok(blocks)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Nobody is there to be told, and it is a temporary file.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Random reads of a file of so many MiB.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, mib: u32) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(Protocol::Fs, &common.only)?;
    let (slice, rounds) = if common.quick { (50, 20) } else { (100, 30) };
    let pace = Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) };
    println!("{}", cpus::head(cpus));
    println!(
        "fs: reads of {BLOCK} bytes at random out of {mib} MiB in the page cache, {IN_FLIGHT} in flight, one core, all \
         threads of a reader on CPU {}; {} rounds of {}\n",
        cpus.server,
        pace.rounds,
        table::in_ms(pace.slice),
    );
    let blocks = Blocks::make(mib)?;
    let mut field = Field::default();
    for server in servers {
        if let Err(error) = open(server, &blocks, cpus, &mut field) {
            field.absent.push(Series::failed(server.name, 1, format!("{error:#}")));
        }
    }
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    println!("{}\n\n{}\n", figures(&all), table::ratios("read", &all));
    println!("{}\n", goals::lines(&GOALS, "read", &all));
    table::save(common.json.as_deref(), &table::to_json(&all))?;
    super::verdict(&all, |_| None)
}

fn open(server: &Server, blocks: &Blocks, cpus: Cpus, field: &mut Field) -> Result<()> {
    let path = blocks.path().to_str().context("the folder for temporary files has no plain name")?;
    let process = super::start_with(server, Protocol::Fs, 1, cpus, &["--file", path])?;
    let work = Box::new(Reads::connect(process.addr())?);
    field.entrants.push(Entrant { name: server.name.to_owned(), cores: 1, pid: process.pid(), work });
    field.processes.push(process);
    Ok(())
}

fn figures(all: &[Series]) -> String {
    let median =
        |figures: &[f64]| Summary::of(figures.iter().copied()).map_or(f64::NAN, |summary| summary.median);
    let row = |series: &Series| {
        vec![
            series.name.clone(),
            format!("{:.0}", median(&series.rate)),
            format!("{:.2}", median(&series.cpu) / 1e3),
            format!("{:.0} %", 100.0 * median(&series.server_busy)),
        ]
    };
    table::table(
        &["reader", "reads/s", "CPU us/read", "reader busy"],
        all.iter().filter(|series| !series.rate.is_empty()).map(row),
    )
}
