//! How a Machine is asked for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::driver::DriverChoice;
use crate::limits;
use crate::machine::boot;
use crate::machine::handle::RuntimeFlavor;
use crate::machine::pinning::Pinning;
use crate::machine::policy::Placement;
use crate::machine::runtime::Runtime;
use crate::machine::stall::Stall;
use crate::task::quietly;

/// Whether a core polls for messages before it parks.
///
/// Polling hides the cost of a park and a wake, some ten microseconds, and uses CPU time that others might want. It
/// is bounded, and happens only while messages arrive. Where a core polls, a receiver of its channels that finds nothing
/// polls as well, for a microsecond or two within its task's poll, as long as the core has nothing else to do.
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, Polling};
/// use std::time::Duration;
///
/// let runtime = Builder::new().cores(2).polling(Polling::For(Duration::from_micros(20))).build()?;
/// # std::io::Result::Ok(())
/// ```
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
    pub(crate) name: Option<String>,
    pub(crate) thread_name: String,
    pub(crate) max_blocking_threads: usize,
    pub(crate) thread_keep_alive: Duration,
    pub(crate) thread_stack_size: Option<usize>,
    pub(crate) hooks: Hooks,
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) ring_entries: u32,
    pub(crate) start_paused: bool,
    pub(crate) placement: Placement,
    pub(crate) balancing: bool,
    pub(crate) following: bool,
    pub(crate) stall_threshold: Option<Duration>,
}

/// What the user has called when a thread of the runtime gets its name, starts, sleeps and ends.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) name: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    pub(crate) start: Option<Hook>,
    pub(crate) stop: Option<Hook>,
    pub(crate) park: Option<Hook>,
    pub(crate) unpark: Option<Hook>,
    pub(crate) stall: Option<StallHook>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;
type StallHook = Arc<dyn Fn(Stall) + Send + Sync>;

impl Hooks {
    pub(crate) fn started(&self) {
        self.start.iter().for_each(|hook| quietly(|| hook()));
    }

    pub(crate) fn stopping(&self) {
        self.stop.iter().for_each(|hook| quietly(|| hook()));
    }

    pub(crate) fn parking(&self) {
        self.park.iter().for_each(|hook| quietly(|| hook()));
    }

    pub(crate) fn unparked(&self) {
        self.unpark.iter().for_each(|hook| quietly(|| hook()));
    }

    /// The name of a thread that is about to start: the user's, or `usual` if there is none.
    pub(crate) fn thread_name(&self, usual: String) -> String {
        let mut name = usual;
        // A NUL byte would be a panic of whoever starts the thread.
        self.name.iter().for_each(|made| quietly(|| name = made().replace('\0', "")));
        name
    }

    pub(crate) fn stalled(&self, stall: Stall) {
        self.stall.iter().for_each(|hook| quietly(|| hook(stall.clone())));
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("name", &self.name.is_some())
            .field("start", &self.start.is_some())
            .field("stop", &self.stop.is_some())
            .field("park", &self.park.is_some())
            .field("unpark", &self.unpark.is_some())
            .field("stall", &self.stall.is_some())
            .finish()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// One core per available CPU, pinned where that helps, io_uring where it is allowed. What `#[multikernel::main]`
    /// starts from.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::Builder;
    ///
    /// let cores = Builder::new().run(|| async { multikernel::cores().len() })?;
    /// assert!(cores >= 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> Self {
        Self {
            cores: None,
            pinning: Pinning::Auto,
            driver: DriverChoice::Auto,
            polling: Polling::Auto,
            name: None,
            thread_name: "multikernel".into(),
            max_blocking_threads: limits::BLOCKING_THREADS,
            thread_keep_alive: limits::BLOCKING_IDLE,
            thread_stack_size: None,
            hooks: Hooks::default(),
            flavor: RuntimeFlavor::MultiThread,
            ring_entries: limits::RING_ENTRIES,
            start_paused: false,
            placement: Placement::Spread,
            balancing: true,
            following: true,
            stall_threshold: Some(limits::STALL_THRESHOLD),
        }
    }

