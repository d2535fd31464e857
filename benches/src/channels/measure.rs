//! The paired method: all contenders of a case are visited in each round, in an order that rotates, and the two CPUs
//! change roles from round to round.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::cases::{Case, Contender, Sample, Visit};
use super::crew::Hung;
use super::{jobs, rings};
use crate::harness::cpus::Cpus;

/// Operations of the first visit, which finds out how many make a slice.
const FIRST: u64 = 64;
/// Operations of any visit, at least: what a visit costs besides must not matter.
const FEWEST: u64 = 32;
/// A contender that hangs more often than this in one case has failed.
const MOST_HUNG: usize = 3;
/// Round trips of the bare line between two cases.
const LINE: u64 = 10_000;
/// Turns in each visit that watches fairness.
const TURNS: u64 = 16;
/// Voluntary switches per round trip, of all threads together: fewer, and nobody slept.
const AWAKE: f64 = 0.2;
/// More, and both cores slept each time.
const ASLEEP: f64 = 1.8;

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
    /// Of single round trips.
    pub latency: Histogram<u64>,
    /// See [`Sample::off`].
    pub off: Vec<f64>,
    /// Voluntary switches of threads per operation.
    pub switches: f64,
    /// Visits that never ended and do not count, of a contender of which that is known.
    pub hung: usize,
    /// Why there are no figures, if there are none.
    pub failure: Option<String>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            ns: Vec::new(),
            latency: jobs::latencies(),
            off: Vec::new(),
            switches: 0.0,
            hung: 0,
            failure: None,
        }
    }
}

impl Series {
    /// Why this is no figure for `case`, if it is none.
    #[must_use]
    pub fn amiss(&self, case: Case) -> Option<String> {
        let per_trip = format!("{:.2} switches per round trip", self.switches);
        match case {
            _ if self.failure.is_some() => self.failure.clone(),
            Case::Awake if self.switches > AWAKE => Some(format!("not awake: {per_trip}")),
            Case::Parked if self.switches < ASLEEP => Some(format!("not asleep: {per_trip}")),
            _ => None,
        }
    }

    fn add(&mut self, sample: Sample) {
        if let Some(latency) = sample.latency {
            self.latency += latency;
        }
        if sample.off.is_empty() {
            self.ns.push(sample.took.as_nanos() as f64 / sample.operations as f64);
        }
        self.off.extend(sample.off);
    }
}

/// What was measured: by contender, by case.
pub type Results = Vec<HashMap<Case, Series>>;

/// How far apart the two CPUs are: the round trip of a bare cache line, in nanoseconds. Virtual CPUs move.
fn distance(cpus: Cpus) -> Result<f64> {
    let (_, open) = rings::bare_line();
    let sample = open(cpus)?(LINE, false)?;
    Ok(sample.took.as_nanos() as f64 / sample.operations as f64)
}

/// Runs all `cases` of all `contenders`. Also says how far apart the two CPUs were before each case and after the last.
///
/// # Errors
/// When that cannot be found out. What a contender does wrong is in its [`Series::failure`].
pub fn all(
    contenders: &[Contender],
    cases: &[Case],
    cpus: Cpus,
    pace: Pace,
    progress: &ProgressBar,
) -> Result<(Results, Vec<f64>)> {
    let mut distances = Vec::new();
    let mut results: Results = contenders.iter().map(|_| HashMap::new()).collect();
    for &case in cases {
        progress.set_message(case.name());
        progress.inc(1);
        distances.push(distance(cpus)?);
        for (place, series) in one(contenders, case, cpus, pace) {
            results[place].insert(case, series);
        }
    }
    distances.push(distance(cpus)?);
    progress.finish_and_clear();
    Ok((results, distances))
}

/// A contender in one case.
struct Guest<'a> {
    contender: &'a Contender,
    case: Case,
    cpus: Cpus,
    /// `None` after a failure.
    visit: Option<Visit>,
    /// Operations per visit.
    count: u64,
    series: Series,
    /// Of all visits.
    switches: u64,
    operations: u64,
}

