//! A running Machine as everybody else sees it.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use multikernel_channels::sync::Arc;

use crate::context::{self, GuestGuard};
use crate::driver::DriverInfo;
use crate::executor;
use crate::machine::metrics::RuntimeMetrics;
use crate::machine::policy::Placement;
use crate::machine::spawn::{self, moves};
use crate::machine::{CoreId, Machine, NO_MACHINE, blocking, placement};
use crate::task::{self, JoinHandle};
use crate::time::guest;

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
    #[track_caller]
    pub fn current() -> Self {
        Self::try_current().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The handle of the Machine that the calling thread is a core or a guest of.
    ///
    /// # Errors
    /// On a thread that is neither.
    ///
    /// # Examples
    /// A library that spawns where it can, and does without elsewhere:
    /// ```
    /// use multikernel::runtime::Handle;
    ///
    /// fn refresh_in_background() -> bool {
    ///     let Ok(handle) = Handle::try_current() else { return false };
    ///     handle.spawn(async { /* .. */ });
    ///     true
    /// }
    /// assert!(!refresh_in_background());
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// assert!(refresh_in_background()); // on a core
    /// # }).unwrap();
    /// ```
    pub fn try_current() -> Result<Self, TryCurrentError> {
        let machine = executor::with(|core| core.map(|core| core.machine.clone()));
        let machine = machine.or_else(context::guest_machine).ok_or(TryCurrentError(()))?;
        Ok(Self { machine })
    }

    /// Spawns a task on this Machine: on the calling core if it is one of its cores, else where its
    /// [`placement`](crate::runtime::Builder::placement) says.
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
        self.spawn_at(future, Location::caller())
    }

    pub(crate) fn spawn_at<F>(&self, future: F, at: &'static Location<'static>) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        executor::with(|core| match core {
            Some(core) if Arc::ptr_eq(&core.machine, &self.machine) => {
                task::spawn_movable(&core.home, future, at)
            }
            _ => self.spawn_from_outside(None, future, at),
        })
    }

    /// From a thread that is no core of this Machine. As the Machine's placement says, if there is no other.
    pub(crate) fn spawn_from_outside<F>(
        &self,
        placement: Option<Placement>,
        future: F,
        at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let placement = placement.unwrap_or(self.machine.placement);
        let target = placement::from_outside(&self.machine, placement);
        task::spawn_elsewhere(target, future, at, moves(placement))
    }

    /// Sends a closure to a core of this Machine and runs the future that it makes there. As
    /// [`spawn_on`](crate::spawn_on).
    ///
    /// # Panics
    /// If the Machine has no such core.
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(2).build()?;
    /// use multikernel::CoreId;
    ///
    /// let task = runtime.handle().spawn_on(CoreId::new(1), || async { CoreId::current() });
    /// assert_eq!(runtime.block_on(task)?.index(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F, Fut>(&self, core: CoreId, make: F) -> JoinHandle<Fut::Output>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send + 'static,
    {
        spawn::on_machine(&self.machine, core, make, Location::caller())
    }

    /// Runs a function that blocks on a thread kept for that. As [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// # use multikernel::runtime::Handle;
    /// let lines = Handle::current().spawn_blocking(|| {
    ///     std::fs::read_to_string("/proc/self/status").map(|text| text.lines().count())
    /// });
    /// assert!(lines.await.unwrap().unwrap() > 10);
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let at = Location::caller();
        let (call, job) = blocking::prepare(f);
        let task = executor::with(|core| {
            let home = core.filter(|core| Arc::ptr_eq(&core.machine, &self.machine)).map(|core| &core.home);
            let target =
                home.map_or_else(|| placement::balanced_from_outside(&self.machine), |home| home.mailbox());
            task::spawn_call(home, target, call, at)
        });
        self.machine.blocking.submit(job.named(task.id()));
        task
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

    /// What tokio would call this Machine: [`RuntimeFlavor::CurrentThread`] if the builder was asked for that.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::{Builder, Handle, RuntimeFlavor};
    ///
    /// let flavor = Builder::new_current_thread().run(|| async { Handle::current().runtime_flavor() })?;
    /// assert_eq!(flavor, RuntimeFlavor::CurrentThread);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn runtime_flavor(&self) -> RuntimeFlavor {
        self.machine.flavor
    }

    /// What [`Builder::name`](crate::runtime::Builder::name) was told.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::{Builder, Handle};
    ///
    /// let name = Builder::new_test().name("front").run(|| async { Handle::current().name().map(str::to_owned) })?;
    /// assert_eq!(name.as_deref(), Some("front"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.machine.name.as_deref()
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
/// assert!(Handle::try_current().is_ok());
/// drop(guard);
/// assert!(Handle::try_current().is_err());
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

/// There is no [current](Handle::try_current) Machine.
///
/// # Examples
/// ```
/// use multikernel::runtime::{Handle, TryCurrentError};
///
/// let error: TryCurrentError = Handle::try_current().unwrap_err(); // a plain thread
/// assert!(error.is_missing_context());
/// println!("{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryCurrentError(());

impl TryCurrentError {
    /// The thread is neither a core nor a guest. There is no other reason.
    ///
    /// # Examples
    /// ```
    /// assert!(multikernel::runtime::Handle::try_current().unwrap_err().is_missing_context());
    /// ```
    pub fn is_missing_context(&self) -> bool {
        true
    }

    /// The thread is about to end. Never so here: such a thread is no core and no guest any more.
    ///
    /// # Examples
    /// ```
    /// assert!(!multikernel::runtime::Handle::try_current().unwrap_err().is_thread_local_destroyed());
    /// ```
    pub fn is_thread_local_destroyed(&self) -> bool {
        false
    }
}

impl fmt::Display for TryCurrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NO_MACHINE)
    }
}

impl std::error::Error for TryCurrentError {}

/// Which of tokio's runtimes a Machine was asked to be like. See [`Builder::flavor`](crate::runtime::Builder::flavor).
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, RuntimeFlavor};
///
/// let runtime = Builder::new().cores(1).build()?;
/// assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread); // if with one thread
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    /// One core.
    CurrentThread,
    /// As many cores as there are CPUs, or as it was told.
    MultiThread,
}
