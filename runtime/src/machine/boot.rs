//! Starting a Machine: its cores begin together or not at all.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use multikernel_channels::sync::{Arc, Ordering};

use crate::context::{self, Resources};
use crate::driver::{self, Reactor};
use crate::executor::{self, Core};
use crate::machine::blocking::{self, Blocking};
use crate::machine::builder::{Builder, Polling};
use crate::machine::mailbox::Mailbox;
use crate::machine::runtime::Runtime;
use crate::machine::{Machine, cpus, follow, pinning, registry, watch};
use crate::task;
use crate::time::clock::Clock;
use crate::time::{Instant, Timers};

/// Decides what the builder left open, and makes the parts that all cores share.
fn plan(builder: &Builder) -> io::Result<(Arc<Machine>, Option<JoinHandle<()>>)> {
    let driver = driver::select(builder.driver)?;
    let available = pinning::available();
    let default = || if builder.start_paused { 1 } else { available.count().min(crate::limits::CORES) };
    let cores = builder.cores.unwrap_or_else(default);
    let alone = !available.quota_binds() && available.cpus.len() > 2 && cores <= available.cpus.len();
    let polling = match builder.polling {
        Polling::Off => None,
        Polling::For(time) => Some(time),
        Polling::Auto => alone.then_some(crate::limits::POLLING),
    };
    let number = registry::new_uid().0;
    let mailboxes = (0..cores)
        .map(|index| Mailbox::new(registry::new_uid(), number, index as u32, executor::ring))
        .collect::<io::Result<Box<[_]>>>()?;
    let clock = Clock::new(&mailboxes);
    if builder.start_paused {
        clock.pause().map_err(|refusal| io::Error::new(io::ErrorKind::InvalidInput, refusal.text()))?;
    }
    mailboxes.iter().for_each(registry::enlist);
    let pins = pinning::plan(builder.pinning, cores, &available, pinning::order, &pinning::REGISTRY);
    let cpus = pins.pins().then(|| available.cpus.clone());
    let blocking = Blocking::new(blocking::Settings {
        limit: builder.max_blocking_threads,
        keep_alive: builder.thread_keep_alive,
        name: format!("{}-blocking", builder.thread_name),
        cpus,
        hooks: builder.hooks.clone(),
        clock: clock.clone(),
    });
    let machine = Machine::new(mailboxes, driver, polling, blocking, clock, pins, builder);
    let follows = builder.following && (2..=available.count()).contains(&cores);
    let follower = follows.then(|| follow::start(&machine, available, &builder.thread_name)).flatten();
    Ok((machine, follower))
}

/// On the core's own thread: opens its driver.
fn open(machine: &Arc<Machine>, index: usize) -> io::Result<Core> {
    if let Some(cpu) = machine.pins.cpu(index)
        && let Err(error) = pinning::pin_current_thread(cpu)
    {
        tracing::warn!(core = index, cpu, %error, "the core stays unpinned");
    }
    let mailbox = &machine.cores[index];
    mailbox.thread.store(cpus::this_thread(), Ordering::Relaxed); // a number, which nothing hangs on
    let reactor = Reactor::open(machine.driver.kind, &machine.driver_settings(), mailbox.doorbell.fd())?;
    mailbox.ring_fd.store(reactor.ring_fd().unwrap_or(-1), Ordering::Relaxed); // a hint, see `ring_through_driver`
    let mut timers = Timers::new(machine.clock.at(Instant::system()));
    if machine.clock.is_stopped() {
        timers.be_exact();
    }
    let (reactor, timers) = (RefCell::new(reactor), RefCell::new(timers));
    Ok(Core::new(machine.clone(), index, Resources { uid: mailbox.uid, reactor, timers }))
}

