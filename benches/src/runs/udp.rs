//! `udp`: datagrams that come back.
//!
//! The client does half of what the system does for a datagram, so it is often the limit of datagrams per second. CPU time per
//! datagram, which is what this measures, stands either way.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::{Common, Field};
use crate::client::PATIENCE;
use crate::client::datagrams::{Counts, Datagrams, Plan as Load};
use crate::harness::cpus::{self, Cpus};
use crate::harness::goals::{self, Goal, Measure};
use crate::harness::pairs::{self, Entrant, Pace, Series};
use crate::harness::table;
use crate::servers::{Protocol, Server};

const GOALS: [Goal; 3] = [
    Goal { ours: "multikernel", theirs: "tokio-ct", measure: Measure::PerCpu, at_least: 1.3 },
    Goal { ours: "multikernel-batch", theirs: "tokio-ct", measure: Measure::PerCpu, at_least: 1.3 },
    Goal { ours: "multikernel-gso", theirs: "tokio-ct", measure: Measure::PerCpu, at_least: 1.3 },
];

/// On a busy machine a server may not get a CPU for as long as some tens of milliseconds.
const LOST_AFTER: Duration = Duration::from_millis(100);
/// A run that loses a larger share than this is about the loss.
const MOST_LOST: f64 = 0.01;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Sockets that send to each server.
    pub peers: u32,
    /// Datagrams under way from each.
    pub window: u32,
    /// Bytes of each.
    pub size: usize,
}

/// What became of a server's datagrams, as far as it is known.
type Books = Vec<(String, Rc<Cell<Counts>>)>;

/// Datagrams that come back.
///
/// # Errors
/// When the run cannot be made or proves nothing.
pub fn run(common: &Common, plan: Plan) -> Result<()> {
    let cpus = Cpus::of_this_process()?;
    let servers = super::servers_for(Protocol::Udp, &common.only)?;
    let (slice, rounds) = if common.quick { (50, 20) } else { (100, 30) };
    let pace = Pace { slice: Duration::from_millis(slice), rounds: common.rounds.unwrap_or(rounds) };
    println!("{}", cpus::head(cpus));
    println!(
        "udp: {} bytes there and back, {} peers with {} under way each; {} rounds of {}; servers on CPU {}, client on CPU {}\n",
        plan.size,
        plan.peers,
        plan.window,
        pace.rounds,
        table::in_ms(pace.slice),
        cpus.server,
        cpus.client,
    );
    let Plan { peers, window, size } = plan;
    let load = Load { peers, window, size, lost_after: LOST_AFTER, patience: PATIENCE };
    let (mut field, mut books) = (Field::default(), Books::new());
    for server in servers {
        if let Err(error) = open(server, load, cpus, &mut field, &mut books) {
            field.absent.push(Series::failed(server.name, 1, format!("{error:#}")));
        }
    }
    let progress = pairs::progress(field.entrants.len() * (pace.rounds + 1));
    let mut all =
        cpus::pinned(cpus.client, || pairs::run(&mut field.entrants, pace, cpus.allowed, &progress))?;
    all.append(&mut field.absent);
    let bases = &table::BASELINES[..1];
    println!("{}\n\n{}\n", table::figures("datagram", &all), table::ratios_to(bases, "datagram", &all));
    if all.iter().any(|series| series.client_bound.is_some()) {
        println!(
            "\">=\": the client was the limit, so no ratio of datagrams/s; CPU time per datagram stands.\n"
        );
    }
    for (name, counts) in books.iter().map(|(name, counts)| (name, counts.get())).filter(|(_, c)| c.lost > 0)
    {
        let Counts { sent, lost, late, .. } = counts;
        println!("{name}: {lost} of {sent} datagrams not back within {LOST_AFTER:?}, {late} of these later");
    }
    println!("{}\n", goals::lines(&GOALS, "datagram", &all));
    table::save(common.json.as_deref(), &table::to_json(&all))?;
    super::verdict(&all, |series| {
        let (_, counts) = books.iter().find(|(name, _)| *name == series.name)?;
        too_many_lost(counts.get())
    })
}

fn too_many_lost(Counts { sent, lost, .. }: Counts) -> Option<String> {
    (lost as f64 > MOST_LOST * sent as f64).then(|| format!("{lost} of {sent} datagrams were lost"))
}

fn open(server: &Server, load: Load, cpus: Cpus, field: &mut Field, books: &mut Books) -> Result<()> {
    let process = super::start(server, Protocol::Udp, 1, cpus)?;
    let work = cpus::pinned(cpus.client, || Datagrams::connect(process.addr(), load))?;
    books.push((server.name.to_owned(), work.counts()));
    field.entrants.push(Entrant {
        name: server.name.to_owned(),
        cores: 1,
        pid: process.pid(),
        work: Box::new(work),
    });
    field.processes.push(process);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_about_loss_is_noticed() {
        let counts = |sent, lost| Counts { sent, lost, answered: sent - lost, late: 0 };
        assert!(too_many_lost(counts(1000, 11)).is_some());
        assert!(too_many_lost(counts(1000, 9)).is_none());
        assert!(too_many_lost(counts(0, 0)).is_none());
    }
}
