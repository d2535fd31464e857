//! The builder by the names that tokio's users know.

use std::sync::Arc;
use std::time::Duration;

use crate::machine::builder::Builder;
use crate::machine::handle::RuntimeFlavor;

impl Builder {
    /// The same as [`new`](Self::new): a core for each CPU.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    /// assert_eq!(runtime.handle().cores().len(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_multi_thread() -> Self {
        Self::new()
    }

    /// One core. With [`run`](Self::run) that is the calling thread, and there is no other but those for
    /// blocking calls and the one that watches for [stalls](Self::stall_threshold).
    ///
    /// With [`build`](Self::build), unlike tokio, the core has a thread of its own, which runs what is spawned also
    /// while nobody is in [`block_on`](crate::runtime::Runtime::block_on); a future given to that is polled on the
    /// calling thread beside it. There, use [`LocalSet`](crate::task::LocalSet) for tasks that are not `Send`.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::Builder;
    ///
    /// let here = std::thread::current().id();
    /// let there = Builder::new_current_thread().enable_all().run(|| async {
    ///     multikernel::spawn(async { std::thread::current().id() }).await.unwrap()
    /// })?;
    /// assert_eq!(here, there);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_current_thread() -> Self {
        let mut builder = Self::new();
        builder.flavor(RuntimeFlavor::CurrentThread);
        builder
    }

    /// One core, or one for each CPU, whatever [`cores`](Self::cores) was told before.
    ///
    /// # Examples
    /// ```
    /// use multikernel::runtime::{Builder, RuntimeFlavor};
    ///
    /// let cores = Builder::new().flavor(RuntimeFlavor::CurrentThread).run(|| async { multikernel::cores().len() })?;
    /// assert_eq!(cores, 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn flavor(&mut self, flavor: RuntimeFlavor) -> &mut Self {
        self.flavor = flavor;
        self.cores = (flavor == RuntimeFlavor::CurrentThread).then_some(1);
        self
    }

    /// Another name of [`cores`](Self::cores): what tokio calls a worker thread is a core here.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let cores = Builder::new_multi_thread().worker_threads(3).run(|| async { multikernel::cores().len() })?;
    /// assert_eq!(cores, 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn worker_threads(&mut self, threads: usize) -> &mut Self {
        self.cores(threads)
    }

    /// Does nothing: a core always has a driver and timers.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_current_thread().enable_all().build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_all(&mut self) -> &mut Self {
        self
    }

    /// Does nothing: a core always has a driver.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_current_thread().enable_io().build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_io(&mut self) -> &mut Self {
        self
    }

    /// Does nothing: a core always has timers.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_current_thread().enable_time().build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_time(&mut self) -> &mut Self {
        self
    }

    /// The runtime's name, for [`Handle::name`](crate::runtime::Handle::name). The default is none.
    ///
    /// # Panics
    /// If there is nothing in it but white space.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(1).name("front").build()?;
    /// assert_eq!(runtime.handle().name(), Some("front"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        let name = name.into();
        assert!(!name.trim().is_empty(), "a runtime's name has letters");
        self.name = Some(name);
        self
    }

    /// Has `f` called for each thread's whole name, in place of [`thread_name`](Self::thread_name): once for each core, and
    /// once for each thread for blocking calls, when it is about to start. NUL bytes are left out. If `f` panics, the thread is
    /// called as it would be without it.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let next = AtomicUsize::new(1);
    /// let name = move || format!("worker {}", next.fetch_add(1, Ordering::Relaxed));
    /// let runtime = Builder::new().cores(1).thread_name_fn(name).build()?;
    /// let name = runtime.spawn(async { std::thread::current().name().map(str::to_owned) });
    /// assert_eq!(runtime.block_on(name)?.as_deref(), Some("worker 1"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_name_fn(&mut self, f: impl Fn() -> String + Send + Sync + 'static) -> &mut Self {
        self.hooks.name = Some(Arc::new(f));
        self
    }

    /// How long a thread for blocking calls waits for work before it ends. The default is ten seconds.
    ///
    /// # Examples
    /// A program that makes few such calls, and wants no idle threads:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new().cores(1).thread_keep_alive(Duration::from_millis(100)).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_keep_alive(&mut self, time: Duration) -> &mut Self {
        self.thread_keep_alive = time;
        self
    }

    /// The size of each core's stack, in bytes. The default is that of [`std::thread`], two MiB.
    ///
    /// Not for the thread that calls [`run`](Self::run), which has its stack already, nor for those for blocking calls.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new().cores(1).thread_stack_size(8 << 20).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_stack_size(&mut self, bytes: usize) -> &mut Self {
        self.thread_stack_size = Some(bytes);
        self
    }

    /// Has `f` called on each thread of the runtime before it does anything: on each core, the thread that calls
    /// [`run`](Self::run) included, and on each thread for blocking calls. A panic of `f` goes no further.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let threads = Arc::new(AtomicUsize::new(0));
    /// let count = threads.clone();
    /// let count = move || _ = count.fetch_add(1, Ordering::Relaxed);
    /// Builder::new().cores(2).on_thread_start(count).run(|| async {})?;
    /// assert_eq!(threads.load(Ordering::Relaxed), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_start(&mut self, f: impl Fn() + Send + Sync + 'static) -> &mut Self {
        self.hooks.start = Some(Arc::new(f));
        self
    }

    /// Has `f` called on each thread of the runtime when it ends, after all else. As
    /// [`on_thread_start`](Self::on_thread_start).
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let ended = Arc::new(AtomicUsize::new(0));
    /// let count = ended.clone();
    /// let count = move || _ = count.fetch_add(1, Ordering::Relaxed);
    /// Builder::new().cores(2).on_thread_stop(count).run(|| async {})?;
    /// assert_eq!(ended.load(Ordering::Relaxed), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_stop(&mut self, f: impl Fn() + Send + Sync + 'static) -> &mut Self {
        self.hooks.stop = Some(Arc::new(f));
        self
    }

    /// Has `f` called on each core when it has nothing to do and is about to sleep. What `f` spawns or sends keeps it awake. A
    /// panic of `f` goes no further.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static IDLE: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let count = || _ = IDLE.fetch_add(1, Ordering::Relaxed);
    /// Builder::new().cores(1).on_thread_park(count).run(|| async {
    ///     multikernel::time::sleep(std::time::Duration::from_millis(1)).await;
    /// })?;
    /// assert!(IDLE.load(Ordering::Relaxed) > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_park(&mut self, f: impl Fn() + Send + Sync + 'static) -> &mut Self {
        self.hooks.park = Some(Arc::new(f));
        self
    }

    /// Has `f` called on each core when it goes on after it was about to sleep, whether it has slept or not. As
    /// [`on_thread_park`](Self::on_thread_park).
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static SLEPT: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let count = || _ = SLEPT.fetch_add(1, Ordering::Relaxed);
    /// Builder::new().cores(1).on_thread_unpark(count).run(|| async {
    ///     multikernel::time::sleep(std::time::Duration::from_millis(1)).await;
    /// })?;
    /// assert!(SLEPT.load(Ordering::Relaxed) > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_unpark(&mut self, f: impl Fn() + Send + Sync + 'static) -> &mut Self {
        self.hooks.unpark = Some(Arc::new(f));
        self
    }

    /// Does nothing: a core looks at its inbox and for completions every few polls, and after each while polls are long.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_multi_thread().worker_threads(1).event_interval(61).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn event_interval(&mut self, _polls: u32) -> &mut Self {
        self
    }

    /// Does nothing: there is no global queue.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_multi_thread().worker_threads(1).global_queue_interval(31).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn global_queue_interval(&mut self, _polls: u32) -> &mut Self {
        self
    }

    /// Does nothing: a core takes all completions that are there.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_multi_thread().worker_threads(1).max_io_events_per_tick(1024).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn max_io_events_per_tick(&mut self, _events: usize) -> &mut Self {
        self
    }

    /// Does nothing, as [`max_io_events_per_tick`](Self::max_io_events_per_tick).
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// let runtime = Builder::new_multi_thread().worker_threads(1).max_io_events_per_busy_tick(8).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn max_io_events_per_busy_tick(&mut self, _events: usize) -> &mut Self {
        self
    }
}
