//! Whether the CPU that a core runs on has time left.
//!
//! A core is kept from running by whoever shares its CPU. If that is a client with little to do, the CPU is idle in between, and
//! the core gets what it needs a little later. If it is a process that is always busy, hardly any time is left, and the core's
//! tasks are better off elsewhere. How long a core waits for its CPU does not tell the one from the other; the idle time of the
//! CPU does.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use crate::limits::IDLE_WINDOW;
use crate::machine::cpus;
use crate::time::Instant;

/// In which the system tells what CPUs did, whatever the clock of its scheduler is: `USER_HZ`.
const TICK: Duration = Duration::from_millis(10);

#[derive(Default)]
pub(super) struct Crowding {
    seen: Cell<Option<Idle>>,
    /// What the last window told.
    crowded: Cell<bool>,
}

/// How long a CPU had been idle.
#[derive(Clone, Copy)]
struct Idle {
    at: Instant,
    cpu: usize,
    /// In [ticks](TICK).
    ticks: u64,
}

impl Crowding {
    /// Whether the CPU of the calling thread was hardly idle over the last few hundredths of a second. Needs to be asked
    /// for as long, and says no meanwhile; says yes where the system does not tell.
    #[cold]
    pub(super) fn has_no_time_left(&self) -> bool {
        let now = Instant::system();
        let passed = |then: Idle| now.saturating_duration_since(then.at);
        let seen = self.seen.get().filter(|then| passed(*then) < 4 * IDLE_WINDOW);
        if seen.is_some_and(|then| passed(then) < IDLE_WINDOW) {
            return self.crowded.get();
        }
        let Some(cpu) = cpus::current() else { return true };
        let Some(ticks) = fs::read_to_string("/proc/stat").ok().and_then(|stat| idle_ticks(&stat, cpu))
        else {
            return true;
        };
        let was_busy = |then: Idle| TICK * (ticks.saturating_sub(then.ticks) as u32) <= passed(then) / 4;
        self.crowded.set(seen.is_some_and(|then| then.cpu == cpu && was_busy(then)));
        self.seen.set(Some(Idle { at: now, cpu, ticks }));
        self.crowded.get()
    }
}

/// Idle, and waiting for disks: the fourth and the fifth figure of a CPU.
fn idle_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let mut lines = stat.lines().map(str::split_ascii_whitespace);
    let name = format!("cpu{cpu}");
    let mut figures = lines.find_map(|mut words| (words.next()? == name).then_some(words))?;
    let (idle, waiting) = (figures.nth(3)?, figures.next()?);
    Some(idle.parse::<u64>().ok()? + waiting.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Crowding, idle_ticks};

    const STAT: &str = "cpu  30 0 12 900 40 0 0 0 0 0\ncpu0 10 0 6 500 30 0 0 0 0 0\ncpu1 20 0 6 400 10 0 0 0 0 0\n\
                        cpu10 1 2 3 4 5 6 7 8 9 0\nintr 5 0 0\n";

    #[test]
    fn idle_time_is_that_of_the_cpu() {
        let [first, second, tenth, none] = [0, 1, 10, 2].map(|cpu| idle_ticks(STAT, cpu));
        assert_eq!((first, second, tenth, none), (Some(530), Some(410), Some(9), None));
        assert_eq!(idle_ticks("cpu0 1 2 3 4", 0), None);
        assert_eq!(idle_ticks("cpu0 1 2 3 x 5", 0), None);
    }

    #[test]
    fn without_a_window_there_is_time_left() {
        assert!(!Crowding::default().has_no_time_left(), "nothing has been seen yet");
    }
}
