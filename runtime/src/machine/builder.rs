//! How a Machine is asked for.

use std::future::Future;
use std::io;
use std::time::Duration;

use crate::driver::DriverChoice;
use crate::limits;
use crate::machine::boot;
use crate::machine::pinning::Pinning;
use crate::machine::runtime::Runtime;

/// Whether a core polls for messages before it parks.
///
/// Polling hides the cost of a park and a wake, some ten microseconds, and uses CPU time that others might want. It
/// is bounded, and happens only while messages arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polling {
    /// Poll for as long as a park and a wake cost, if every core has a CPU to itself, there are more than two CPUs,
    /// and no quota limits their time.
    #[default]
    Auto,
    /// Park at once.
    Off,
    /// Poll for this long.
    For(Duration),
}

/// Configures a runtime.
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, DriverChoice};
///
/// let sum = Builder::new().cores(2).driver(DriverChoice::Epoll).run(|| async {
///     let there = multikernel::spawn_balanced(async { 40 });
///     there.await.unwrap() + 2
/// });
/// assert_eq!(sum.unwrap(), 42);
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) cores: Option<usize>,
    pub(crate) pinning: Pinning,
    pub(crate) driver: DriverChoice,
    pub(crate) polling: Polling,
    pub(crate) thread_name: String,
    pub(crate) max_blocking_threads: usize,
    pub(crate) ring_entries: u32,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// One core per available CPU, pinned where that helps, io_uring where it is allowed.
    pub fn new() -> Self {
        Self {
            cores: None,
            pinning: Pinning::Auto,
            driver: DriverChoice::Auto,
            polling: Polling::Auto,
            thread_name: "multikernel".into(),
            max_blocking_threads: limits::BLOCKING_THREADS,
            ring_entries: limits::RING_ENTRIES,
        }
    }

    /// What `#[multikernel::test]` starts from: one core, unpinned, parking at once, small rings.
    pub fn new_test() -> Self {
        Self {
            cores: Some(1),
            pinning: Pinning::Never,
            polling: Polling::Off,
            ring_entries: limits::TEST_RING_ENTRIES,
            ..Self::new()
        }
    }

    /// How many cores, each a thread. More than there are CPUs works, and is slower.
    ///
    /// The default is the number of CPUs in the affinity mask, or fewer if the control group grants less time.
    ///
    /// # Panics
    /// If `cores` is zero or more than 1,024.
    pub fn cores(mut self, cores: usize) -> Self {
        assert!(
            (1..=limits::CORES).contains(&cores),
            "a Machine has 1 to {} cores, not {cores}",
            limits::CORES
        );
        self.cores = Some(cores);
        self
    }

    /// Whether each core's thread is tied to a CPU.
    pub fn pinning(mut self, pinning: Pinning) -> Self {
        self.pinning = pinning;
        self
    }

    /// Which driver to use. The environment variable `MULTIKERNEL_DRIVER` (`uring`, `epoll` or `auto`) overrides it.
    pub fn driver(mut self, driver: DriverChoice) -> Self {
        self.driver = driver;
        self
    }

    /// Whether a core polls before it parks.
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// The first part of each thread's name; the core's number follows.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// How many threads may run blocking calls, such as name look-ups, at a time. Further calls wait.
    ///
    /// # Panics
    /// If `threads` is zero.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        assert!(threads > 0, "at least one blocking thread");
        self.max_blocking_threads = threads;
        self
    }

    /// Starts the cores, each on a thread of its own, and returns their runtime.
    ///
    /// # Errors
    /// If a thread cannot be started, a driver cannot be opened, or `MULTIKERNEL_DRIVER` has an unknown value. No
    /// core is left running then.
    pub fn build(self) -> io::Result<Runtime> {
        boot::build(&self)
    }

    /// Starts the cores, the calling thread being the first of them, and runs `main`'s future there until it
    /// completes; then ends the runtime.
    ///
    /// Neither the future nor its output need be `Send`. This is what `#[multikernel::main]` calls.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    ///
    /// # Panics
    /// If the future panics, with its payload, after the runtime has ended; if the thread is a core already.
    pub fn run<F, Fut>(self, main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut,
        Fut: Future + 'static,
        Fut::Output: 'static,
    {
        boot::run(&self, main)
    }
}
