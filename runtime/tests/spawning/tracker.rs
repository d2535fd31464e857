//! Waiting for the last of many tasks.

use std::future::pending;
use std::sync::Arc;

use futures::channel::oneshot;
use futures::future::FutureExt;
use multikernel::runtime::Builder;
use multikernel::task::{LocalSet, TaskTracker, yield_now};
use multikernel::{CoreId, spawn, spawn_balanced, spawn_on};

use crate::common::{Alive, Wakes, give_up_after, poll_for, until};

#[test]
fn it_waits_for_every_kind_of_task_on_every_core() {
    Builder::new_test()
        .cores(4)
        .run(|| async {
            let (tracker, alive) = (TaskTracker::new(), Alive::default());
            for n in 0..100 {
                let (own, one) = (tracker.clone(), alive.one());
                // Those who are spawned spawn others.
                drop(spawn_on(CoreId::new(n % 4), {
                    let token = tracker.token();
                    move || async move {
                        let _token = token;
                        own.spawn(async move {
                            yield_now().await;
                            drop(one);
                        });
                    }
                }));
            }
            let one = alive.one();
            tracker.spawn_blocking(move || drop(one));
            let one = alive.one();
            tracker.spawn_local(async move { drop(one) });
            let one = alive.one();
            tracker.spawn(async move {
                let _one = one;
                panic!("on purpose")
            });
            let one = alive.one();
            let aborted = tracker.spawn(async move {
                let _one = one;
                pending::<()>().await
            });
            aborted.abort();
            tracker.close();
            // Several wait, on several cores.
            let waits: Vec<_> = (0..8)
                .map(|_| {
                    let tracker = tracker.clone();
                    spawn_balanced(async move { tracker.wait().await })
                })
                .collect();
            tracker.wait().await;
            assert_eq!((tracker.len(), alive.count()), (0, 0));
            for wait in waits {
                wait.await.unwrap();
            }
        })
        .unwrap();
}

#[test]
fn it_ends_when_both_closed_and_empty_be_it_for_a_moment() {
    let tracker = TaskTracker::new();
    let wakes = Arc::new(Wakes::default());
    let mut wait = tracker.wait();
    assert!(poll_for(&mut wait, &wakes).is_pending(), "it is empty, and open");
    let token = tracker.token();
    assert!(tracker.close() && !tracker.close());
    assert!(poll_for(&mut wait, &wakes).is_pending(), "it is closed, and has a task");
    assert_eq!(wakes.count(), 0);
    let other = token.clone();
    drop(token);
    assert_eq!(wakes.count(), 0);
    drop(other);
    assert_eq!(wakes.count(), 1);
    assert!(tracker.reopen() && !tracker.reopen());
    let _another = tracker.token();
    assert!(poll_for(&mut wait, &wakes).is_ready(), "it has ended, though it is in use again");
    let mut later = tracker.wait();
    assert!(poll_for(&mut later, &wakes).is_pending());
}

#[test]
fn waits_that_are_given_up_leave_nothing_behind() {
    Builder::new_test()
        .run(|| async {
            for waits in 1..4 {
                let tracker = TaskTracker::new();
                let (end, ended) = oneshot::channel::<()>();
                tracker.spawn(async move { ended.await.is_err() });
                tracker.close();
                let wakes = Arc::new(Wakes::default());
                for _ in 0..10 {
                    assert!(give_up_after(waits, tracker.wait()).await.is_none());
                    let mut wait = tracker.wait();
                    assert!(poll_for(&mut wait, &wakes).is_pending());
                }
                let mut kept = tracker.wait();
                assert!(poll_for(&mut kept, &wakes).is_pending());
                drop(end);
                tracker.wait().await;
                assert_eq!(wakes.count(), 1, "only who still waits is woken");
                assert!(tracker.wait().now_or_never().is_some());
            }
        })
        .unwrap();
}

#[test]
fn a_future_counts_until_it_is_dropped() {
    let tracker = TaskTracker::new();
    let future = tracker.track_future(pending::<()>());
    assert_eq!(tracker.len(), 1);
    drop(future);
    assert!(tracker.is_empty());
}

#[test]
fn sets_of_local_tasks_can_be_tracked() {
    Builder::new_test()
        .run(|| async {
            let (local, tracker) = (LocalSet::new(), TaskTracker::new());
            tracker.spawn_local_on(pending::<()>(), &local);
            tracker.close();
            assert!(give_up_after(3, local.run_until(tracker.wait())).await.is_none());
            drop(local);
            tracker.wait().await;
        })
        .unwrap();
}

/// `tokio_util`'s token needs no runtime: with our tracker it stops a server as it does on tokio.
#[test]
fn tokens_that_cancel_are_those_of_tokio_util() {
    use tokio_util::sync::CancellationToken;
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let (stop, tracker, alive) = (CancellationToken::new(), TaskTracker::new(), Alive::default());
            for n in 0..50 {
                let (stop, one) = (stop.child_token(), alive.one());
                let serve = async move {
                    let _one = one;
                    stop.run_until_cancelled(pending::<()>()).await.is_none()
                };
                let tracked = tracker.track_future(serve);
                drop(spawn_on(CoreId::new(n % 2), move || tracked));
            }
            let one = alive.one();
            let by_hand = stop.clone();
            let last = tracker.spawn(async move {
                let _one = one;
                by_hand.cancelled().await;
            });
            until(|| alive.count() == 51).await;
            tracker.close();
            spawn(async move { stop.cancel() });
            tracker.wait().await;
            assert_eq!(alive.count(), 0);
            last.await.unwrap();
        })
        .unwrap();
}
