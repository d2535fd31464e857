//! A running Machine as its owner sees it.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};

use multikernel_channels::sync::Arc;

use crate::driver::{DriverInfo, is_forked_child};
use crate::executor;
use crate::machine::Machine;
use crate::machine::builder::Builder;
pub use crate::machine::handle::{EnterGuard, Handle, RuntimeFlavor, TryCurrentError};
use crate::machine::metrics::RuntimeMetrics;
use crate::task::JoinHandle;

/// A Machine whose cores all have threads of their own.
///
/// Dropping it ends it: every future is dropped on its core, and the threads are joined, however long their last
/// polls take, which panics on one of its own cores. [`shutdown_timeout`](Self::shutdown_timeout) waits no longer than it
/// is told, [`shutdown_background`](Self::shutdown_background) not at all.
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
}

impl Runtime {
    pub(crate) fn of(machine: Arc<Machine>, threads: Vec<Thread<()>>) -> Self {
        Self { handle: Handle { machine }, threads: Mutex::new(Some(threads)) }
    }

    /// One core for each available CPU, each on a thread of its own. As `Builder::new().build()`.
    ///
    /// # Errors
    /// As [`Builder::build`].
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::Runtime;
    ///
    /// let runtime = Runtime::new()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
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

    /// Runs a function that blocks on a thread kept for that. As [`Handle::spawn_blocking`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let read = runtime.spawn_blocking(|| std::fs::read_to_string("/proc/sys/kernel/ostype"));
    /// assert_eq!(runtime.block_on(read)??.trim(), "Linux");
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(f)
    }

    /// Makes the calling thread a guest: until the guard is dropped, `spawn` and the like work on it. As
    /// [`Handle::enter`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(1).build()?;
    /// let guard = runtime.enter();
    /// let task = multikernel::spawn(async { 6 * 7 });
    /// drop(guard);
    /// assert_eq!(runtime.block_on(task)?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
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

    /// What the cores have done so far. As [`Handle::metrics`].
    ///
    /// # Examples
    /// ```
    /// # let runtime = multikernel::runtime::Builder::new().cores(2).build()?;
    /// assert_eq!(runtime.metrics().num_workers(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
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

    /// Ends the runtime without waiting for it. The one way to end it from one of its own cores.
    ///
    /// Its threads end as soon as their polls do. As [`shutdown_timeout`](Self::shutdown_timeout) without patience.
    ///
    /// # Examples
    /// A task ends the runtime that it runs on:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(1).build()?;
    /// let handle = runtime.handle().clone();
    /// let last = handle.spawn(async move { runtime.shutdown_background() });
    /// # futures::executor::block_on(last)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_background(self) {
        self.end(Some(Duration::ZERO));
    }

    fn end(&self, patience: Option<Duration>) {
        let machine = &self.handle.machine;
        let threads = self.threads.lock().expect("never held across a panic").take();
        let Some(threads) = threads else { return };
        if is_forked_child() {
            return std::mem::forget(threads); // they are the parent's, which goes on
        }
        machine.stop();
        machine.blocking.close();
        let deadline = patience.map(|patience| Instant::now() + patience);
        if machine.wait_for_end(deadline) {
            // A program may drop the runtime where it is told of a stall: that thread does not wait for itself.
            let here = std::thread::current().id();
            for thread in threads.into_iter().filter(|thread| thread.thread().id() != here) {
                let _ = thread.join(); // it has aborted the process if it panicked
            }
        }
        machine.blocking.settle(deadline);
    }
}

impl Drop for Runtime {
    /// # Panics
    /// On a core of this runtime, which would wait for itself.
    fn drop(&mut self) {
        if self.threads.get_mut().is_ok_and(|threads| threads.is_none()) {
            return; // it has been shut down
        }
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