fn one(contenders: &[Contender], case: Case, cpus: Cpus, pace: Pace) -> Vec<(usize, Series)> {
    let able = contenders.iter().enumerate().filter(|(_, contender)| contender.offer(case).is_some());
    let (places, mut guests): (Vec<usize>, Vec<Guest<'_>>) =
        able.map(|(place, contender)| (place, Guest::new(contender, case, cpus))).unzip();
    guests.iter_mut().for_each(|guest| guest.size(pace.slice));
    for round in 0..pace.rounds {
        for turn in 0..guests.len() {
            let turn = (turn + round) % guests.len();
            guests[turn].receive(round % 2 == 1);
        }
    }
    places.into_iter().zip(guests.into_iter().map(Guest::leave)).collect()
}

impl<'a> Guest<'a> {
    fn new(contender: &'a Contender, case: Case, cpus: Cpus) -> Self {
        let series = Series::default();
        let mut guest =
            Self { contender, case, cpus, visit: None, count: FIRST, series, switches: 0, operations: 0 };
        guest.open();
        guest
    }

    fn open(&mut self) {
        let open = self.contender.offer(self.case).expect("only those who can are guests");
        match open(self.cpus) {
            Ok(visit) => self.visit = Some(visit),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.visit = None;
        if self.contender.may_hang && error.is::<Hung>() && self.series.hung < MOST_HUNG {
            self.series.hung += 1;
            self.open();
        } else {
            self.series.failure = Some(format!("{error:#}"));
        }
    }

    /// Finds out how many operations make a slice.
    fn size(&mut self, slice: Duration) {
        if matches!(self.case, Case::Fairness | Case::Greedy) {
            self.count = TURNS;
            return;
        }
        while let Some(visit) = &mut self.visit {
            match visit(self.count, false) {
                Ok(sample) if sample.took * 4 >= slice => {
                    let count = self.count as f64 * slice.as_secs_f64() / sample.took.as_secs_f64();
                    self.count = (count as u64).max(FEWEST);
                    return;
                }
                Ok(_) => self.count *= 4,
                Err(error) => self.fail(&error),
            }
        }
    }

    fn receive(&mut self, turned: bool) {
        while let Some(visit) = &mut self.visit {
            let before = switches();
            match visit(self.count, turned) {
                Ok(sample) => {
                    self.switches += switches() - before;
                    // Timed round trips come on top.
                    self.operations += sample.operations + sample.latency.as_ref().map_or(0, Histogram::len);
                    self.series.add(sample);
                    return;
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    fn leave(mut self) -> Series {
        self.series.switches = self.switches as f64 / self.operations.max(1) as f64;
        self.series
    }
}

/// How often threads of this process have gone to sleep.
fn switches() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the call writes one `rusage`, for which there is room.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "nothing about this call can fail");
    // SAFETY: the call succeeded, and so has written all of it.
    unsafe { usage.assume_init() }.ru_nvcsw as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_are_not_awake_and_the_other_way_round() {
        let series = |switches| Series { switches, ..Series::default() };
        assert!(series(2.0).amiss(Case::Awake).is_some());
        assert!(series(0.0).amiss(Case::Awake).is_none());
        assert!(series(2.0).amiss(Case::Parked).is_none());
        assert!(series(0.5).amiss(Case::Parked).is_some());
        assert!(series(0.5).amiss(Case::Call).is_none());
    }

    #[test]
    fn a_visit_that_fails_is_the_last() {
        fn open(_: Cpus) -> Result<Visit> {
            let mut visits = 0;
            Ok(Box::new(move |count, _| {
                visits += 1;
                anyhow::ensure!(visits < 4, "visit {visits} planted to fail");
                Ok(Sample::of(Duration::from_micros(count), count))
            }))
        }
        let contender = Contender::new("planted", "none").with([(Case::Call, Box::new(open) as _)]);
        let pace = Pace { slice: Duration::from_micros(256), rounds: 9 };
        let cpus = Cpus::of_this_process().unwrap();
        let cases = [Case::Call, Case::Awake];
        let (results, distances) = all(&[contender], &cases, cpus, pace, &ProgressBar::hidden()).unwrap();
        assert!(distances.len() == 3 && distances.iter().all(|ns| *ns > 0.0), "{distances:?}");
        let series = &results[0][&Case::Call];
        assert_eq!(series.ns, [1000.0; 2], "the first found the size, the fourth failed");
        assert_eq!(series.amiss(Case::Call).as_deref(), Some("visit 4 planted to fail"));
        assert!(!results[0].contains_key(&Case::Awake), "what is not offered is not there");
    }
}
