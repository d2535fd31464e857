//! The paired method: all contenders of a case are visited in each round, in an order that rotates, and the two CPUs
//! change roles from round to round.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::cases::{Case, Contender, Sample, Visit};
use super::jobs;
use crate::harness::cpus::Cpus;

/// Operations of the first visit, which finds out how many make a slice.
const FIRST: u64 = 64;
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
    /// Why there are no figures, if there are none.
    pub failure: Option<String>,
}

impl Default for Series {
    fn default() -> Self {
        Self { ns: Vec::new(), latency: jobs::latencies(), off: Vec::new(), switches: 0.0, failure: None }
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

/// Runs all `cases` of all `contenders`.
#[must_use]
pub fn all(
    contenders: &[Contender],
    cases: &[Case],
    cpus: Cpus,
    pace: Pace,
    progress: &ProgressBar,
) -> Results {
    let mut results: Results = contenders.iter().map(|_| HashMap::new()).collect();
    for &case in cases {
        progress.set_message(case.name());
        progress.inc(1);
        for (place, series) in one(contenders, case, cpus, pace) {
            results[place].insert(case, series);
        }
    }
    progress.finish_and_clear();
    results
}

struct Guest {
    place: usize,
    visit: Visit,
    count: u64,
    series: Series,
    switches: u64,
    operations: u64,
}

fn one(contenders: &[Contender], case: Case, cpus: Cpus, pace: Pace) -> Vec<(usize, Series)> {
    let mut failed = Vec::new();
    let mut guests = Vec::new();
    for (place, contender) in contenders.iter().enumerate() {
        let Some(open) = contender.offer(case) else { continue };
        match open(cpus).and_then(|mut visit| Ok((size(case, &mut visit, pace.slice)?, visit))) {
            Ok((count, visit)) => guests.push(Guest {
                place,
                visit,
                count,
                series: Series::default(),
                switches: 0,
                operations: 0,
            }),
            Err(error) => {
                failed.push((place, Series { failure: Some(format!("{error:#}")), ..Series::default() }))
            }
        }
    }
    for round in 0..pace.rounds {
        for turn in 0..guests.len() {
            let turn = (turn + round) % guests.len();
            guests[turn].receive(round % 2 == 1);
        }
    }
    guests.into_iter().map(Guest::leave).chain(failed).collect()
}

/// How many operations make a slice.
fn size(case: Case, visit: &mut Visit, slice: Duration) -> Result<u64> {
    if case == Case::Fairness {
        return Ok(TURNS);
    }
    let mut count = FIRST;
    loop {
        let took = visit(count, false)?.took;
        if took * 4 >= slice {
            return Ok((count as f64 * slice.as_secs_f64() / took.as_secs_f64()).max(1.0) as u64);
        }
        count *= 4;
    }
}

impl Guest {
    fn receive(&mut self, turned: bool) {
        if self.series.failure.is_some() {
            return;
        }
        let before = switches();
        match (self.visit)(self.count, turned) {
            Ok(sample) => {
                self.switches += switches() - before;
                // A visit that also times single round trips makes half as many again.
                let timed = sample.latency.as_ref().map_or(0, Histogram::len);
                self.operations += sample.operations + timed;
                self.series.add(sample);
            }
            Err(error) => self.series.failure = Some(format!("{error:#}")),
        }
    }

    fn leave(mut self) -> (usize, Series) {
        self.series.switches = self.switches as f64 / self.operations.max(1) as f64;
        (self.place, self.series)
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
        let cpus = Cpus { client: 0, server: 1, allowed: 2 };
        let results = all(&[contender], &[Case::Call, Case::Awake], cpus, pace, &ProgressBar::hidden());
        let series = &results[0][&Case::Call];
        assert_eq!(series.ns, [1000.0; 2], "the first found the size, the fourth failed");
        assert_eq!(series.amiss(Case::Call).as_deref(), Some("visit 4 planted to fail"));
        assert!(!results[0].contains_key(&Case::Awake), "what is not offered is not there");
    }
}