    /// What `#[multikernel::test]` starts from: one core, unpinned, parking at once, small rings, tasks that stay where they
    /// are placed, and nobody who watches for [stalls](Self::stall_threshold).
    ///
    /// # Examples
    /// In a test, a benchmark or an example, where many runtimes come and go:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let answer = Builder::new_test().run(|| async { 6 * 7 })?;
    /// assert_eq!(answer, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_test() -> Self {
        Self {
            cores: Some(1),
            pinning: Pinning::Never,
            polling: Polling::Off,
            ring_entries: limits::TEST_RING_ENTRIES,
            balancing: false,
            following: false,
            stall_threshold: None,
            ..Self::new()
        }
    }

    /// How many cores, each a thread. More than there are CPUs works, and is slower.
    ///
    /// The default is the number of CPUs in the affinity mask, or fewer if the control group grants less time.
    ///
    /// # Panics
    /// If `cores` is zero or more than 1,024.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let cores = Builder::new().cores(3).run(|| async { multikernel::cores().len() })?;
    /// assert_eq!(cores, 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cores(&mut self, cores: usize) -> &mut Self {
        assert!(
            (1..=limits::CORES).contains(&cores),
            "a Machine has 1 to {} cores, not {cores}",
            limits::CORES
        );
        self.cores = Some(cores);
        self
    }

    /// Whether each core's thread is tied to a CPU. The default is [`Pinning::Auto`].
    ///
    /// A CPU that cannot be had is no error: the core runs where the system lets it, and says so through `tracing`.
    ///
    /// # Examples
    /// A program that shares its computer with others leaves the choice of CPUs to the system:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use multikernel::runtime::Pinning;
    ///
    /// let runtime = Builder::new().cores(2).pinning(Pinning::Never).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pinning(&mut self, pinning: Pinning) -> &mut Self {
        self.pinning = pinning;
        self
    }

    /// Which driver to use. The default is [`DriverChoice::Auto`]. The environment variable `MULTIKERNEL_DRIVER`
    /// (`uring`, `epoll` or `auto`) overrides it, so whoever runs a program can choose without building it again.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use multikernel::runtime::DriverChoice;
    ///
    /// let runtime = Builder::new().cores(1).driver(DriverChoice::Epoll).build()?;
    /// println!("{}: {}", runtime.driver().kind, runtime.driver().why);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn driver(&mut self, driver: DriverChoice) -> &mut Self {
        self.driver = driver;
        self
    }

    /// Whether a core polls before it parks. The default is [`Polling::Auto`].
    ///
    /// # Examples
    /// To use as little CPU time as can be:
    /// ```
    /// # use multikernel::runtime::{Builder, Polling};
    /// let runtime = Builder::new().cores(2).polling(Polling::Off).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn polling(&mut self, polling: Polling) -> &mut Self {
        self.polling = polling;
        self
    }

    /// The first part of each thread's name; `-` and the core's number follow, or `-blocking`. The default is
    /// `multikernel`. Tools such as `top` show the first 15 bytes only.
    ///
    /// The thread that calls [`run`](Self::run), which is core 0, keeps the name it has.
    ///
    /// # Panics
    /// When the runtime starts, if the name contains a NUL byte.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(2).thread_name("web").build()?;
    /// let name = runtime.block_on(async {
    ///     let there = multikernel::CoreId::new(1);
    ///     multikernel::spawn_on(there, || async { std::thread::current().name().map(str::to_owned) }).await
    /// });
    /// assert_eq!(name?.as_deref(), Some("web-1"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_name(&mut self, name: impl Into<String>) -> &mut Self {
        self.thread_name = name.into();
        self.hooks.name = None;
        self
    }

    /// Where connections that were accepted go, tasks of [`spawn_balanced`](crate::spawn_balanced), and those of threads that
    /// are no cores. The default is [`Placement::Spread`].
    ///
    /// A plain [`spawn`](crate::spawn) on a core stays there, unless tasks wait there for much longer than elsewhere.
    ///
    /// # Examples
    /// A server that uses few cores while it has little to do:
    /// ```
    /// # use multikernel::runtime::{Builder, Placement};
    /// let mut builder = Builder::new();
    /// builder.placement(Placement::Pack { micros: 200 });
    /// # builder.cores(1).run(|| async {})?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn placement(&mut self, placement: Placement) -> &mut Self {
        self.placement = placement;
        self
    }

    /// Whether a core that has more to do than the others hands tasks over to them, in mid-life. On by default, but for
    /// [`new_test`](Self::new_test).
    ///
    /// Tasks go that are `Send` and were not given a core by name ([`spawn_on`](crate::spawn_on)); one that wants to stay
    /// says so with [`pin_here`](crate::task::pin_here), and those placed [by key](Placement::ByKey) stay together. Their sockets,
    /// sleeps and wakers go along. A core that retires, or
    /// blocks, hands its tasks over in any case.
    ///
    /// A core also sends its other tasks away before it polls one whose polls are known to take five milliseconds or more, if there
    /// is room elsewhere; and such tasks gather on few cores, which take no others meanwhile. A long poll that could not be foreseen
    /// makes those wait that are queued behind it.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let stays = Builder::new().cores(2).balancing(false).run(|| async {
    ///     let task = multikernel::spawn(async { multikernel::CoreId::current() });
    ///     task.await.unwrap() == multikernel::CoreId::current()
    /// })?;
    /// assert!(stays);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn balancing(&mut self, balancing: bool) -> &mut Self {
        self.balancing = balancing;
        self
    }

    /// Whether cores come and go with the CPUs that the process may use. On by default, but for
    /// [`new_test`](Self::new_test).
    ///
    /// Once a second the runtime looks whether its affinity, cpuset or quota has changed, as a container's may. If there are
    /// fewer CPUs than cores, the highest cores [retire](crate::runtime::Handle::retire): they hand over what may go, and what
    /// stays shares a CPU with another core. When the CPUs are back, so are the cores; there are never more than at the
    /// start. Cores that were tied to a CPU are tied to one that is left. It does nothing for a runtime that began with one core,
    /// or with more than it had CPUs.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(2).following(false).build()?; // always two
    /// # std::io::Result::Ok(())
    /// ```
    pub fn following(&mut self, following: bool) -> &mut Self {
        self.following = following;
        self
    }

    /// How many threads may run blocking calls, such as name look-ups, at a time. Further calls wait.
    ///
    /// The default is 64. Threads are started when they are needed, and end after
    /// [some time](Self::thread_keep_alive) without work. If the system gives no thread, calls wait for those there are,
    /// or until it gives one.
    ///
    /// # Panics
    /// If `threads` is zero.
    ///
    /// # Examples
    /// A pool no larger than what it works for, such as the connections to a database:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// # fn query() -> u64 { 3 }
    /// let rows = Builder::new().cores(1).max_blocking_threads(4).run(|| async {
    ///     multikernel::task::spawn_blocking(query).await
    /// })??;
    /// assert_eq!(rows, 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn max_blocking_threads(&mut self, threads: usize) -> &mut Self {
        assert!(threads > 0, "at least one blocking thread");
        self.max_blocking_threads = threads;
        self
    }

    /// Whether the runtime starts with its clock stopped, for tests: see [`time::pause`](crate::time::pause()). The default
    /// is no.
    ///
    /// Only the clock of a single core can be stopped. With more [`cores`](Self::cores) the start fails; if their number is
    /// not given, it is one.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use multikernel::time::{Duration, Instant, sleep};
    ///
    /// let slept = Builder::new_test().start_paused(true).run(|| async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_secs(86_400)).await; // takes no time
    ///     start.elapsed()
    /// })?;
    /// assert_eq!(slept, Duration::from_secs(86_400));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
        self.start_paused = start_paused;
        self
    }

    /// Starts the cores, each on a thread of its own, and returns their runtime.
    ///
    /// # Errors
    /// If a thread cannot be started, a driver cannot be opened, or `MULTIKERNEL_DRIVER` has an unknown value. No
    /// core is left running then.
    ///
    /// # Examples
    /// The thread that builds the runtime is free for something else:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(2).build()?;
    /// let task = runtime.spawn(async { 40 + 2 });
    /// // .. here the thread does what it likes ..
    /// assert_eq!(runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn build(&mut self) -> io::Result<Runtime> {
        boot::build(self)
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
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::rc::Rc;
    ///
    /// let not_send = Builder::new().cores(2).run(|| async {
    ///     let name = Rc::new("core 0");
    ///     multikernel::task::yield_now().await;
    ///     name
    /// })?;
    /// assert_eq!(*not_send, "core 0");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn run<F, Fut>(&mut self, main: F) -> io::Result<Fut::Output>
    where
        F: FnOnce() -> Fut,
        Fut: Future + 'static,
        Fut::Output: 'static,
    {
        boot::run(self, main)
    }
}
