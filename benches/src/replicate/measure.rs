//! The paired method: all contenders of a case are visited in each round, in an order that rotates, and the two CPUs
//! change roles from round to round. All run on the two cores of one Machine.

use std::collections::HashMap;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::cases::{Case, Contender, Sample, Visit};
use super::machine::Machine;
use crate::client::latencies;
use crate::harness::cpus::Cpus;

/// Operations of the first visit, which finds out how many make a slice.
const FIRST: u64 = 64;
/// Operations of any visit, at least: what a visit costs besides must not matter.
const FEWEST: u64 = 32;
/// Visits of about a slice that find that out.
const SIZINGS: u32 = 3;
/// Voluntary switches per operation, of all threads together: fewer, and nobody slept.
const AWAKE: f64 = 0.2;
/// Fewer, and the core that was asleep has been left alone for most of the time.
const LEFT_ALONE: f64 = 0.3;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One visit, about.
    pub slice: Duration,
    /// Visits that count, of each contender for each case.
    pub rounds: usize,
}

/// What was measured of one contender in one case.
#[derive(Debug)]
pub struct Series {
    /// Nanoseconds per operation, by round.
    pub ns: Vec<f64>,
    /// Of single operations.
    pub latency: Histogram<u64>,
    /// Voluntary switches of threads per operation.
    pub switches: f64,
    /// Why there are no figures, if there are none.
    pub failure: Option<String>,
}

impl Default for Series {
    fn default() -> Self {
        Self { ns: Vec::new(), latency: latencies(), switches: 0.0, failure: None }
    }
}

impl Series {
    /// Why this is no figure for `case`, if it is none.
    #[must_use]
    pub fn amiss(&self, case: Case) -> Option<String> {
        let per_operation = format!("{:.2} switches per proposal", self.switches);
        match case {
            _ if self.failure.is_some() => self.failure.clone(),
            Case::Home | Case::Other if self.switches > AWAKE => Some(format!("not awake: {per_operation}")),
            Case::Parked if self.switches > LEFT_ALONE => Some(format!("not left asleep: {per_operation}")),
            // A core that sleeps is woken now and then; one that never is does not sleep.
            Case::Parked if self.switches == 0.0 => Some("not asleep".to_owned()),
            _ => None,
        }
    }

    fn add(&mut self, sample: Sample) {
        if let Some(latency) = sample.latency {
            self.latency += latency;
        }
        self.ns.push(sample.took.as_nanos() as f64 / sample.operations as f64);
    }
}

/// What was measured: by contender, by case.
pub type Results = Vec<HashMap<Case, Series>>;

/// Runs all `cases` of all `contenders`.
///
/// # Errors
/// When there is no Machine. What a contender does wrong is in its [`Series::failure`].
pub fn all(
    contenders: &[Contender],
    cases: &[Case],
    cpus: Cpus,
    pace: Pace,
    progress: &ProgressBar,
) -> Result<Results> {
    let mut results: Results = contenders.iter().map(|_| HashMap::new()).collect();
    for &case in cases {
        progress.set_message(case.name());
        progress.inc(1);
        for (place, series) in one(contenders, case, cpus, pace)? {
            results[place].insert(case, series);
        }
    }
    progress.finish_and_clear();
    Ok(results)
}

/// A contender in one case.
struct Guest {
    /// `None` after a failure.
    visit: Option<Visit>,
    /// Operations per visit.
    count: u64,
    series: Series,
    /// Of all visits.
    switches: u64,
    operations: u64,
}

fn one(contenders: &[Contender], case: Case, cpus: Cpus, pace: Pace) -> Result<Vec<(usize, Series)>> {
    let machine = Rc::new(Machine::new(cpus, case.polls())?);
    let (mut places, mut guests) = (Vec::new(), Vec::new());
    for (place, contender) in contenders.iter().enumerate() {
        if let Some(open) = contender.offer(case) {
            places.push(place);
            guests.push(Guest::new(open(&machine)));
        }
    }
    guests.iter_mut().for_each(|guest| guest.size(pace.slice));
    for round in 0..pace.rounds {
        for turn in 0..guests.len() {
            machine.place(round % 2 == 1)?;
            let turn = (turn + round) % guests.len();
            guests[turn].receive();
        }
    }
    Ok(places.into_iter().zip(guests.into_iter().map(Guest::leave)).collect())
}