/// A core's thread, from its first line to its last.
fn core_thread(machine: Arc<Machine>, index: usize, ready: mpsc::Sender<io::Result<()>>) {
    let core = match open(&machine, index) {
        Ok(core) => core,
        Err(error) => {
            machine.stop();
            machine.report_quiet();
            machine.report_end(index);
            let _ = ready.send(Err(error)); // who waits for it has the other errors too
            return;
        }
    };
    let _ = ready.send(Ok(()));
    drop(ready);
    machine.hooks.started();
    let _ = core.enter(|| core.run(|| false)); // it has said so if it failed
    core.close();
    machine.hooks.stopping();
    machine.report_end(index);
}

/// Starts the threads of the cores `from..`, and waits until each has its driver.
fn start(machine: &Arc<Machine>, builder: &Builder, from: usize) -> io::Result<Vec<JoinHandle<()>>> {
    let (ready, started) = mpsc::channel();
    let mut threads = Vec::new();
    let mut failed = None;
    for index in from..machine.cores.len() {
        let (machine, ready) = (machine.clone(), ready.clone());
        let name = builder.hooks.thread_name(format!("{}-{index}", builder.thread_name));
        let mut thread = thread::Builder::new().name(name);
        if let Some(bytes) = builder.thread_stack_size {
            thread = thread.stack_size(bytes);
        }
        match thread.spawn(move || core_thread(machine, index, ready)) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(ready);
    let missing = from + threads.len()..machine.cores.len();
    failed = started.into_iter().filter_map(Result::err).fold(failed, |first, error| first.or(Some(error)));
    match failed {
        None => Ok(threads),
        Some(error) => {
            machine.stop();
            // Cores without a thread, and in `run` the caller's, will not report for themselves.
            (0..from).chain(missing).for_each(|index| {
                machine.report_quiet();
                machine.report_end(index);
            });
            for thread in threads {
                let _ = thread.join(); // it has aborted the process if it panicked
            }
            Err(error)
        }
    }
}

pub(crate) fn build(builder: &Builder) -> io::Result<Runtime> {
    let (machine, follower) = plan(builder)?;
    let mut threads = start(&machine, builder, 0)?;
    threads.extend(follower);
    threads.extend(watch::start(&machine, &builder.thread_name));
    Ok(Runtime::of(machine, threads))
}

/// Makes the calling thread the first core, on its CPU if it is to be pinned, until the first part of the result is dropped.
fn tie_and_open(machine: &Arc<Machine>) -> io::Result<(Option<pinning::KeepAffinity>, Core)> {
    let mask = machine.pins.cpu(0).map(|_| pinning::KeepAffinity::of_current_thread()).transpose()?;
    Ok((mask, open(machine, 0)?))
}

pub(crate) fn run<F, Fut>(builder: &Builder, main: F) -> io::Result<Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future + 'static,
    Fut::Output: 'static,
{
    assert!(
        executor::with(|core| core.is_none()),
        "cannot start a runtime and wait for it on a core of another"
    );
    let (machine, follower) = plan(builder)?;
    let (_mask, core) = match tie_and_open(&machine) {
        Ok(opened) => opened,
        Err(error) => {
            machine.cores.iter().for_each(|core| registry::strike(core.uid));
            machine.stop(); // for who follows
            return Err(error);
        }
    };
    let mut threads = start(&machine, builder, 1)?;
    threads.extend(follower);
    threads.extend(watch::start(&machine, &builder.thread_name));
    machine.hooks.started();
    core.keeps_main.set(true);
    let output = core.enter(|| {
        let main = catch_unwind(AssertUnwindSafe(main))?;
        let handle = task::spawn_at_home(&core.home, main, Location::caller());
        core.run(|| handle.is_finished());
        context::begin_poll(); // the last task polled may have left no budget
        let taken = pin!(handle).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(output) = taken else { unreachable!("it is finished, or the Machine has stopped") };
        output.map_err(|error| error.try_into_panic().expect("nobody can abort the main task"))
    });
    machine.stop();
    core.close();
    machine.hooks.stopping();
    machine.report_end(0);
    machine.blocking.close();
    for thread in threads {
        let _ = thread.join(); // it has aborted the process if it panicked
    }
    machine.blocking.settle(None);
    Ok(output.flatten().unwrap_or_else(|payload| resume_unwind(payload)))
}
