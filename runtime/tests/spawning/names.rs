//! The names of tasks, and the runtime by the names that tokio's users know.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use multikernel::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use multikernel::task::{self, Id};
use multikernel::{CoreId, spawn, spawn_balanced};

use crate::common::Alive;

#[test]
fn no_two_tasks_of_the_process_have_one_name() {
    let names = || async {
        let mut names = vec![task::id()];
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let task = spawn_balanced(async { task::id() });
                // Asked from outside and from inside, at the same time or one after the other.
                let outside = (n % 2 == 0).then(|| task.id());
                (outside, task)
            })
            .collect();
        for (outside, task) in tasks {
            let inside = task.await.unwrap();
            assert!(outside.is_none_or(|outside| outside == inside));
            names.push(inside);
        }
        names
    };
    let mut all: Vec<Id> = Vec::new();
    for _ in 0..3 {
        all.extend(Builder::new_test().cores(3).run(names).unwrap());
    }
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 3 * 201);
    assert!(task::try_id().is_none());
}

#[test]
fn a_name_is_there_while_a_task_is_polled_or_dropped_and_gone_afterwards() {
    struct NameOnDrop(std::sync::mpsc::Sender<Option<Id>>);
    impl Drop for NameOnDrop {
        fn drop(&mut self) {
            self.0.send(task::try_id()).unwrap();
        }
    }
    Builder::new_test()
        .run(|| async {
            let (send, receive) = std::sync::mpsc::channel();
            let on_drop = NameOnDrop(send.clone());
            let task = spawn(async move {
                let _on_drop = on_drop;
                pending::<()>().await;
            });
            let id = task.id();
            task::yield_now().await;
            task.abort();
            let error = task.await.unwrap_err();
            assert_eq!((receive.recv().unwrap(), error.id()), (Some(id), id));
            // The output goes in the middle of another task's poll.
            let on_drop = NameOnDrop(send);
            let task = spawn(async move { on_drop });
            task::yield_now().await;
            drop(task);
            assert_eq!(receive.recv().unwrap(), task::try_id());
        })
        .unwrap();
}

#[test]
fn the_builder_knows_tokios_names() {
    let runtime: Runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .enable_io()
        .enable_time()
        .event_interval(61)
        .global_queue_interval(31)
        .max_io_events_per_tick(1024)
        .thread_stack_size(1 << 20)
        .build()
        .unwrap();
    assert_eq!(runtime.handle().cores().len(), 2);
    assert_eq!(runtime.handle().runtime_flavor(), RuntimeFlavor::MultiThread);
    let guard = runtime.enter();
    assert!(Handle::try_current().is_ok());
    let task = spawn(async { Handle::current().cores().len() });
    drop(guard);
    let error = Handle::try_current().unwrap_err();
    assert!(error.is_missing_context() && !error.is_thread_local_destroyed());
    assert_eq!(runtime.block_on(task).unwrap(), 2);
    let there = runtime.handle().spawn_on(CoreId::new(1), || async { CoreId::current().index() });
    assert_eq!(runtime.block_on(there).unwrap(), 1);
}

/// As programs do whose settings come from a file: a statement for each, and none for what is not given.
fn built_from(threads: Option<usize>) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder
}

#[test]
fn the_builder_is_told_in_statements_and_builds_again() {
    let mut builder = built_from(Some(2));
    let started = Arc::new(AtomicUsize::new(0));
    let start = started.clone();
    builder.on_thread_start(move || _ = start.fetch_add(1, Ordering::SeqCst)).stall_threshold(None);
    let cores = |runtime: Runtime| runtime.block_on(async { multikernel::cores().len() });
    assert_eq!(cores(builder.build().unwrap()), 2);
    assert_eq!(cores(builder.build().unwrap()), 2, "built anew from what it was told");
    assert_eq!(started.load(Ordering::SeqCst), 4, "and with the hooks");
    assert_eq!(builder.cores(3).run(|| async { multikernel::cores().len() }).unwrap(), 3);
    assert_eq!(cores(built_from(None).cores(1).build().unwrap()), 1);
}

#[multikernel::test(flavor = "multi_thread", worker_threads = 3)]
async fn attributes_know_tokios_options() {
    assert_eq!(multikernel::cores().len(), 3);
    assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::MultiThread);
}

#[multikernel::test(flavor = "current_thread")]
async fn one_thread_is_one_core() {
    assert_eq!(multikernel::cores().len(), 1);
    assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
}

#[test]
fn hooks_run_on_every_thread_and_only_on_these() {
    let (started, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (start, stop) = (started.clone(), stopped.clone());
    let mut builder = Builder::new_test();
    builder
        .cores(3)
        .on_thread_start(move || {
            start.fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(move || {
            stop.fetch_add(1, Ordering::SeqCst);
        });
    let seen = started.clone();
    builder
        .run(move || async move { assert!(seen.load(Ordering::SeqCst) >= 1, "this core's came first") })
        .unwrap();
    assert_eq!((started.load(Ordering::SeqCst), stopped.load(Ordering::SeqCst)), (3, 3));
}

#[test]
fn a_runtime_may_be_ended_from_one_of_its_own_cores() {
    let alive = Alive::default();
    let one = alive.one();
    let runtime = Builder::new_test().cores(2).build().unwrap();
    let handle = runtime.handle().clone();
    let waits = handle.spawn(async move {
        let _one = one;
        pending::<()>().await;
    });
    let ends = handle.spawn(async move {
        runtime.shutdown_background();
        "and goes on to its next await"
    });
    assert!(futures::executor::block_on(ends).is_ok());
    assert!(futures::executor::block_on(waits).unwrap_err().is_cancelled());
    assert_eq!(alive.count(), 0);
    assert!(futures::executor::block_on(handle.spawn(async {})).unwrap_err().is_cancelled());
}
