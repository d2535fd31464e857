//! The paired method: all servers run at once and load visits them in turn, so that whatever else the machine does
//! hits all of them alike; figures are compared within a round only.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use super::sched::CpuTime;
use super::stats::Summary;
use crate::client::{self, Slice, Work};

/// A client with less idle time than this could not have asked for more.
const BUSY_CLIENT: f64 = 0.97;
/// A server with more idle time than this could have answered more.
const BUSY_SERVER: f64 = 0.90;
/// For what a server does after its last answer, before its CPU time is read.
const SETTLE: Duration = Duration::from_millis(1);

/// A server to be measured.
pub struct Entrant {
    /// What the table calls it.
    pub name: String,
    /// How many cores it was given.
    pub cores: usize,
    /// Whose CPU time counts.
    pub pid: u32,
    /// The load on it.
    pub work: Box<dyn Work>,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Load on one server at a time.
    pub slice: Duration,
    /// Visits to each server that count; one more, the first, does not.
    pub rounds: usize,
}

/// All that was measured of one server; one figure per round and list.
#[derive(Debug)]
pub struct Series {
    /// What the table calls it.
    pub name: String,
    /// How many cores it was given.
    pub cores: usize,
    /// Answers per second.
    pub rate: Vec<f64>,
    /// The server's CPU time per answer, in nanoseconds.
    pub cpu: Vec<f64>,
    /// The share of time in which the client ran or wanted to.
    pub client_busy: Vec<f64>,
    /// The share of time in which the server ran or wanted to; above 1 on several cores.
    pub server_busy: Vec<f64>,
    /// Of all answers of all rounds, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Why answers per second are the client's limit and not the server's, if they are.
    pub client_bound: Option<String>,
    /// Why the figures mean nothing, if they do not.
    pub failure: Option<String>,
}

impl Series {
    /// An empty series for a server that could not even be asked.
    #[must_use]
    pub fn failed(name: &str, cores: usize, failure: String) -> Self {
        Self { failure: Some(failure), ..Self::new(name, cores) }
    }

    fn new(name: &str, cores: usize) -> Self {
        Self {
            name: name.to_owned(),
            cores,
            rate: Vec::new(),
            cpu: Vec::new(),
            client_busy: Vec::new(),
            server_busy: Vec::new(),
            latency: client::latencies(),
            client_bound: None,
            failure: None,
        }
    }

    fn add(&mut self, slice: &Slice, server: CpuTime) {
        if slice.total == 0 || slice.counted == 0 {
            self.failure = Some("a slice without an answer".to_owned());
            return;
        }
        self.rate.push(slice.counted as f64 / slice.wall.as_secs_f64());
        self.cpu.push(server.ran.as_nanos() as f64 / slice.total as f64);
        self.client_busy.push(slice.client.demand(slice.whole));
        self.server_busy.push(server.demand(slice.whole));
    }

    /// Asks the detector, once all rounds are in.
    fn detect(&mut self, cpus: usize) {
        let median = |shares: &[f64]| Summary::of(shares.iter().copied()).map(|summary| summary.median);
        if let (Some(client), Some(server)) = (median(&self.client_busy), median(&self.server_busy)) {
            self.client_bound = client_bound(client, server, self.cores, cpus);
        }
    }
}

/// The detector behind [`Series::client_bound`], for busy shares of the client and of a server with `cores` cores, on a
/// machine with `cpus` CPUs of which the client takes one.
#[must_use]
pub fn client_bound(client: f64, server: f64, cores: usize, cpus: usize) -> Option<String> {
    let could_use = cores.min(cpus.saturating_sub(1)).max(1) as f64;
    (client >= BUSY_CLIENT && server < BUSY_SERVER * could_use).then(|| {
        format!(
            "the client is the bottleneck: busy {:.0} % of the time, the server {:.0} %",
            client * 100.0,
            server * 100.0
        )
    })
}

/// Visits each entrant in each round, in an order that rotates, and returns what was measured in the given order.
/// `cpus` is how many CPUs client and servers have together.
///
/// # Errors
/// When the machine's own books cannot be read. What a server does wrong is in its [`Series::failure`].
pub fn run(entrants: &mut [Entrant], pace: Pace, cpus: usize, progress: &ProgressBar) -> Result<Vec<Series>> {
    let mut all: Vec<_> = entrants.iter().map(|entrant| Series::new(&entrant.name, entrant.cores)).collect();
    for round in 0..=pace.rounds {
        for place in 0..entrants.len() {
            let turn = (place + round) % entrants.len();
            let (entrant, series) = (&mut entrants[turn], &mut all[turn]);
            progress.inc(1);
            if series.failure.is_some() {
                continue;
            }
            progress.set_message(entrant.name.clone());
            let before = CpuTime::of_process(entrant.pid)?;
            let result = if round == 0 {
                entrant.work.slice(pace.slice, &mut client::latencies())
            } else {
                entrant.work.slice(pace.slice, &mut series.latency)
            };
            std::thread::sleep(SETTLE);
            match result {
                Ok(slice) if round > 0 => series.add(&slice, CpuTime::of_process(entrant.pid)? - before),
                Ok(_) => {}
                Err(error) => series.failure = Some(format!("{error:#}")),
            }
        }
    }
    progress.finish_and_clear();
    all.iter_mut().for_each(|series| series.detect(cpus));
    Ok(all)
}

/// A bar on a terminal, nothing elsewhere.
#[must_use]
pub fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {eta:>4} left  {msg}");
    ProgressBar::new(steps as u64).with_style(style.expect("the template is well formed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_client_beside_an_idle_server_proves_nothing() {
        assert!(client_bound(0.99, 0.7, 1, 2).is_some());
        assert!(client_bound(0.99, 0.95, 1, 2).is_none());
        assert!(client_bound(0.80, 0.70, 1, 2).is_none());
    }

    #[test]
    fn a_server_on_all_cpus_cannot_use_the_clients() {
        assert!(client_bound(0.99, 0.95, 2, 2).is_none());
        assert!(client_bound(0.99, 0.95, 2, 8).is_some());
    }

    struct Silent;

    impl Work for Silent {
        fn slice(&mut self, length: Duration, _: &mut Histogram<u64>) -> Result<Slice> {
            Ok(Slice { wall: length, counted: 0, total: 0, whole: length, client: CpuTime::default() })
        }
    }

    #[test]
    fn a_slice_without_an_answer_fails() {
        let pace = Pace { slice: Duration::from_millis(1), rounds: 1 };
        let entrant =
            Entrant { name: "silent".into(), cores: 1, pid: std::process::id(), work: Box::new(Silent) };
        let series = run(&mut [entrant], pace, 2, &ProgressBar::hidden()).unwrap();
        assert!(series[0].failure.is_some());
    }
}
