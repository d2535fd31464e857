//! A running Machine as its owner sees it.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Mutex;
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};

use multikernel_channels::sync::Arc;

use crate::context::{self, GuestGuard};
use crate::driver::DriverInfo;
use crate::executor;
use crate::machine::metrics::RuntimeMetrics;
use crate::machine::{CoreId, Machine, pinning, placement};
use crate::task::{self, JoinHandle};
use crate::time::guest;

/// A Machine whose cores all have threads of their own.
///
/// Dropping it ends it: every future is dropped on its core, and the threads are joined, however long their last
/// polls take; [`shutdown_timeout`](Self::shutdown_timeout) waits no longer than it is told. Both panic on one of its
/// own cores, which would wait for itself.
///
/// # Examples
/// ```
/// use multikernel::runtime::Builder;
///
/// let runtime = Builder::new().cores(2).build()?;
/// let answer = runtime.block_on(async {
///     multikernel::spawn_on(multikernel::CoreId::new(1), || async { multikernel::CoreId::current() }).await
/// });
/// assert_eq!(answer.unwrap().index(), 1);
/// # std::io::Result::Ok(())
/// ```
pub struct Runtime {
    handle: Handle,
    /// `None` once the runtime was ended.
    threads: Mutex<Option<Vec<Thread<()>>>>,
    _pins: pinning::Plan<'static>,
}

impl Runtime {
    pub(crate) fn new(machine: Arc<Machine>, threads: Vec<Thread<()>>, pins: pinning::Plan<'static>) -> Self {
        Self { handle: Handle { machine }, threads: Mutex::new(Some(threads)), _pins: pins }
    }

    /// A handle for spawning from anywhere. Clone it to keep it.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let handle = runtime.handle().clone();
    /// let from_elsewhere = std::thread::spawn(move || handle.spawn(async { "hello" })).join().unwrap();
    /// assert_eq!(runtime.block_on(from_elsewhere)?, "hello");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Spawns a task on the core with the fewest. As [`Handle::spawn`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(2).build()?;
    /// let task = runtime.spawn(async { multikernel::CoreId::current() });
    /// assert!(runtime.block_on(task)?.index() < 2);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a future on the calling thread until it completes. As [`Handle::block_on`].
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let local = 6; // borrowed: the future stays on this thread
    /// let product = runtime.block_on(async { &local * 7 });
    /// assert_eq!(product, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Which driver the cores use, and why.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let driver = runtime.driver();
    /// println!("{} ({})", driver.kind, driver.why); // "io_uring (io_uring is available)", for one
    /// # std::io::Result::Ok(())
    /// ```
    pub fn driver(&self) -> &DriverInfo {
        self.handle.driver()
    }

    /// Ends the runtime, waiting at most `patience` for cores that are inside a poll.
    ///
    /// Futures are dropped, not completed: let a server finish what it is at before. What a core holds that is still
    /// stuck after `patience` is left to it: its thread ends when its poll does. Blocking calls under way run on.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let served = runtime.spawn(std::future::pending::<()>());
    /// runtime.shutdown_timeout(Duration::from_secs(5));
    /// assert!(served.is_finished());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_timeout(self, patience: Duration) {
        self.end(Some(patience));
    }

    fn end(&self, patience: Option<Duration>) {
        let machine = &self.handle.machine;
        let threads = self.threads.lock().expect("never held across a panic").take();
        let Some(threads) = threads else { return };
        machine.stop();
        machine.blocking.close();
        let deadline = patience.map(|patience| Instant::now() + patience);
        if machine.wait_for_end(deadline) {
            for thread in threads {
                let _ = thread.join(); // it has aborted the process if it panicked
            }
        }
    }
}

impl Drop for Runtime {
    /// # Panics
    /// On a core of this runtime, which would wait for itself.
    fn drop(&mut self) {
        let own =
            executor::with(|core| core.is_some_and(|core| Arc::ptr_eq(&core.machine, &self.handle.machine)));
        if own {
            self.handle.machine.stop();
            if !std::thread::panicking() {
                panic!("a runtime cannot be dropped on one of its own cores: it would wait for itself");
            }
            return;
        }
        self.end(None);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runtime").field(&self.handle).finish()
    }
}

/// A reference to a running Machine, for spawning on it from any thread.
///
/// It does not keep the Machine running. When the Machine has ended, what is spawned with it is cancelled at once.
///
/// # Examples
/// ```
/// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
/// let handle = runtime.handle().clone();
/// drop(runtime);
/// let late = handle.spawn(async { "nobody runs this" });
/// # let is_cancelled = futures::executor::block_on(late).unwrap_err().is_cancelled();
/// # assert!(is_cancelled);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) machine: Arc<Machine>,
}

