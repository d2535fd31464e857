//! `echo` and `http`: connections that stay open.

use std::time::Duration;

use anyhow::Result;

use super::{Common, Field};
use crate::client::PATIENCE;
use crate::client::load::{Load, Plan};
use crate::client::message::Message;
use crate::harness::cpus::{self, Cpus};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::table;
use crate::servers::{Protocol, Server};

/// What to run.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What all measurements can be told.
    pub common: Common,
    /// Connections to each server.
    pub connections: usize,
    /// Requests under way on each connection.
    pub pipeline: u32,
    /// Cores for servers that use several.
    pub cores: usize,
}

/// Echo with messages of `size` bytes.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn echo(shape: &Shape, size: usize) -> Result<()> {
    run(shape, Protocol::Echo, Message::Echo(size))
}

/// HTTP/1.1 hello.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn http(shape: &Shape) -> Result<()> {
    run(shape, Protocol::Http, Message::Http)
}

fn run(shape: &Shape, protocol: Protocol, message: Message) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(protocol, &shape.common.only)?;
    super::need_descriptors(servers.len() * shape.connections)?;
    let pace = pace(&shape.common);
    println!("{}", cpus::head(cpus));
    println!(
        "{}: {} connections, {} under way on each, {}; {} rounds of {}; one-core servers on CPU {}, client on CPU {}\n",
        protocol.name(),
        shape.connections,
        shape.pipeline,
        match message {
            Message::Echo(size) => format!("{size} bytes per message"),
            Message::Http => "GET / to 13 bytes".to_owned(),
            Message::Resp => "SET and GET by turns".to_owned(),
        },
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.server,
        cpus.client,
    );
    let plan = Plan { message, connections: shape.connections, pipeline: shape.pipeline, patience: PATIENCE };
    let mut field = open(&servers, shape.cores, protocol, cpus, plan);
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    println!("{}\n\n{}\n", table::figures("request", &all), table::ratios("request", &all));
    table::save(shape.common.json.as_deref(), &table::to_json(&all))?;
    super::verdict(&all, |series| series.client_bound.clone())
}

fn pace(common: &Common) -> Pace {
    let (slice, rounds) = if common.quick { (50, 20) } else { (100, 30) };
    Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) }
}

/// Starts all servers and connects to each.
fn open(servers: &[&Server], cores: usize, protocol: Protocol, cpus: Cpus, plan: Plan) -> Field {
    let mut field = Field::default();
    for server in servers {
        let cores = super::cores_of(server, cores);
        let opened = super::start(server, protocol, cores, cpus).and_then(|process| {
            let work = Box::new(cpus::pinned(cpus.client, || Load::connect(process.addr(), plan))?);
            let entrant = Entrant { name: server.name.to_owned(), cores, pid: process.pid(), work };
            field.entrants.push(entrant);
            field.processes.push(process);
            Ok(())
        });
        if let Err(error) = opened {
            field.absent.push(Series::failed(server.name, cores, format!("{error:#}")));
        }
    }
    field
}
