//! Spawning, waiting, aborting and panicking, on one core and across cores.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

#[test]
fn a_task_runs_and_gives_its_output() {
    let output = Builder::new_test().run(|| async { spawn(async { 41 }).await.unwrap() + 1 });
    assert_eq!(output.unwrap(), 42);
}

#[test]
fn many_tasks_on_many_cores() {
    let sum = Builder::new().cores(4).run(|| async {
        let tasks: Vec<_> = (0..1000)
            .map(|n| {
                spawn_on(CoreId::new(n % 4), move || async move {
                    assert_eq!(CoreId::current().index(), n % 4);
                    yield_now().await;
                    spawn(async move { n }).await.unwrap()
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum.unwrap(), 499_500);
}

#[test]
fn an_abort_drops_the_future_on_its_core() {
    struct OnDrop(Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(CoreId::current().index() + 100, Ordering::Relaxed);
        }
    }
    Builder::new()
        .cores(2)
        .run(|| async {
            let seen = Arc::new(AtomicUsize::new(0));
            let on_drop = OnDrop(seen.clone());
            let task = spawn_on(CoreId::new(1), move || async move {
                let _on_drop = on_drop;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(seen.load(Ordering::Relaxed), 101);
        })
        .unwrap();
}

#[test]
fn a_panic_ends_its_task_alone() {
    Builder::new()
        .cores(2)
        .run(|| async {
            for core in [0, 1] {
                let error = spawn_on(CoreId::new(core), || async { panic!("on purpose") }).await.unwrap_err();
                assert!(error.is_panic());
                assert_eq!(error.to_string(), format!("task {} panicked: on purpose", error.id()));
            }
            assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
        })
        .unwrap();
}

#[test]
fn a_panic_of_main_goes_on_in_the_caller() {
    let caught = std::panic::catch_unwind(|| Builder::new_test().run(|| async { panic!("of main") }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of main");
}

#[test]
fn a_panic_before_there_is_a_main_goes_on_in_the_caller() {
    async fn never() {}
    let caught = std::panic::catch_unwind(|| {
        Builder::new().cores(2).run(|| {
            let make: fn() -> _ = || never();
            assert!(std::thread::panicking(), "no main");
            make()
        })
    });
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "no main");
    // The thread is no core any more, and may be one again.
    assert!(CoreId::try_current().is_none());
    assert_eq!(Builder::new_test().run(|| async { CoreId::current().index() }).unwrap(), 0);
}

#[test]
fn a_main_may_end_with_its_budget_used_up() {
    // A task joins so many others that its next join would have to wait for its next poll.
    async fn join_many() {
        let tasks: Vec<_> = (0..128).map(|_| spawn(async {})).collect();
        // Long polls, and another task before each of them: a turn ends with such a poll, and so does the last one.
        spawn(async {
            loop {
                yield_now().await;
            }
        });
        for _ in 0..64 {
            yield_now().await;
            std::thread::sleep(Duration::from_millis(1));
        }
        for task in tasks {
            task.await.unwrap();
        }
    }
    Builder::new_test().run(join_many).unwrap();
    // Nor does the thread, a core no longer, run out of budget.
    let runtime = Builder::new_test().build().unwrap();
    for n in 0..300 {
        assert_eq!(runtime.block_on(runtime.spawn(async move { n })).unwrap(), n);
    }
}

#[test]
fn a_handle_may_come_to_a_core_before_its_task() {
    Builder::new_test()
        .run(|| async {
            let handle = multikernel::runtime::Handle::current();
            let spawn_from_elsewhere = || {
                let handle = handle.clone();
                std::thread::spawn(move || handle.spawn(std::future::ready(1))).join().unwrap()
            };
            drop(spawn_from_elsewhere());
            let aborted = spawn_from_elsewhere();
            aborted.abort();
            assert!(aborted.await.unwrap_err().is_cancelled());
            assert_eq!(spawn_from_elsewhere().await.unwrap(), 1);
        })
        .unwrap();
}

#[test]
fn local_tasks_share_what_is_not_send() {
    let count = Builder::new_test().run(|| async {
        let count = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let count = count.clone();
                spawn_local(async move { count.set(count.get() + 1) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        count.get()
    });
    assert_eq!(count.unwrap(), 10);
}

#[test]
fn tasks_left_at_the_end_are_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    struct OnDrop(Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let counter = dropped.clone();
    Builder::new()
        .cores(4)
        .run(move || async move {
            for n in 0..100 {
                let on_drop = OnDrop(counter.clone());
                spawn_on(CoreId::new(n % 4), move || async move {
                    let _on_drop = on_drop;
                    std::future::pending::<()>().await;
                });
            }
        })
        .unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 100);
}

#[test]
fn a_runtime_is_used_from_other_threads() {
    let runtime = Builder::new().cores(2).build().unwrap();
    let handle = runtime.handle().clone();
    let sum: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let handle = handle.clone();
                scope.spawn(move || handle.block_on(async move { spawn(async move { n }).await.unwrap() }))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sum, 6);
    drop(runtime);
    let late = handle.spawn(async { 1 });
    assert!(futures::executor::block_on(late).unwrap_err().is_cancelled());
}

#[test]
fn thirty_two_runtimes_at_once() {
    let runtimes: Vec<_> = (0..32).map(|_| Builder::new_test().cores(2).build().unwrap()).collect();
    let tasks: Vec<_> = runtimes
        .iter()
        .enumerate()
        .map(|(n, runtime)| {
            runtime.spawn(async move {
                multikernel::time::sleep(Duration::from_millis(1)).await;
                n
            })
        })
        .collect();
    let sum: usize = tasks.into_iter().map(|task| runtimes[0].block_on(task).unwrap()).sum();
    assert_eq!(sum, 496);
}

#[test]
fn a_stuck_core_does_not_hold_up_a_bounded_shutdown() {
    let runtime = Builder::new_test().build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (started, start) = std::sync::mpsc::channel::<()>();
    runtime.spawn(async move {
        started.send(()).unwrap();
        let _ = held.recv();
    });
    start.recv().unwrap();
    runtime.shutdown_timeout(Duration::from_millis(20));
    drop(release);
}

#[test]
fn a_waker_may_outlive_its_runtime() {
    let (send, receive) = std::sync::mpsc::channel();
    Builder::new()
        .cores(2)
        .run(move || async move {
            for core in [0, 1] {
                let send = send.clone();
                spawn_on(CoreId::new(core), move || {
                    std::future::poll_fn(move |cx| {
                        send.send(cx.waker().clone()).unwrap();
                        std::task::Poll::<()>::Pending
                    })
                });
            }
            yield_now().await;
            multikernel::time::sleep(Duration::from_millis(5)).await;
        })
        .unwrap();
    let wakers: Vec<_> = receive.iter().collect();
    assert_eq!(wakers.len(), 2);
    for waker in wakers {
        waker.wake_by_ref();
        let other = waker.clone();
        std::thread::spawn(move || other.wake()).join().unwrap();
        drop(waker);
    }
}

#[test]
fn block_on_sleeps_through_a_delegate() {
    let runtime = Builder::new_test().build().unwrap();
    let before = std::time::Instant::now();
    runtime.block_on(multikernel::time::sleep(Duration::from_millis(10)));
    assert!(before.elapsed() >= Duration::from_millis(10));
}

#[test]
fn who_blocks_on_a_runtime_that_ends_is_told() {
    use multikernel::net::TcpListener;
    for sleeps in [true, false] {
        let runtime = Builder::new_test().build().unwrap();
        let handle = runtime.handle().clone();
        let (waiting, begun) = std::sync::mpsc::channel();
        let guest = std::thread::spawn(move || {
            handle.block_on(async {
                let mut future: std::pin::Pin<Box<dyn Future<Output = bool>>> = if sleeps {
                    Box::pin(async {
                        multikernel::time::sleep(Duration::from_secs(3600)).await;
                        true
                    })
                } else {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    Box::pin(async move { listener.accept().await.is_ok() })
                };
                std::future::poll_fn(move |cx| {
                    let polled = future.as_mut().poll(cx);
                    waiting.send(()).unwrap();
                    polled
                })
                .await
            })
        });
        begun.recv().unwrap();
        drop(runtime);
        assert!(!guest.join().is_ok_and(|succeeded| succeeded), "sleeps: {sleeps}");
    }
}
