//! What the system tells of a thread: what it does, and on what it has spent its time.

use std::fs;
use std::time::Duration;

/// A thread, named from any other. Of use while it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThreadId {
    pub(super) tid: libc::pid_t,
    /// Counts the thread's time on a CPU, to the nanosecond. The figure in `schedstat` is as old as the last tick.
    clock: libc::clockid_t,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It has a CPU, or waits for one.
    Running,
    /// It waits for something else: it is in a system call.
    Waiting,
    /// A signal or a debugger has stopped it.
    Stopped,
}

/// What a thread had spent at some moment, and what it was doing then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    doing: Doing,
    /// On a CPU.
    pub(super) ran: Duration,
    /// Waiting for a CPU. A wait that is not over is not counted yet.
    delayed: Duration,
}

impl ThreadId {
    /// The calling thread.
    pub(super) fn current() -> Self {
        let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: the calling thread lives; the second call writes to a variable of ours. If it fails, the watcher times
        // itself, and takes no thread for stuck that is ready to run.
        unsafe {
            libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock);
            Self { tid: libc::gettid(), clock }
        }
    }

    /// None if the system does not tell, or there is no such thread any more.
    pub(super) fn times(self) -> Option<Times> {
        let folder = format!("/proc/self/task/{}", self.tid);
        let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
        let schedstat = fs::read_to_string(format!("{folder}/schedstat")).ok()?;
        let mut ran = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to a variable of ours; a clock whose thread has ended is an error.
        if unsafe { libc::clock_gettime(self.clock, &mut ran) } != 0 {
            return None;
        }
        Some(Times {
            doing: doing(&stat)?,
            ran: Duration::new(ran.tv_sec.try_into().ok()?, ran.tv_nsec.try_into().ok()?),
            delayed: delayed(&schedstat)?,
        })
    }
}

/// The letter after the name, which is in parentheses and may contain some.
fn doing(stat: &str) -> Option<Doing> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(match rest.trim_start().chars().next()? {
        'R' => Doing::Running,
        'T' | 't' => Doing::Stopped,
        _ => Doing::Waiting,
    })
}

/// The second of three numbers, in nanoseconds.
fn delayed(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

impl Times {
    /// How much of the time `elapsed` since `before` the thread has spent on what it does: on a CPU, or in a call. Not on
    /// waiting for a CPU, and not stopped. Rather too little than too much.
    pub(super) fn spent_since(self, before: Self, elapsed: Duration) -> Duration {
        let spent = match self.doing {
            // It may be waiting for a CPU right now, which `delayed` does not count yet.
            Doing::Running => self.ran.saturating_sub(before.ran),
            Doing::Waiting => elapsed.saturating_sub(self.delayed.saturating_sub(before.delayed)),
            Doing::Stopped => Duration::ZERO,
        };
        spent.min(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_by_the_letter_after_its_name() {
        assert_eq!(doing("17 (a) R ) S 1 2 3"), Some(Doing::Waiting));
        assert_eq!(doing("17 (core-0) R 1"), Some(Doing::Running));
        assert_eq!(doing("17 (core-0) T 1"), Some(Doing::Stopped));
        assert_eq!(doing("17 (core-0) D 1"), Some(Doing::Waiting));
        assert_eq!(doing(""), None);
        assert_eq!(delayed("12 34 5\n"), Some(Duration::from_nanos(34)));
        assert_eq!(delayed("12"), None);
    }

    #[test]
    fn who_waits_for_a_cpu_or_is_stopped_spends_nothing() {
        let ms = Duration::from_millis;
        let at = |doing, ran, delayed| Times { doing, ran: ms(ran), delayed: ms(delayed) };
        let before = at(Doing::Running, 10, 5);
        // Waiting for a CPU all the time, and not counted yet.
        assert_eq!(at(Doing::Running, 10, 5).spent_since(before, ms(100)), ms(0));
        assert_eq!(at(Doing::Running, 50, 65).spent_since(before, ms(100)), ms(40));
        assert_eq!(at(Doing::Waiting, 11, 25).spent_since(before, ms(100)), ms(80));
        assert_eq!(at(Doing::Waiting, 10, 5).spent_since(before, ms(100)), ms(100));
        assert_eq!(at(Doing::Stopped, 10, 5).spent_since(before, ms(100)), ms(0));
        // Clocks that disagree give no more time than there was.
        assert_eq!(at(Doing::Running, 900, 5).spent_since(before, ms(100)), ms(100));
    }

    #[test]
    fn the_system_tells_of_a_thread_that_runs() {
        let me = ThreadId::current();
        let Some(before) = me.times() else { return }; // this system does not
        assert_eq!(before.doing, Doing::Running);
        while me.times().expect("it has told before").ran < before.ran + Duration::from_millis(1) {}
    }
}
