//! The scenes: what load looks like when it is not even, and what is measured of it.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::client::{Client, Demand};
use super::figures;
use super::goals::{Bound, Goal};
use crate::client::load::{Load, Plan};
use crate::client::message::Message;
use crate::client::{PATIENCE, Work, latencies};
use crate::harness::cpus::{self, Cpus};
use crate::harness::process::Server;
use crate::harness::sched::CpuTime;
use crate::servers::Protocol;

/// One kind of load.
pub struct Scene {
    /// What the command line calls it.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// What the servers speak.
    pub protocol: Protocol,
    /// Who is in it; nobody named means all that speak the protocol on several cores.
    pub servers: &'static [&'static str],
    /// Connections that it opens.
    pub connections: usize,
    /// Visits to each server, and when it has to be quick.
    pub rounds: [usize; 2],
    /// What a visit measures, in this order.
    pub measures: &'static [&'static str],
    /// What is to be reached.
    pub goals: &'static [Goal],
    /// Loads one server, and measures.
    pub visit: fn(&Scene, &Visit<'_>) -> Result<Vec<f64>>,
}

/// Whom to load, and how.
pub struct Visit<'a> {
    /// The server's process.
    pub server: &'a Server,
    /// On how many cores it serves.
    pub cores: usize,
    /// Rounds of computing that take a microsecond here.
    pub rounds_per_micro: f64,
    /// Where who runs.
    pub cpus: Cpus,
    /// Shorter.
    pub quick: bool,
}

/// All of them.
pub const ALL: [Scene; 6] = [
    Scene {
        name: "shared",
        about: "64 connections echo 64 bytes; the client runs on the servers' CPUs, wherever the system puts it",
        protocol: Protocol::Echo,
        servers: &[],
        connections: 64,
        rounds: [15, 5],
        measures: &["requests/s", "p99 us", "CPU us/request"],
        goals: &[
            Goal::ratio("p99 us", "tokio-mt", Bound::AtMost(1.0)),
            Goal::ratio("CPU us/request", "tokio-mt", Bound::AtMost(0.9)),
        ],
        visit: shared,
    },
    Scene {
        name: "taken",
        about: "64 connections ask 4,000 times a second at random for 50 us of computing; another process takes one of the CPUs, \
                and leaves again",
        protocol: Protocol::Uneven,
        servers: &[],
        connections: 64,
        rounds: [5, 3],
        measures: &["p99 us before", "p99 us in 100 ms", "p99 us later", "later/before", "back after ms"],
        goals: &[
            Goal::value("back after ms", Bound::AtMost(100.0)),
            Goal::value("later/before", Bound::AtMost(2.0)),
            Goal::ratio("p99 us later", "tokio-mt", Bound::AtMost(1.0)),
        ],
        visit: taken,
    },
    Scene {
        name: "skew",
        about: "8 of 64 connections make nine of ten requests, each of which costs 200 us of computing",
        protocol: Protocol::Uneven,
        servers: &[],
        connections: 64,
        rounds: [9, 3],
        measures: &["requests/s", "p99 us"],
        goals: &[
            Goal::ratio("requests/s", "tokio-mt", Bound::AtLeast(0.95)),
            Goal::ratio("p99 us", "tokio-mt", Bound::AtMost(1.1)),
            Goal::ratio("requests/s", "tokio-mt", Bound::AtLeast(0.95)).of("multikernel-local"),
            Goal::ratio("p99 us", "tokio-mt", Bound::AtMost(1.1)).of("multikernel-local"),
        ],
        visit: skew,
    },
    Scene {
        name: "few",
        about: "3 connections on 2 cores ask for 200 us of computing, again and again",
        protocol: Protocol::Uneven,
        servers: &[],
        connections: 3,
        rounds: [15, 5],
        measures: &["requests/s", "p99 us", "all on one thread, ms"],
        goals: &[
            Goal::worst("all on one thread, ms", Bound::AtMost(50.0)),
            Goal::worst("all on one thread, ms", Bound::AtMost(50.0)).of("multikernel-local"),
        ],
        visit: few,
    },
    Scene {
        name: "burst",
        about: "10,000 connections one right after the other, each of which asks once when all are there",
        protocol: Protocol::Uneven,
        servers: &[],
        connections: 10_000,
        rounds: [3, 1],
        measures: &["largest/smallest"],
        // Who moves tasks may have moved some off the CPU that the client keeps busy before all have been answered.
        goals: &[
            Goal::worst("largest/smallest", Bound::AtMost(1.05)).of("multikernel-still"),
            Goal::worst("largest/smallest", Bound::AtMost(1.05)),
        ],
        visit: burst,
    },
    Scene {
        name: "steady",
        about: "64 connections ask 10,000 times a second at random for 20 us of computing; the first second does not count",
        protocol: Protocol::Uneven,
        servers: &["tokio-mt", "multikernel-each", "multikernel-still"],
        connections: 64,
        rounds: [15, 5],
        measures: &["p99 us", "CPU us/request", "moves/s"],
        goals: &[
            Goal::ratio("CPU us/request", "multikernel-still", Bound::AtMost(1.01)),
            Goal::value("moves/s", Bound::AtMost(1.0)),
        ],
        visit: steady,
    },
];

