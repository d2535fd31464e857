//! What the cores have done, for people and their dashboards.

use std::fmt;
use std::time::Duration;

use multikernel_channels::sync::Arc;

use crate::executor;
use crate::machine::figures::Sums;
use crate::machine::{CoreId, Machine};

/// What a runtime has done so far, from [`Handle::metrics`](crate::runtime::Handle::metrics).
///
/// Every core counts by itself, always, and publishes once a turn of its loop; a sleeping core has published all it has
/// done. Reading takes no lock but for the blocking threads, disturbs nobody, and works on any thread. Figures of one core
/// may be a turn apart from each other. Those of the core on which one asks are of this moment.
///
/// Methods that tokio has too are named as there, and count from core 0. [`core`](Self::core) gives all of one core.
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, RuntimeMetrics};
///
/// let runtime = Builder::new().cores(2).build()?;
/// let metrics: RuntimeMetrics = runtime.handle().metrics();
/// for core in runtime.handle().cores() {
///     println!("{core}: {:?}", metrics.core(core));
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct RuntimeMetrics {
    machine: Arc<Machine>,
}

/// What one core has done so far, from [`RuntimeMetrics::core`].
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::runtime::{CoreMetrics, Handle};
/// use multikernel::CoreId;
///
/// let before: CoreMetrics = Handle::current().metrics().core(CoreId::current());
/// multikernel::task::yield_now().await;
/// let after = Handle::current().metrics().core(CoreId::current());
/// assert_eq!(after.polls - before.polls, 1);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreMetrics {
    /// Tasks that have not completed.
    pub tasks: usize,
    /// Tasks that there have ever been here: spawned, or handed over by another core.
    pub spawned: u64,
    /// Tasks of those that this core has handed over to others.
    pub moved: u64,
    /// Polls of tasks, the one under way included.
    pub polls: u64,
    /// How often a task has entered the run queue: spawned, woken, or woken while it ran.
    pub wakes: u64,
    /// Tasks in the run queue.
    pub queue_depth: usize,
    /// How long a task that is queued now will wait for its poll, about. Zero when none is.
    pub queue_delay: Duration,
    /// The time in which tasks were polled.
    pub busy: Duration,
    /// The time in which the core's thread could have run and had no CPU, as the scheduler of the system counts it. Ten
    /// milliseconds old, while the core has work; zero where the system does not tell.
    pub run_delay: Duration,
    /// How often the core went to sleep.
    pub parks: u64,
    /// System messages that came: wakes, spawns, aborts and the like from other threads, several of one kind for one task
    /// counting as one. What users send through channels is not among them.
    pub messages_in: u64,
    /// System messages that this core has sent to others, or to itself.
    pub messages_out: u64,
    /// System calls of the driver in which requests were handed over, or events fetched or waited for.
    pub driver_batches: u64,
    /// Requests that went to io_uring. Always zero with epoll.
    pub driver_submissions: u64,
    /// Completions of io_uring, or sources that epoll found ready.
    pub driver_events: u64,
}

impl From<Sums> for CoreMetrics {
    fn from(sums: Sums) -> Self {
        Self {
            tasks: sums.tasks as usize,
            spawned: sums.spawned,
            moved: sums.moved,
            polls: sums.polls,
            wakes: sums.wakes,
            queue_depth: sums.queue as usize,
            queue_delay: Duration::from_nanos(sums.delay.into()),
            busy: Duration::from_nanos(sums.busy),
            run_delay: Duration::from_nanos(sums.run_delay),
            parks: sums.parks,
            messages_in: sums.mail_in,
            messages_out: sums.mail_out,
            driver_batches: sums.batches,
            driver_submissions: sums.submissions,
            driver_events: sums.events,
        }
    }
}

