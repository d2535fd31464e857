//! `resp`: `SET` and `GET` by turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Common, Field};
use crate::client::load::{Load, Plan};
use crate::client::message::Message;
use crate::client::{self, PATIENCE};
use crate::harness::cpus::{self, Cpus};
use crate::harness::goals::{self, Goal, Measure};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::{process, table};
use crate::resp::redis;
use crate::servers::{Protocol, Server};

/// At this pipeline.
const GOAL_AT: u32 = 16;
const GOAL: Goal = Goal { ours: "multikernel", theirs: redis::NAME, measure: Measure::PerCpu, at_least: 1.2 };

/// So long it may take until a server listens.
const START: Duration = Duration::from_secs(10);

/// Requests on so many connections, with so many under way on each; one table for each of `pipelines`.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, connections: usize, pipelines: &[u32]) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let mut servers = super::servers_for(Protocol::Resp, &common.only)?;
    super::need_descriptors(servers.len() * connections)?;
    println!("{}", cpus::head(cpus));
    match redis::version() {
        Some(version) => println!("{version}"),
        None => {
            println!("there is no redis-server on this machine: it is left out");
            servers.retain(|server| server.name != redis::NAME);
            ensure!(!servers.is_empty(), "nothing is left to measure");
        }
    }
    let mut tables = serde_json::Map::new();
    let mut verdict = Ok(());
    for &pipeline in pipelines {
        let plan = Plan { message: Message::Resp, connections, pipeline, patience: PATIENCE };
        let all = one(&servers, plan, pace(common, pipelines.len()), cpus)?;
        tables.insert(pipeline.to_string(), table::to_json(&all));
        verdict = verdict.and(super::verdict(&all, |_| None));
    }
    table::save(common.json.as_deref(), &json!(tables))?;
    verdict
}

fn pace(common: &Common, tables: usize) -> Pace {
    let (slice, rounds) = if common.quick { (50, 20 / tables.clamp(1, 4)) } else { (100, 30) };
    Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) }
}

fn one(servers: &[&Server], plan: Plan, pace: Pace, cpus: Cpus) -> Result<Vec<Series>> {
    println!(
        "resp: SET and GET by turns, values of 64 bytes, {} connections, {} under way on each; {} rounds of {}; servers on \
         CPU {}, client on CPU {}\n",
        plan.connections,
        plan.pipeline,
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.server,
        cpus.client,
    );
    let mut field = Field::default();
    for server in servers {
        if let Err(error) = open(server, plan, cpus, &mut field) {
            field.absent.push(Series::failed(server.name, 1, format!("{error:#}")));
        }
    }
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    let bases = [table::BASELINES[0], redis::NAME];
    println!("{}\n\n{}\n", table::figures("request", &all), table::ratios_to(&bases, "request", &all));
    if all.iter().any(|series| series.client_bound.is_some()) {
        println!(
            "\">=\": the client was the limit, so no ratio of requests/s; CPU time per request stands.\n"
        );
    }
    if plan.pipeline == GOAL_AT {
        println!("{}\n", goals::lines(&[GOAL], "request", &all));
    }
    Ok(all)
}

fn open(server: &Server, plan: Plan, cpus: Cpus, field: &mut Field) -> Result<()> {
    let process = super::start(server, Protocol::Resp, 1, cpus)?;
    wait_for(&process)?;
    let work = Box::new(cpus::pinned(cpus.client, || Load::connect(process.addr(), plan))?);
    field.entrants.push(Entrant { name: server.name.to_owned(), cores: 1, pid: process.pid(), work });
    field.processes.push(process);
    Ok(())
}

/// Waits until it listens.
///
/// # Errors
/// When it does not.
pub fn wait_for(process: &process::Server) -> Result<()> {
    let start = Instant::now();
    loop {
        match client::dial(process.addr(), 0) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > START => return Err(error).context("it does not listen"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
