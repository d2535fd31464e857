//! Timers of the Machine, and a count of what they start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use multikernel::CoreId;
use multikernel::time::machine::{self, CancelError, Timer};
use multikernel::time::{Instant, sleep};

const CORES: usize = 16;
/// Of those that repeat.
const PERIODS: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(7), Duration::from_millis(50)];

/// A timer, and how often it has started, on which core.
struct Shot {
    begun: Instant,
    due: Duration,
    repeats: bool,
    is_for_each: bool,
    /// On each core.
    runs: [AtomicU64; CORES],
    is_early: AtomicBool,
    /// Told so; and how often it had started by then.
    cancelled: Mutex<Option<u64>>,
}

impl Shot {
    fn new(due: Duration, is_for_each: bool, repeats: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            due,
            repeats,
            is_for_each,
            runs: [const { AtomicU64::new(0) }; CORES],
            is_early: AtomicBool::new(false),
            cancelled: Mutex::new(None),
        })
    }

    fn deadline(&self) -> Instant {
        self.begun + self.due
    }

    /// It has been started.
    fn run(&self) {
        self.runs[CoreId::current().index()].fetch_add(1, Ordering::AcqRel);
        let nth = if self.repeats { u32::try_from(self.sum()).unwrap() } else { 1 };
        if Instant::now() < self.begun + self.due * nth {
            self.is_early.store(true, Ordering::Release);
        }
    }

    fn sum(&self) -> u64 {
        self.runs.iter().map(|runs| runs.load(Ordering::Acquire)).sum()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.lock().unwrap().is_some()
    }

    async fn cancel(&self, timer: Timer) {
        match timer.cancel().await {
            Ok(()) => *self.cancelled.lock().unwrap() = Some(self.sum()),
            Err(CancelError::HasStarted) => {}
            Err(error @ (CancelError::Closed | CancelError::Unknown)) => {
                panic!("all are still there: {error}")
            }
        }
    }

    fn check(&self) {
        let (sum, cancelled) = (self.sum(), *self.cancelled.lock().unwrap());
        let most = self.runs.iter().map(|runs| runs.load(Ordering::Acquire)).max().unwrap();
        assert!(!self.is_early.load(Ordering::Acquire), "it ran early");
        match (self.repeats, self.is_for_each, cancelled) {
            (true, ..) => {
                let elapsed = self.begun.elapsed();
                assert!(
                    sum > 0 && u128::from(sum) <= elapsed.as_nanos() / self.due.as_nanos(),
                    "{sum} ticks"
                );
            }
            (false, _, Some(before)) => assert_eq!((before, sum), (0, 0), "it ran, and is cancelled"),
            (false, true, None) => assert!(sum > 0 && most == 1, "twice on a core, or nowhere"),
            (false, false, None) => assert_eq!(sum, 1, "not once"),
        }
    }
}

/// All timers of a test.
#[derive(Default)]
pub struct Shots {
    all: Mutex<Vec<Arc<Shot>>>,
    beats: Mutex<Vec<(Arc<Shot>, Timer)>>,
}

impl Shots {
    fn add(&self, shot: &Arc<Shot>) {
        self.all.lock().unwrap().push(shot.clone());
    }

    /// Arms one, and cancels it at about the time when it is due, if asked to.
    pub async fn once(&self, due: Duration, cancels: bool) {
        let shot = Shot::new(due, false, false);
        let run = shot.clone();
        let timer = machine::once(shot.deadline(), move || run.run()).await.unwrap();
        self.armed(shot, timer, cancels).await;
    }

    /// The same, of one that is for each core.
    pub async fn on_each(&self, due: Duration, cancels: bool) {
        let shot = Shot::new(due, true, false);
        let run = shot.clone();
        let timer = machine::on_each(shot.deadline(), move || run.run()).await.unwrap();
        self.armed(shot, timer, cancels).await;
    }

    async fn armed(&self, shot: Arc<Shot>, timer: Timer, cancels: bool) {
        self.add(&shot);
        if cancels {
            sleep(shot.due / 2).await;
            shot.cancel(timer).await;
        }
    }

    pub async fn beats_begin(&self) {
        for period in PERIODS {
            let shot = Shot::new(period, false, true);
            let run = shot.clone();
            let timer = machine::every(period, move || run.run()).await.unwrap();
            self.add(&shot);
            self.beats.lock().unwrap().push((shot, timer));
        }
    }

    /// Those that repeat do not start again.
    pub async fn beats_end(&self) {
        let beats: Vec<_> = self.beats.lock().unwrap().drain(..).collect();
        let mut counts = Vec::new();
        for (shot, timer) in beats {
            shot.cancel(timer).await;
            assert!(shot.is_cancelled(), "one that repeats can be cancelled at any time");
            counts.push(shot);
        }
        // A run that had begun goes on.
        for core in multikernel::on_each_core(|| async {}) {
            core.await.unwrap();
        }
        let before: Vec<_> = counts.iter().map(|shot| shot.sum()).collect();
        sleep(3 * PERIODS[PERIODS.len() - 1]).await;
        let after: Vec<_> = counts.iter().map(|shot| shot.sum()).collect();
        assert_eq!(before, after, "a tick after the cancel");
    }

    /// Whether all have run that were not cancelled.
    pub fn are_over(&self) -> bool {
        self.all.lock().unwrap().iter().all(|shot| shot.is_cancelled() || shot.sum() > 0)
    }

    /// Whether the last that was armed has run on each core.
    pub fn last_was_on_each(&self, cores: usize) -> bool {
        self.all.lock().unwrap().last().is_some_and(|shot| shot.sum() == cores as u64)
    }

    pub fn check(&self) {
        self.all.lock().unwrap().iter().for_each(|shot| shot.check());
    }

    pub fn count(&self) -> usize {
        self.all.lock().unwrap().len()
    }
}