impl RuntimeMetrics {
    pub(crate) fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// All figures of one core.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::CoreId;
    ///
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.core(CoreId::new(0)).tasks, 1);
    /// # }).unwrap();
    /// ```
    pub fn core(&self, core: CoreId) -> CoreMetrics {
        let count = self.machine.cores.len();
        let Some(mailbox) = self.machine.cores.get(core.index()) else {
            panic!("there is no {core} among {count}")
        };
        executor::with(|here| {
            if let Some(here) = here.filter(|here| here.home.mailbox().uid == mailbox.uid) {
                here.publish();
            }
        });
        mailbox.figures.read().into()
    }

    fn worker(&self, worker: usize) -> CoreMetrics {
        self.core(CoreId::new(worker))
    }

    fn cores(&self) -> impl Iterator<Item = CoreMetrics> {
        (0..self.num_workers()).map(|core| self.worker(core))
    }

    /// How many cores there are.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.num_workers(), 1);
    /// # }).unwrap();
    /// ```
    pub fn num_workers(&self) -> usize {
        self.machine.cores.len()
    }

    /// Tasks that have not completed, on all cores. One that is on its way to its core is not counted.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.num_alive_tasks(), 1); // this one
    /// let other = multikernel::spawn_local(async {});
    /// assert_eq!(metrics.num_alive_tasks(), 2);
    /// other.await.unwrap();
    /// assert_eq!(metrics.num_alive_tasks(), 1);
    /// # }).unwrap();
    /// ```
    pub fn num_alive_tasks(&self) -> usize {
        self.cores().map(|core| core.tasks).sum()
    }

    /// Tasks there have ever been, on all cores.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.spawned_tasks_count(), 1); // this one
    /// multikernel::spawn_local(async {});
    /// assert_eq!(metrics.spawned_tasks_count(), 2);
    /// # }).unwrap();
    /// ```
    pub fn spawned_tasks_count(&self) -> u64 {
        self.cores().map(|core| core.spawned - core.moved.min(core.spawned)).sum()
    }

    /// The time in which a core polled tasks.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// println!("core 0 was busy for {:?}", metrics.worker_total_busy_duration(0));
    /// # }).unwrap();
    /// ```
    pub fn worker_total_busy_duration(&self, worker: usize) -> Duration {
        self.worker(worker).busy
    }

    /// How many polls of tasks a core has begun.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.worker_poll_count(0), 1);
    /// multikernel::task::yield_now().await;
    /// assert_eq!(metrics.worker_poll_count(0), 2);
    /// # }).unwrap();
    /// ```
    pub fn worker_poll_count(&self, worker: usize) -> u64 {
        self.worker(worker).polls
    }

    /// How often a core went to sleep.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// use multikernel::time::{Duration, sleep};
    ///
    /// let before = metrics.worker_park_count(0);
    /// sleep(Duration::from_millis(1)).await;
    /// assert!(metrics.worker_park_count(0) > before);
    /// # }).unwrap();
    /// ```
    pub fn worker_park_count(&self, worker: usize) -> u64 {
        self.worker(worker).parks
    }

    /// How often a core went to sleep and how often it woke, together: an odd number means that it sleeps.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.worker_park_unpark_count(0) % 2, 0); // it runs this
    /// # }).unwrap();
    /// ```
    pub fn worker_park_unpark_count(&self, worker: usize) -> u64 {
        let parks = self.worker(worker).parks;
        parks + self.machine.cores[worker].figures.unparks()
    }

    /// Zero: there is no global queue.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.global_queue_depth(), 0);
    /// # }).unwrap();
    /// ```
    pub fn global_queue_depth(&self) -> usize {
        0
    }

    /// Tasks that wait in a core's run queue for their poll.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.worker_local_queue_depth(0), 0);
    /// multikernel::spawn_local(async {});
    /// assert_eq!(metrics.worker_local_queue_depth(0), 1);
    /// # }).unwrap();
    /// ```
    pub fn worker_local_queue_depth(&self, worker: usize) -> usize {
        self.worker(worker).queue_depth
    }

    /// How often a task has entered a core's run queue.
    ///
    /// # Panics
    /// If there is no such core.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// let before = metrics.worker_local_schedule_count(0);
    /// multikernel::spawn_local(async {});
    /// assert_eq!(metrics.worker_local_schedule_count(0), before + 1);
    /// # }).unwrap();
    /// ```
    pub fn worker_local_schedule_count(&self, worker: usize) -> u64 {
        self.worker(worker).wakes
    }

    /// Threads for blocking calls, those that are idle included.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.num_blocking_threads(), 0);
    /// multikernel::task::spawn_blocking(|| {}).await.unwrap();
    /// assert_eq!(metrics.num_blocking_threads(), 1);
    /// # }).unwrap();
    /// ```
    pub fn num_blocking_threads(&self) -> usize {
        self.machine.blocking.counts().0
    }

    /// Threads for blocking calls that have none to make.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.num_idle_blocking_threads(), 0);
    /// # }).unwrap();
    /// ```
    pub fn num_idle_blocking_threads(&self) -> usize {
        self.machine.blocking.counts().1
    }

    /// Blocking calls that wait for a thread.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metrics = multikernel::runtime::Handle::current().metrics();
    /// assert_eq!(metrics.blocking_queue_depth(), 0);
    /// # }).unwrap();
    /// ```
    pub fn blocking_queue_depth(&self) -> usize {
        self.machine.blocking.counts().2
    }
}

impl fmt::Debug for RuntimeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores: Vec<_> = self.cores().collect();
        f.debug_struct("RuntimeMetrics").field("cores", &cores).finish_non_exhaustive()
    }
}
