//! Calls that block, on threads kept for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use futures::channel::oneshot;
use multikernel::runtime::{Builder, Handle};
use multikernel::task::{self, spawn_blocking, yield_now};
use multikernel::{CoreId, spawn, spawn_on};

use crate::common::{Alive, give_up_after, until, wait_until};

/// Keeps a thread of the pool busy until the sender is dropped; returns when it is.
async fn occupy() -> (mpsc::Sender<()>, task::JoinHandle<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (begun, begins) = oneshot::channel();
    let call = spawn_blocking(move || {
        begun.send(()).unwrap();
        let _ = held.recv();
    });
    begins.await.unwrap();
    (release, call)
}

#[test]
fn a_full_pool_makes_calls_wait_their_turn_and_refuses_none() {
    Builder::new_test()
        .max_blocking_threads(2)
        .run(|| async {
            let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let calls: Vec<_> = (0..500)
                .map(|n| {
                    let (running, most) = (running.clone(), most.clone());
                    spawn_blocking(move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        n
                    })
                })
                .collect();
            for (n, call) in calls.into_iter().enumerate() {
                assert_eq!(call.await.unwrap(), n);
            }
            assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        })
        .unwrap();
}

#[test]
fn calls_start_in_the_order_in_which_they_were_made() {
    Builder::new_test()
        .max_blocking_threads(1)
        .run(|| async {
            let (release, first) = occupy().await;
            let order = Arc::new(Mutex::new(Vec::new()));
            let calls: Vec<_> = (0..100)
                .map(|n| {
                    let order = order.clone();
                    spawn_blocking(move || order.lock().unwrap().push(n))
                })
                .collect();
            drop(release);
            first.await.unwrap();
            for call in calls {
                call.await.unwrap();
            }
            assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
        })
        .unwrap();
}

#[test]
fn a_call_can_be_taken_back_until_it_begins() {
    Builder::new_test()
        .cores(2)
        .max_blocking_threads(1)
        .run(|| async {
            let (release, first) = occupy().await;
            let ran = Arc::new(AtomicUsize::new(0));
            let count = |ran: &Arc<AtomicUsize>| {
                let ran = ran.clone();
                move || ran.fetch_add(1, Ordering::SeqCst)
            };
            // Waiting: taken back at once, though the pool is busy; from here and from elsewhere.
            let waiting = spawn_blocking(count(&ran));
            waiting.abort();
            assert!(waiting.await.unwrap_err().is_cancelled());
            let waiting = spawn_blocking(count(&ran));
            let abort = waiting.abort_handle();
            spawn_on(CoreId::new(1), move || async move { abort.abort() }).await.unwrap();
            assert!(waiting.await.unwrap_err().is_cancelled());
            // Begun: not at all.
            first.abort();
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(!first.is_finished());
            drop(release);
            first.await.expect("it has begun, and so it gives its result");
            spawn_blocking(|| ()).await.unwrap();
            assert_eq!(ran.load(Ordering::SeqCst), 0);
        })
        .unwrap();
}

#[test]
fn a_handle_that_is_dropped_lets_its_call_run() {
    Builder::new_test()
        .max_blocking_threads(1)
        .run(|| async {
            let (release, first) = occupy().await;
            let alive = Alive::default();
            let (done, is_done) = oneshot::channel();
            let one = alive.one();
            drop(first);
            drop(spawn_blocking(move || {
                drop(one);
                done.send(()).unwrap();
            }));
            yield_now().await;
            assert_eq!(alive.count(), 1);
            drop(release);
            is_done.await.unwrap();
            assert_eq!(alive.count(), 0);
        })
        .unwrap();
}