fn shared(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let plan =
        Plan { message: Message::Echo(64), connections: scene.connections, pipeline: 1, patience: PATIENCE };
    let mut load = Load::connect(visit.server.addr(), plan)?;
    load.slice(Duration::from_millis(200), &mut latencies())?;
    let mut latency = latencies();
    let before = CpuTime::of_process(visit.server.pid())?;
    let slice = load.slice(visit.length(500, 200), &mut latency)?;
    let used = CpuTime::of_process(visit.server.pid())? - before;
    Ok(vec![
        slice.counted as f64 / slice.wall.as_secs_f64(),
        latency.value_at_quantile(0.99) as f64 / 1e3,
        used.ran.as_secs_f64() * 1e6 / slice.total as f64,
    ])
}

fn taken(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let settle = Duration::from_millis(200);
    let (before, during) = (visit.length(1000, 700), visit.length(5000, 1500));
    let mut client = visit.connect(scene)?;
    let demand = Demand::Open { gap: Duration::from_micros(250), rounds: visit.rounds(50) };
    let start = Instant::now();
    let cpu = visit.cpus.server;
    let taker = thread::spawn(move || -> Result<(Duration, Duration)> {
        thread::sleep(before);
        let taker = Taker::start(cpu)?;
        let from = start.elapsed();
        thread::sleep(during);
        let to = start.elapsed();
        drop(taker);
        Ok((from, to))
    });
    // Not where the CPU is taken: its own delays are no server's.
    let answers = cpus::pinned(visit.cpus.client, || client.run(demand, before + during + settle));
    let (from, to) = taker.join().expect("it does not panic")?;
    let answers = answers?;
    let first = from + Duration::from_millis(100);
    let p99 = |from, to| figures::percentile(figures::between(&answers, from, to), 99);
    let (undisturbed, at_first, later) = (p99(settle, from), p99(from, first), p99(first, to));
    let back = figures::back_within(&answers, from, to, 2.0 * undisturbed);
    Ok(vec![undisturbed, at_first, later, later / undisturbed, back])
}

fn skew(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let length = visit.length(2000, 700);
    let demand = Demand::Skewed { heavy: 8, every: 9, rounds: visit.rounds(200) };
    let answers = visit.connect(scene)?.run(demand, length)?;
    let in_time = figures::between(&answers, Duration::ZERO, length).len();
    Ok(vec![in_time as f64 / length.as_secs_f64(), figures::percentile(&answers, 99)])
}

fn few(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let length = visit.length(1000, 500);
    let answers = visit.connect(scene)?.run(Demand::Closed { rounds: visit.rounds(200) }, length)?;
    let in_time = figures::between(&answers, Duration::ZERO, length).len();
    let together = figures::longest_on_one_thread(&answers, scene.connections);
    Ok(vec![in_time as f64 / length.as_secs_f64(), figures::percentile(&answers, 99), together])
}

fn burst(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let answers = visit.connect(scene)?.run(Demand::Once, Duration::ZERO)?;
    Ok(vec![figures::largest_to_smallest(&answers, visit.cores)])
}

fn steady(scene: &Scene, visit: &Visit<'_>) -> Result<Vec<f64>> {
    let length = visit.length(3000, 1000);
    let mut client = visit.connect(scene)?;
    let demand = Demand::Open { gap: Duration::from_micros(100), rounds: visit.rounds(20) };
    client.run(demand, visit.length(1000, 300))?;
    let before = CpuTime::of_process(visit.server.pid())?;
    let answers = client.run(demand, length)?;
    let used = CpuTime::of_process(visit.server.pid())? - before;
    Ok(vec![
        figures::percentile(&answers, 99),
        used.ran.as_secs_f64() * 1e6 / answers.len() as f64,
        figures::moves(&answers) as f64 / length.as_secs_f64(),
    ])
}

impl Visit<'_> {
    fn length(&self, millis: u64, quick: u64) -> Duration {
        Duration::from_millis(if self.quick { quick } else { millis })
    }

    fn rounds(&self, micros: u32) -> u32 {
        (f64::from(micros) * self.rounds_per_micro) as u32
    }

    fn connect(&self, scene: &Scene) -> Result<Client> {
        Client::connect(self.server.addr(), scene.connections)
    }
}

/// A process that does nothing but keep a CPU busy. Dropping it ends it.
struct Taker(Child);

impl Taker {
    fn start(cpu: usize) -> Result<Self> {
        let spawn =
            || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().context("cannot run sh");
        Ok(Self(cpus::pinned(cpu, spawn)?))
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        // Fails only if it has ended, and then it has been ended by somebody else.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
