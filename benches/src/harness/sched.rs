//! CPU time as the scheduler counts it.

use std::fs;
use std::iter::Sum;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, Result};

/// Time that threads have run, and have waited for a CPU while they could have run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Time on a CPU.
    pub ran: Duration,
    /// Time runnable but not running.
    pub waited: Duration,
}

impl CpuTime {
    /// The sum over all threads of process `pid`. Exact while they sleep; up to a scheduler tick behind otherwise.
    ///
    /// # Errors
    /// When the process has ended, or the kernel keeps no scheduler statistics.
    pub fn of_process(pid: u32) -> Result<Self> {
        let mut sum = Self::default();
        let tasks = format!("/proc/{pid}/task");
        for task in
            fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}: has the server ended?"))?
        {
            // A thread may end between the listing and the reading.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                sum = [sum, Self::parse(&text)?].into_iter().sum();
            }
        }
        Ok(sum)
    }

    /// That of one thread of this process, by its number. Exact while it sleeps.
    ///
    /// # Errors
    /// When the thread has ended, or the kernel keeps no scheduler statistics.
    pub fn of_thread(thread: u32) -> Result<Self> {
        let path = format!("/proc/self/task/{thread}/schedstat");
        Self::parse(&fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?)
    }

    /// The calling thread's.
    ///
    /// # Errors
    /// When the kernel keeps no scheduler statistics.
    pub fn of_this_thread() -> Result<Self> {
        let path = "/proc/thread-self/schedstat";
        let mut time =
            Self::parse(&fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?)?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        // The clock is exact while the thread runs; schedstat is not.
        time.ran = Duration::try_from(now).context("the thread clock is before its start")?;
        Ok(time)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut fields = text.split_whitespace().map(|field| field.parse().map(Duration::from_nanos));
        match (fields.next(), fields.next()) {
            (Some(Ok(ran)), Some(Ok(waited))) => Ok(Self { ran, waited }),
            _ => anyhow::bail!("unexpected schedstat: {text:?}"),
        }
    }

    /// The share of `wall` in which the threads ran or wanted to run; above 1 with several threads.
    #[must_use]
    pub fn demand(&self, wall: Duration) -> f64 {
        (self.ran + self.waited).as_secs_f64() / wall.as_secs_f64()
    }
}

impl Sum for CpuTime {
    fn sum<I: Iterator<Item = Self>>(times: I) -> Self {
        times.fold(Self::default(), |sum, one| Self {
            ran: sum.ran + one.ran,
            waited: sum.waited + one.waited,
        })
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        // A thread that ended between two readings takes its time with it.
        Self { ran: self.ran.saturating_sub(earlier.ran), waited: self.waited.saturating_sub(earlier.waited) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_is_charged_and_a_sleeping_one_is_not() {
        let start = std::time::Instant::now();
        let before = CpuTime::of_this_thread().unwrap();
        while start.elapsed() < Duration::from_millis(10) {
            std::hint::black_box(0);
        }
        let busy = CpuTime::of_this_thread().unwrap() - before;
        assert!(busy.demand(start.elapsed()) > 0.8, "{busy:?}");
        assert!(CpuTime::of_process(std::process::id()).unwrap().ran > Duration::ZERO);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(CpuTime::parse("").is_err());
        assert!(CpuTime::parse("1 x 3").is_err());
        assert_eq!(CpuTime::parse("5 7 1\n").unwrap().waited, Duration::from_nanos(7));
    }
}
