//! Machines that end while a core is stuck, and watchers with them.

use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use multikernel::CoreId;
use multikernel::runtime::{Builder, Runtime};

use crate::common::*;

fn until_gone(name: &str) {
    let since = Instant::now();
    while !threads(name).is_empty() {
        assert!(since.elapsed() < PATIENCE, "{name} is left");
        std::thread::yield_now();
    }
}

#[test]
fn a_machine_that_ends_takes_its_watcher_along() {
    let (runtime, told) = watched(Builder::new_test().thread_name("ending"));
    drop(runtime);
    // The system's list of threads may be late to know.
    assert!(matches!(told.try_recv(), Err(TryRecvError::Disconnected)), "nobody is left who would tell");
    until_gone("ending-watch");
    let (tell, told) = telling();
    let mut builder = Builder::new_test();
    builder.thread_name("run").stall_threshold(Some(THRESHOLD)).on_stall(tell).run(|| async {}).unwrap();
    drop(builder);
    assert!(matches!(told.try_recv(), Err(TryRecvError::Disconnected)));
    until_gone("run-watch");
}

#[test]
fn a_core_that_is_stuck_is_watched_until_it_ends() {
    for (driver, _) in DRIVERS {
        let (runtime, told) = watched(Builder::new_test().driver(driver).thread_name("stuck"));
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let (place, task) = make_spin(&runtime, CORE, &stop);
        runtime.shutdown_timeout(Duration::from_millis(1));
        assert_eq!(next(&told).task, Some(place), "also after the Machine was told to end");
        stop.stop();
        until_gone("stuck-watch");
        drop(task);
        assert!(told.recv().is_err());
    }
}

#[test]
fn a_machine_may_be_ended_by_who_is_told() {
    let owned: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let (to_end, within, (done, is_done)) = (owned.clone(), stop.clone(), mpsc::channel());
    let end = move |_| {
        within.stop();
        drop(to_end.lock().unwrap().take());
        done.send(()).unwrap();
    };
    let mut builder = Builder::new_test();
    builder.thread_name("told").stall_threshold(Some(THRESHOLD)).on_stall(end);
    let runtime = owned.lock().unwrap().insert(builder.build().unwrap()).handle().clone();
    runtime.spawn(async move { spin_like_a_fool(&stop) });
    is_done.recv_timeout(PATIENCE).expect("it does not wait for itself");
    drop(runtime);
    until_gone("told-watch");
}

#[test]
fn a_callback_that_panics_is_called_again() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let mut builder = Builder::new_test();
    builder.stall_threshold(Some(THRESHOLD)).on_stall(move |_| {
        tell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).send(()).unwrap();
        panic!("on purpose");
    });
    let runtime = builder.build().unwrap();
    for _ in 0..2 {
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let (_, task) = make_spin(&runtime, CoreId::new(0), &stop);
        told.recv_timeout(PATIENCE).expect("it is called");
        stop.stop();
        runtime.block_on(task).unwrap();
    }
}
