//! What the tests of stalls share.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use multikernel::runtime::{Builder, Runtime, Stall};
use multikernel::task::JoinHandle;
use multikernel::{CoreId, spawn_on};

pub use crate::support::{DRIVERS, PATIENCE};

/// Short, so that the tests are. They hold with any.
pub const THRESHOLD: Duration = Duration::from_millis(20);

pub const CORE: CoreId = CoreId::new(1);

/// Spins until it is told to stop, or this is dropped.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_told(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Stops it, also when the test fails: a Machine waits for its cores when it is dropped.
pub struct StopOnDrop(pub Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What a stack is to name.
#[inline(never)]
pub fn spin_like_a_fool(stop: &Stop) {
    while !stop.is_told() {
        std::hint::spin_loop();
    }
}

/// Gives what the watcher tells.
pub fn telling() -> (impl Fn(Stall) + Send + Sync + 'static, Receiver<Stall>) {
    let (tell, told): (Sender<Stall>, _) = channel();
    let tell = Mutex::new(tell);
    (move |stall| drop(tell.lock().unwrap().send(stall)), told)
}

/// A Machine of two cores that are watched.
pub fn watched(builder: &mut Builder) -> (Runtime, Receiver<Stall>) {
    let (tell, told) = telling();
    let runtime = builder.cores(2).stall_threshold(Some(THRESHOLD)).on_stall(tell).build().unwrap();
    (runtime, told)
}

/// Has a core spin. Returns where that task was spawned.
#[track_caller]
pub fn make_spin(
    runtime: &Runtime,
    core: CoreId,
    stop: &Stop,
) -> (&'static Location<'static>, JoinHandle<()>) {
    let (_guard, stop) = (runtime.enter(), stop.clone());
    let task = spawn_on(core, move || async move { spin_like_a_fool(&stop) });
    (Location::caller(), task)
}

pub fn next(told: &Receiver<Stall>) -> Stall {
    told.recv_timeout(PATIENCE).expect("a stall is told of")
}

/// Lets the watchers of this process look many times: a Machine of its own gets stuck for this threshold.
pub fn pass_time(threshold: Duration) {
    let (tell, told) = telling();
    let runtime = Builder::new_test().stall_threshold(Some(threshold)).on_stall(tell).build().unwrap();
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    make_spin(&runtime, CoreId::new(0), &stop);
    next(&told);
    drop(_stop);
}

/// The numbers of a process's threads with that name, of at most 15 bytes.
pub fn threads_of(process: u32, name: &str) -> Vec<String> {
    let all = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let numbers = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Others come and go meanwhile.
    let comm = |number: &String| std::fs::read_to_string(format!("/proc/{process}/task/{number}/comm"));
    numbers.filter(|number| comm(number).is_ok_and(|comm| comm.trim_end() == name)).collect()
}

pub fn threads(name: &str) -> Vec<String> {
    threads_of(std::process::id(), name)
}

/// The thread with that name, which a thread gives itself after it has begun.
pub fn the_thread(process: u32, name: &str) -> String {
    let since = Instant::now();
    loop {
        match &threads_of(process, name)[..] {
            [thread] => return thread.clone(),
            found => assert!(since.elapsed() < PATIENCE, "there is one {name}: {found:?}"),
        }
    }
}

/// How often a thread has gone to sleep.
pub fn switches(process: u32, thread: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}
