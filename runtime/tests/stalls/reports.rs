//! What is told of a core that is stuck.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io::{PipeReader, Write};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use multikernel::channels::oneshot;
use multikernel::runtime::{Builder, Stack};
use multikernel::{CoreId, spawn_on};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::common::*;

/// Names need the feature; without it there are places in this very program.
#[track_caller]
fn assert_names(stack: &Stack, function: &str) {
    let text = stack.to_string();
    let expected = if cfg!(feature = "backtrace") { function } else { "/stalls-" };
    assert!(text.contains(expected), "{expected} is not in:{text}");
    let handler = ["machine::stack", "_Unwind"].iter().find(|part| text.contains(*part));
    assert_eq!(handler, None, "the handler is no part of the stack:{text}");
}

#[test]
fn a_task_that_spins_is_told_once_with_its_place_and_its_stack() {
    for (driver, _) in DRIVERS {
        let (runtime, told) = watched(Builder::new_test().driver(driver));
        let (first, second) = (Stop::default(), Stop::default());
        let _stop = [StopOnDrop(first.clone()), StopOnDrop(second.clone())];
        let (place, task) = make_spin(&runtime, CORE, &first);
        let stall = next(&told);
        assert_eq!((stall.core, stall.task), (CORE, Some(place)));
        assert!(stall.lasted >= THRESHOLD, "{stall:?}");
        assert!(stall.ran.is_none_or(|ran| ran >= THRESHOLD), "it computes: {stall:?}");
        assert_names(stall.stack.as_ref().expect("a thread that spins answers"), "spin_like_a_fool");
        // The watcher has looked often enough to find another.
        let (place, _) = make_spin(&runtime, CoreId::new(0), &second);
        let stall = next(&told);
        assert_eq!((stall.core, stall.task), (CoreId::new(0), Some(place)));
        first.stop();
        runtime.block_on(task).unwrap();
        // And the next is another stall.
        let third = Stop::default();
        let _stop_third = StopOnDrop(third.clone());
        make_spin(&runtime, CORE, &third);
        assert_eq!(next(&told).core, CORE);
        assert!(told.try_recv().is_err(), "each is told once");
    }
}

#[inline(never)]
fn wait_in_a_call_for_a_byte(pipe: &PipeReader) -> (isize, u8) {
    let mut byte = 0_u8;
    // SAFETY: one byte of ours. The call itself, for std's would be made again if it was interrupted.
    let read = unsafe { libc::read(pipe.as_raw_fd(), (&raw mut byte).cast(), 1) };
    (read, byte)
}

#[test]
fn a_task_that_waits_in_a_call_is_told_and_its_call_goes_on() {
    for (driver, _) in DRIVERS {
        let (runtime, told) = watched(Builder::new_test().driver(driver));
        let (input, mut output) = std::io::pipe().unwrap();
        let guard = runtime.enter();
        let task = spawn_on(CORE, move || async move { wait_in_a_call_for_a_byte(&input) });
        drop(guard);
        let stall = next(&told);
        assert_eq!(stall.core, CORE);
        assert!(stall.ran.is_none_or(|ran| ran < stall.lasted), "it waits: {stall:?}");
        assert_names(stall.stack.as_ref().expect("a call is interrupted"), "wait_in_a_call_for_a_byte");
        output.write_all(&[7]).unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), (1, 7));
    }
}

#[test]
fn a_thread_that_blocks_the_signal_is_told_without_its_stack() {
    let (runtime, told) = watched(&mut Builder::new_test());
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let guard = runtime.enter();
    let task = spawn_on(CORE, move || async move {
        // SAFETY: a set of ours, filled in before it is used; the mask is this thread's own.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGURG);
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
            spin_like_a_fool(&stop);
            assert_eq!(libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut()), 0);
        }
    });
    drop(guard);
    let stall = next(&told);
    assert_eq!(stall.core, CORE);
    assert!(stall.stack.is_none());
    // The signal comes late now, and harms nobody; the next one is answered.
    drop(_stop);
    runtime.block_on(task).unwrap();
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    make_spin(&runtime, CORE, &stop);
    assert_names(&next(&told).stack.expect("an answer"), "spin_like_a_fool");
}

#[test]
fn machines_of_one_process_are_told_apart() {
    let machines = [watched(&mut Builder::new_test()), watched(&mut Builder::new_test())];
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let places = machines.each_ref().map(|(runtime, _)| make_spin(runtime, CORE, &stop).0);
    for ((_, told), place) in machines.iter().zip(places) {
        let stall = next(told);
        assert_eq!((stall.core, stall.task), (CORE, Some(place)));
        assert_names(stall.stack.as_ref().expect("an answer"), "spin_like_a_fool");
    }
    let none = |(_, told): &(_, std::sync::mpsc::Receiver<_>)| told.try_recv().is_err();
    assert!(machines.iter().all(none));
}

#[test]
fn no_task_is_placed_on_a_core_while_it_is_stuck() {
    let (runtime, told) = watched(&mut Builder::new_test());
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let (_, spinning) = make_spin(&runtime, CORE, &stop);
    next(&told);
    let (senders, tasks): (Vec<_>, Vec<_>) = (0..10)
        .map(|_| {
            let (end, until) = oneshot::channel::<()>();
            let task = runtime.spawn(async move {
                let _ = until.await;
                CoreId::current()
            });
            (end, task)
        })
        .unzip();
    drop(senders);
    for task in tasks {
        assert_eq!(runtime.block_on(task).unwrap(), CoreId::new(0), "it would have had the fewer tasks");
    }
    drop(_stop);
    runtime.block_on(spinning).unwrap();
    // Until the watcher has seen that it is free.
    let ended = std::time::Instant::now();
    while runtime.block_on(runtime.spawn(async { CoreId::current() })).unwrap() != CORE {
        assert!(ended.elapsed() < PATIENCE, "nothing is placed there any more");
    }
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<HashMap<&'static str, String>>>>);

struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.is_event()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(HashMap::new());
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn the_log_has_a_warning_with_all_of_it() {
    let notes = Notes::default();
    tracing::subscriber::set_global_default(notes.clone()).unwrap(); // no other test of this program sets one
    let (runtime, told) = watched(&mut Builder::new_test());
    let stop = Stop::default();
    let _stop = StopOnDrop(stop.clone());
    let (place, _) = make_spin(&runtime, CORE, &stop);
    next(&told); // told after it was logged
    let notes = notes.0.lock().unwrap();
    let of_here = |fields: &&HashMap<_, String>| fields.get("task") == Some(&place.to_string());
    let found: Vec<_> = notes.iter().filter(of_here).collect();
    assert_eq!(found.len(), 1, "{notes:?}");
    assert_eq!(found[0]["core"], CORE.to_string());
    assert!(found[0].contains_key("lasted") && found[0]["message"].contains("stuck"), "{found:?}");
    assert!(!cfg!(feature = "backtrace") || found[0]["stack"].contains("spin_like_a_fool"), "{found:?}");
}