impl Guest {
    fn new(visit: Result<Visit>) -> Self {
        let mut guest =
            Self { visit: None, count: FIRST, series: Series::default(), switches: 0, operations: 0 };
        match visit {
            Ok(visit) => guest.visit = Some(visit),
            Err(error) => guest.fail(&error),
        }
        guest
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.visit = None;
        self.series.failure = Some(format!("{error:#}"));
    }

    /// Finds out how many operations make a slice, by the fastest of some visits: the others were disturbed.
    fn size(&mut self, slice: Duration) {
        let (mut least, mut long) = (f64::INFINITY, 0);
        while let Some(visit) = &mut self.visit {
            let sample = match visit(self.count) {
                Ok(sample) => sample,
                Err(error) => return self.fail(&error),
            };
            least = least.min(sample.took.as_secs_f64() / self.count as f64);
            if sample.took * 4 < slice {
                self.count *= 4;
                continue;
            }
            long += 1;
            if long == SIZINGS {
                self.count = ((slice.as_secs_f64() / least) as u64).max(FEWEST);
                return;
            }
        }
    }

    fn receive(&mut self) {
        let Some(visit) = &mut self.visit else { return };
        let before = switches();
        match visit(self.count) {
            Ok(sample) => {
                self.switches += switches().saturating_sub(before);
                // Those that are timed one by one come on top.
                self.operations += sample.operations + sample.latency.as_ref().map_or(0, Histogram::len);
                self.series.add(sample);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn leave(mut self) -> Series {
        self.series.switches = self.switches as f64 / self.operations.max(1) as f64;
        self.series
    }
}

/// How often threads of this process that live have gone to sleep.
fn switches() -> u64 {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return 0 };
    let of_task = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|count| count.trim().parse::<u64>().ok())
    };
    // A thread may end between the listing and the reading.
    let tasks = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    tasks.filter_map(of_task).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_are_not_awake_and_the_other_way_round() {
        let series = |switches| Series { switches, ..Series::default() };
        assert!(series(1.0).amiss(Case::Home).is_some());
        assert!(series(0.0).amiss(Case::Other).is_none());
        assert!(series(1.0).amiss(Case::Parked).is_some());
        assert!(series(0.0).amiss(Case::Parked).is_some());
        assert!(series(0.06).amiss(Case::Parked).is_none());
        assert!(series(0.5).amiss(Case::Mixed).is_none());
    }

    #[test]
    fn a_thread_that_sleeps_is_counted() {
        let before = switches();
        std::thread::sleep(Duration::from_millis(1));
        assert!(switches() > before);
    }

    #[test]
    fn a_visit_that_fails_is_the_last() {
        fn open(_: &Rc<Machine>) -> Result<Visit> {
            let mut visits = 0;
            Ok(Box::new(move |count| {
                visits += 1;
                anyhow::ensure!(visits < 6, "visit {visits} planted to fail");
                Ok(Sample::of(Duration::from_micros(count), count))
            }))
        }
        let contender = Contender::new("planted", [(Case::Mixed, Box::new(open) as _)]);
        let pace = Pace { slice: Duration::from_micros(256), rounds: 9 };
        let cpus = Cpus::of_this_process().unwrap();
        let cases = [Case::Mixed, Case::Read];
        let results = all(&[contender], &cases, cpus, pace, &ProgressBar::hidden()).unwrap();
        let series = &results[0][&Case::Mixed];
        assert_eq!(series.ns, [1000.0; 2], "three found the size, the sixth failed");
        assert_eq!(series.amiss(Case::Mixed).as_deref(), Some("visit 6 planted to fail"));
        assert!(!results[0].contains_key(&Case::Read), "what is not offered is not there");
    }
}
