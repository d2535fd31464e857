//! `churn`: connections that come and go.
//!
//! Linux does most of a handshake in the context of the one who connects, so the client is often the limit of
//! connections per second. The table marks those and gives no ratio; CPU time per connection, which is what this
//! measures, stands either way.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::{Common, Field};
use crate::client::churn::Churn;
use crate::harness::cpus::{self, Cpus};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::table;
use crate::servers::{Protocol, Server};

/// What to run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What all measurements can be told.
    pub common: Common,
    /// Connections at a time.
    pub at_a_time: usize,
    /// Bytes per message.
    pub size: usize,
    /// Requests per connection, one table for each.
    pub per_connection: Vec<u32>,
    /// Cores for servers that use several.
    pub cores: usize,
}

/// Connections that come and go.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(shape: &Shape) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(Protocol::Echo, &shape.common.only)?;
    super::need_descriptors(servers.len() * shape.at_a_time)?;
    println!("{}", cpus::head(cpus));
    let mut tables = serde_json::Map::new();
    let mut verdict = Ok(());
    for per_connection in &shape.per_connection {
        let all = one(shape, *per_connection, &servers, cpus)?;
        tables.insert(per_connection.to_string(), table::to_json(&all));
        verdict = verdict.and(super::verdict(&all, |_| None));
    }
    table::save(shape.common.json.as_deref(), &json!(tables))?;
    verdict
}

fn one(shape: &Shape, per_connection: u32, servers: &[&Server], cpus: Cpus) -> Result<Vec<Series>> {
    let pace = pace(&shape.common, shape.per_connection.len());
    println!(
        "churn: connect, {per_connection} x {} bytes there and back, close; {} at a time; {} rounds of {}; one-core \
         servers on CPU {}, client on CPU {}\n",
        shape.size,
        shape.at_a_time,
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.server,
        cpus.client,
    );
    let mut field = Field::default();
    for server in servers {
        let cores = super::cores_of(server, shape.cores);
        let opened = super::start(server, Protocol::Echo, cores, cpus).and_then(|process| {
            let start = || Churn::start(process.addr(), shape.at_a_time, per_connection, shape.size);
            let work = Box::new(cpus::pinned(cpus.client, start)?);
            field.entrants.push(Entrant { name: server.name.to_owned(), cores, pid: process.pid(), work });
            field.processes.push(process);
            Ok(())
        });
        if let Err(error) = opened {
            field.absent.push(Series::failed(server.name, cores, format!("{error:#}")));
        }
    }
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    println!("{}\n\n{}\n", table::figures("connection", &all), table::ratios("connection", &all));
    if all.iter().any(|series| series.client_bound.is_some()) {
        println!(
            "\">=\": the client was the limit, so no ratio of connections/s; CPU time per connection stands.\n"
        );
    }
    Ok(all)
}

fn pace(common: &Common, tables: usize) -> Pace {
    let (slice, rounds) = if common.quick { (50, 20 / tables.clamp(1, 4)) } else { (100, 30) };
    Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) }
}
