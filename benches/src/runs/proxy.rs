//! `proxy`: as much as goes through a proxy with `copy_bidirectional`.
//!
//! The client sends and receives, so on two CPUs it is often the limit of bytes per second. CPU time per MiB, which is
//! what this measures, stands either way.

use std::time::Duration;

use anyhow::Result;

use super::{Common, Field};
use crate::client::bulk::{Bulk, Target};
use crate::harness::cpus::{self, Cpus};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::stats::Summary;
use crate::harness::table;
use crate::servers::{Protocol, Server};

/// Proxies with so many connections each.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, connections: usize) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(Protocol::Proxy, &common.only)?;
    super::need_descriptors(servers.len() * connections * 4)?;
    let (slice, rounds) = if common.quick { (50, 20) } else { (100, 30) };
    let pace = Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) };
    println!("{}", cpus::head(cpus));
    println!(
        "proxy: {connections} connections, bytes one way; {} rounds of {}; one-core servers on CPU {}, client on CPU {}\n",
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.server,
        cpus.client,
    );
    let mut field = Field::default();
    for server in servers {
        if let Err(error) = open(server, connections, cpus, &mut field) {
            field.absent.push(Series::failed(server.name, 1, format!("{error:#}")));
        }
    }
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    println!("{}\n\n{}\n", figures(&all), table::ratios("MiB", &all));
    table::save(common.json.as_deref(), &table::to_json(&all))?;
    super::verdict(&all, |_| None)
}

fn open(server: &Server, connections: usize, cpus: Cpus, field: &mut Field) -> Result<()> {
    let target = Target::open()?;
    let process = super::start_with(server, Protocol::Proxy, 1, cpus, &[&target.addr()?.to_string()])?;
    let work = cpus::pinned(cpus.client, || Bulk::connect(process.addr(), &target, connections))?;
    field.entrants.push(Entrant {
        name: server.name.to_owned(),
        cores: 1,
        pid: process.pid(),
        work: Box::new(work),
    });
    field.processes.push(process);
    Ok(())
}

fn figures(all: &[Series]) -> String {
    let median =
        |figures: &[f64]| Summary::of(figures.iter().copied()).map_or(f64::NAN, |summary| summary.median);
    let row = |series: &Series| {
        vec![
            series.name.clone(),
            format!("{}{:.0}", if series.client_bound.is_some() { ">=" } else { "" }, median(&series.rate)),
            format!("{:.1}", median(&series.cpu) / 1e3),
            format!("{:.0} %", 100.0 * median(&series.server_busy)),
            format!("{:.0} %", 100.0 * median(&series.client_busy)),
        ]
    };
    table::table(
        &["server", "MiB/s", "CPU us/MiB", "server busy", "client busy"],
        all.iter().filter(|series| !series.rate.is_empty()).map(row),
    )
}
