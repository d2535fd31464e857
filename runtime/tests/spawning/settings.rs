//! What the builder is told of threads: their names, and whom to call when they sleep.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use multikernel::runtime::{Builder, Runtime};
use multikernel::task::{JoinSet, spawn_blocking, yield_now};
use multikernel::{CoreId, spawn, spawn_on};

use crate::support::{DRIVERS, PATIENCE};

fn name_of_this_thread() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

/// The names of two cores and of a thread for blocking calls.
fn names(runtime: &Runtime) -> [String; 3] {
    let names = runtime.block_on(async {
        let core = |core| spawn_on(CoreId::new(core), || async { name_of_this_thread() });
        [core(0).await, core(1).await, spawn_blocking(name_of_this_thread).await]
    });
    names.map(|name| name.unwrap().expect("all have names"))
}

#[test]
fn threads_are_called_as_a_function_says_and_the_last_that_was_told_counts() {
    let next = AtomicUsize::new(0);
    let mut builder = Builder::new_test();
    builder
        .cores(2)
        .thread_name("not so")
        .thread_name_fn(move || format!("mine{} {}", '\0', next.fetch_add(1, Ordering::Relaxed)));
    assert_eq!(names(&builder.build().unwrap()), ["mine 0", "mine 1", "mine 2"]);
    assert_eq!(names(&builder.build().unwrap()), ["mine 3", "mine 4", "mine 5"], "it goes on");
    let named = builder.thread_name("plain").build().unwrap();
    assert_eq!(names(&named), ["plain-0", "plain-1", "plain-blocking"]);
}

#[test]
fn a_function_for_names_that_panics_leaves_the_usual_ones() {
    let runtime = Builder::new_test().cores(2).thread_name_fn(|| panic!("on purpose")).build().unwrap();
    assert_eq!(names(&runtime), ["multikernel-0", "multikernel-1", "multikernel-blocking"]);
}

#[test]
fn a_function_for_names_may_use_the_runtime() {
    let runtime = Builder::new_test()
        .thread_name_fn(|| {
            // The pool is not locked meanwhile: this asks it, and has it call.
            if let Ok(here) = multikernel::runtime::Handle::try_current() {
                drop(spawn_blocking(|| ()));
                return format!("one of {}", here.metrics().num_blocking_threads());
            }
            "core".to_owned()
        })
        .max_blocking_threads(2)
        .build()
        .unwrap();
    let name = runtime.block_on(async { spawn_blocking(name_of_this_thread).await });
    assert!(name.unwrap().unwrap().starts_with("one of "));
}

#[test]
#[should_panic(expected = "a runtime's name has letters")]
fn a_name_is_not_empty() {
    Builder::new_test().name(" ");
}

#[test]
fn who_is_called_before_sleep_is_on_the_core_and_what_it_spawns_keeps_it_awake() {
    for (driver, _) in DRIVERS {
        let (ran, is_run) = mpsc::channel();
        let once = Mutex::new(Some(ran));
        let hook = move || {
            let ran = once.lock().unwrap().take().expect("once is enough: a panic goes no further");
            drop(spawn(async move { ran.send(CoreId::current()).unwrap() }));
        };
        let _runtime = Builder::new_test().driver(driver).on_thread_park(hook).build().unwrap();
        // Nobody wakes the core.
        assert_eq!(is_run.recv_timeout(PATIENCE), Ok(CoreId::new(0)));
    }
}

#[test]
fn who_is_called_after_sleep_is_on_the_core_and_what_it_spawns_is_run() {
    for (driver, _) in DRIVERS {
        let (ran, is_run) = mpsc::channel();
        let hook = move || {
            let ran = ran.clone();
            drop(spawn(async move { ran.send(CoreId::current()).unwrap() }));
            panic!("on purpose");
        };
        let runtime = Builder::new_test().driver(driver).on_thread_unpark(hook).build().unwrap();
        // Until it has slept, and was woken.
        let mut woken = Err(mpsc::RecvTimeoutError::Timeout);
        for _ in 0..PATIENCE.as_millis() {
            runtime.block_on(runtime.spawn(yield_now())).unwrap();
            woken = is_run.recv_timeout(Duration::from_millis(1));
            if woken.is_ok() {
                break;
            }
        }
        assert_eq!(woken, Ok(CoreId::new(0)));
    }
}

#[test]
fn what_is_sent_before_sleep_arrives() {
    for (driver, _) in DRIVERS {
        let (tx, mut rx) = multikernel::channels::mpsc::channel::<u8>(4);
        let once = Mutex::new(Some(tx));
        let runtime = Builder::new_test()
            .cores(2)
            .driver(driver)
            .on_thread_park(move || {
                if CoreId::current() == CoreId::new(1)
                    && let Some(tx) = once.lock().unwrap().take()
                {
                    tx.try_send(7).unwrap();
                }
            })
            .build()
            .unwrap();
        let received = runtime.handle().spawn_on(CoreId::new(0), move || async move { rx.recv().await });
        assert_eq!(runtime.block_on(received).unwrap(), Some(7));
    }
}

#[test]
fn a_set_of_tasks_is_extended() {
    let mut sum = Builder::new_test()
        .run(|| async {
            let mut set: JoinSet<u32> = (0..5).map(|n| async move { n }).collect();
            set.extend((5..10).map(|n| async move { n }));
            assert_eq!(set.len(), 10);
            set.join_all().await
        })
        .unwrap();
    sum.sort_unstable();
    assert_eq!(sum, Vec::from_iter(0..10));
}