#[test]
fn results_panics_and_names_come_back_to_any_core() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let call = spawn_blocking(|| task::id());
            let id = call.id();
            let awaited = spawn_on(CoreId::new(1), move || async move { call.await.unwrap() });
            assert_eq!(awaited.await.unwrap(), id);
            let call = spawn_blocking(|| panic!("on purpose"));
            let id = call.id();
            let error = call.await.unwrap_err();
            assert!(error.is_panic() && error.id() == id);
            let call = spawn_blocking(|| 7);
            until(|| call.is_finished()).await;
            assert_eq!(call.await.unwrap(), 7);
            assert!(task::try_id().is_some());
        })
        .unwrap();
}

#[test]
fn waits_that_are_given_up_lose_no_result() {
    Builder::new_test()
        .run(|| async {
            for waits in 1..4 {
                let mut call = spawn_blocking(move || waits);
                let result = loop {
                    if let Some(result) = give_up_after(waits, &mut call).await {
                        break result;
                    }
                };
                assert_eq!(result.unwrap(), waits);
            }
        })
        .unwrap();
}

#[test]
fn a_saturated_pool_closes_and_what_has_not_begun_never_does() {
    for outside in [true, false] {
        let alive = Alive::default();
        let (release, held) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let ran = Arc::new(AtomicUsize::new(0));
        let fill = {
            let ones: Vec<_> = (0..1000).map(|_| alive.one()).collect();
            let ran = ran.clone();
            move |handle: &Handle| {
                let first = handle.spawn_blocking(move || {
                    begun.send(()).unwrap();
                    let _ = held.recv();
                });
                let rest = ones.into_iter().map(|one| {
                    let ran = ran.clone();
                    handle.spawn_blocking(move || {
                        let _one = one;
                        ran.fetch_add(1, Ordering::SeqCst);
                    })
                });
                (first, rest.collect::<Vec<_>>())
            }
        };
        let (first, rest) = if outside {
            let runtime = Builder::new_test().cores(2).max_blocking_threads(1).build().unwrap();
            let calls = fill(runtime.handle());
            begins.recv().unwrap();
            drop(runtime);
            calls
        } else {
            let body = move || async move {
                let calls = fill(&Handle::current());
                begins.recv().unwrap();
                calls
            };
            Builder::new_test().max_blocking_threads(1).run(body).unwrap()
        };
        // The call under way is left to itself; the closures of the others are gone with the pool.
        wait_until(|| alive.count() == 0);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        for call in rest {
            assert!(futures::executor::block_on(call).unwrap_err().is_cancelled());
        }
        assert!(futures::executor::block_on(first).unwrap_err().is_cancelled());
        drop(release);
    }
}

#[test]
fn threads_are_few_come_when_needed_and_go_when_idle() {
    let (started, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (start, stop) = (started.clone(), stopped.clone());
    let runtime = Builder::new_test()
        .max_blocking_threads(3)
        .thread_keep_alive(Duration::from_millis(1))
        .thread_name("few")
        .on_thread_start(move || {
            start.fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(move || {
            stop.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let name = || std::thread::current().name().map(str::to_owned);
    let named = runtime.block_on(runtime.spawn_blocking(name)).unwrap();
    assert_eq!(named.as_deref(), Some("few-blocking"));
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let held = held.clone();
            runtime.spawn_blocking(move || held.lock().unwrap().recv().is_ok())
        })
        .collect();
    drop(release);
    for call in calls {
        runtime.block_on(call).unwrap();
    }
    // All but the core, which has called too.
    wait_until(|| stopped.load(Ordering::SeqCst) + 1 == started.load(Ordering::SeqCst));
    assert_eq!(runtime.block_on(runtime.spawn_blocking(|| 7)).unwrap(), 7);
    drop(runtime);
    wait_until(|| stopped.load(Ordering::SeqCst) == started.load(Ordering::SeqCst));
}

#[test]
fn a_hook_that_panics_harms_nobody() {
    let mut builder = Builder::new_test();
    builder.on_thread_start(|| panic!("on purpose")).on_thread_stop(|| panic!("too"));
    let sum =
        builder.run(|| async { spawn_blocking(|| 3).await.unwrap() + spawn(async { 4 }).await.unwrap() });
    assert_eq!(sum.unwrap(), 7);
}