impl Handle {
    /// The handle of the Machine that the calling thread is a core or a guest of.
    ///
    /// # Panics
    /// On a thread that is neither; [`try_current`](Self::try_current) does not.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::runtime::Handle;
    ///
    /// let handle = Handle::current();
    /// let joined = std::thread::spawn(move || handle.block_on(async { 7 })).join();
    /// assert_eq!(joined.unwrap(), 7);
    /// # }).unwrap();
    /// ```
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|| panic!("{}", crate::machine::NO_MACHINE))
    }

    /// The handle of the Machine that the calling thread is a core or a guest of, if any.
    ///
    /// # Examples
    /// A library that spawns where it can, and does without elsewhere:
    /// ```
    /// use multikernel::runtime::Handle;
    ///
    /// fn refresh_in_background() -> bool {
    ///     let Some(handle) = Handle::try_current() else { return false };
    ///     handle.spawn(async { /* .. */ });
    ///     true
    /// }
    /// assert!(!refresh_in_background());
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// assert!(refresh_in_background()); // on a core
    /// # }).unwrap();
    /// ```
    pub fn try_current() -> Option<Self> {
        let machine = executor::with(|core| core.map(|core| core.machine.clone()));
        Some(Self { machine: machine.or_else(context::guest_machine)? })
    }

    /// Spawns a task on this Machine: on the calling core if it is one of its cores, else on the one with the fewest
    /// tasks.
    ///
    /// # Examples
    /// A thread that is no core hands over its work:
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// # use multikernel::runtime::Handle;
    /// let handle = Handle::current();
    /// let watcher = std::thread::spawn(move || {
    ///     // .. something has changed ..
    ///     handle.spawn(async { "reloaded" })
    /// });
    /// assert_eq!(watcher.join().unwrap().await.unwrap(), "reloaded");
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let at = Location::caller();
        executor::with(|core| match core {
            Some(core) if Arc::ptr_eq(&core.machine, &self.machine) => {
                task::spawn_at_home(&core.home, future, at, false)
            }
            _ => task::spawn_elsewhere(placement::balanced(&self.machine, 0), future, at, false),
        })
    }

    /// Runs a future on the calling thread until it completes. Its sockets and sleeps are registered with one of the
    /// cores; tasks it spawns run on the cores.
    ///
    /// # Panics
    /// On a core: it would keep its other tasks from running. If the future panics.
    ///
    /// # Examples
    /// ```
    /// use multikernel::time::{Duration, sleep};
    ///
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let handle = runtime.handle();
    /// handle.block_on(async {
    ///     sleep(Duration::from_millis(1)).await; // a core keeps the time
    ///     assert!(multikernel::CoreId::try_current().is_none()); // but this is no core
    /// });
    /// # std::io::Result::Ok(())
    /// ```
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        assert!(
            executor::with(|core| core.is_none()),
            "block_on would keep this core's other tasks from running: await the future instead"
        );
        let _guest = context::enter_as_guest(&self.machine);
        futures::executor::block_on(guest::as_guest(self.machine.clock.clone(), future))
    }

    /// Makes the calling thread a guest: until the guard is dropped, `spawn` and the like work on it.
    ///
    /// Guards are dropped in the reverse of their order.
    ///
    /// # Examples
    /// For code that spawns but has no handle:
    /// ```
    /// fn start_service() {
    ///     multikernel::spawn(async { /* .. */ });
    /// }
    ///
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let guard = runtime.handle().enter();
    /// start_service();
    /// drop(guard);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard { _guest: context::enter_as_guest(&self.machine), _handle: self }
    }

    /// Which driver the cores use, and why.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::runtime::Handle;
    ///
    /// println!("serving by {}", Handle::current().driver().kind);
    /// # }).unwrap();
    /// ```
    pub fn driver(&self) -> &DriverInfo {
        &self.machine.driver
    }

    /// What the cores have done so far.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::runtime::Handle;
    ///
    /// let metrics = Handle::current().metrics();
    /// assert_eq!((metrics.num_workers(), metrics.num_alive_tasks()), (1, 1)); // this one
    /// # }).unwrap();
    /// ```
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics::new(self.machine.clone())
    }

    /// The Machine's cores, from core 0 on.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(2).build()?;
    /// let indices: Vec<_> = runtime.handle().cores().map(|core| core.index()).collect();
    /// assert_eq!(indices, [0, 1]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cores(&self) -> impl ExactSizeIterator<Item = CoreId> + use<> {
        (0..self.machine.cores.len()).map(CoreId::new)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, driver, .. } = &*self.machine;
        f.debug_struct("Handle").field("cores", &cores.len()).field("driver", &driver.kind).finish()
    }
}

/// From [`Handle::enter`]: while it lives, its thread is a guest of the runtime.
///
/// # Examples
/// ```
/// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
/// use multikernel::runtime::{EnterGuard, Handle};
///
/// let guard: EnterGuard<'_> = runtime.handle().enter();
/// assert!(Handle::try_current().is_some());
/// drop(guard);
/// assert!(Handle::try_current().is_none());
/// # std::io::Result::Ok(())
/// ```
pub struct EnterGuard<'a> {
    _guest: GuestGuard,
    _handle: &'a Handle,
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnterGuard")
    }
}
