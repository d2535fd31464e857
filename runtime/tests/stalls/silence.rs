//! What is no stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use multikernel::runtime::{Builder, Polling};
use multikernel::task::{block_in_place, yield_now};
use multikernel::{CoreId, spawn_on};

use crate::common::*;

#[test]
fn many_short_polls_are_no_stall() {
    for (driver, _) in DRIVERS {
        // So that the other core does not park.
        let polling = Polling::For(Duration::from_millis(1));
        let (runtime, told) = watched(Builder::new_test().driver(driver).polling(polling));
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        let guard = runtime.enter();
        // One task that never waits, and two that wake each other: turns of many polls, and of one.
        let busy = {
            let stop = stop.clone();
            spawn_on(CORE, move || async move {
                while !stop.is_told() {
                    yield_now().await;
                }
            })
        };
        let (ping, pinged) = multikernel::channels::spsc::channel::<()>(1);
        let (pong, ponged) = multikernel::channels::spsc::channel::<()>(1);
        let players = [(CoreId::new(0), ping, ponged, true), (CORE, pong, pinged, false)].map(
            |(core, mut to, mut from, mut serves)| {
                let stop = stop.clone();
                spawn_on(core, move || async move {
                    while !stop.is_told() {
                        if !std::mem::take(&mut serves) && from.recv().await.is_none() {
                            return;
                        }
                        if to.send(()).await.is_err() {
                            return;
                        }
                    }
                })
            },
        );
        drop(guard);
        pass_time(5 * THRESHOLD);
        stop.stop();
        for task in [busy].into_iter().chain(players) {
            runtime.block_on(task).unwrap();
        }
        assert_eq!(told.try_iter().map(|stall| stall.core).collect::<Vec<_>>(), []);
    }
}

#[test]
fn a_call_that_blocks_on_purpose_is_no_stall() {
    let (runtime, told) = watched(&mut Builder::new_test());
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let (guard, within) = (runtime.enter(), stop.clone());
    let task = spawn_on(CORE, move || async move { block_in_place(|| spin_like_a_fool(&within)) });
    drop(guard);
    pass_time(5 * THRESHOLD);
    stop.stop();
    runtime.block_on(task).unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn while_all_cores_are_parked_the_watcher_sleeps_and_the_first_that_wakes_wakes_it() {
    for (driver, _) in DRIVERS {
        let (tell, told) = telling();
        let mut builder = Builder::new_test();
        builder.cores(16).driver(driver).thread_name("parked");
        let runtime = builder.stall_threshold(Some(THRESHOLD)).on_stall(tell).build().unwrap();
        let process = std::process::id();
        let watcher = the_thread(process, "parked-watch");
        let mut before = switches(process, &watcher);
        let rests = (0..100).any(|_| {
            pass_time(5 * THRESHOLD); // in which it would look twenty times
            let now = switches(process, &watcher);
            std::mem::replace(&mut before, now) == now
        });
        assert!(rests, "it wakes again and again");
        assert!(told.try_recv().is_err());
        let stop = Stop::default();
        let _stop = StopOnDrop(stop.clone());
        make_spin(&runtime, CoreId::new(11), &stop);
        assert_eq!(next(&told).core, CoreId::new(11));
    }
}

#[test]
fn who_wants_no_watcher_has_no_thread() {
    let mut off = Builder::new_test();
    off.thread_name("off").stall_threshold(None);
    let told = Arc::new(AtomicBool::new(false));
    let tell = told.clone();
    let runtime = off.on_stall(move |_| tell.store(true, Ordering::Relaxed)).build().unwrap();
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let (_, task) = make_spin(&runtime, CoreId::new(0), &stop);
    pass_time(5 * THRESHOLD);
    assert_eq!(threads("off-watch"), [""; 0]);
    stop.stop();
    runtime.block_on(task).unwrap();
    assert!(!told.load(Ordering::Relaxed));
}
