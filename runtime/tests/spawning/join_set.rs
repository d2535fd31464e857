//! Tasks that are waited for together.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::channel::oneshot;
use futures::future::FutureExt;
use multikernel::runtime::Builder;
use multikernel::task::{JoinSet, yield_now};
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

use crate::common::{Alive, Wakes, give_up_after, until};

#[test]
fn outputs_come_in_the_order_in_which_the_tasks_end() {
    Builder::new_test()
        .run(|| async {
            let mut set = JoinSet::new();
            let ends: Vec<_> = (0..10)
                .map(|n| {
                    let (end, ended) = oneshot::channel::<()>();
                    set.spawn(async move {
                        let _ = ended.await;
                        n
                    });
                    end
                })
                .collect();
            for end in ends.into_iter().rev() {
                drop(end);
                yield_now().await;
            }
            let mut outputs = Vec::new();
            while let Some(output) = set.join_next().await {
                outputs.push(output.unwrap());
            }
            assert_eq!(outputs, (0..10).rev().collect::<Vec<_>>());
        })
        .unwrap();
}

#[test]
fn a_set_holds_tasks_of_many_cores_and_moves_between_them() {
    Builder::new_test()
        .cores(4)
        .run(|| async {
            let mut set = JoinSet::new();
            let mut expected = 0;
            for core in 0..4 {
                // Each core adds tasks of its own, and hands the set on.
                set = spawn_on(CoreId::new(core), move || async move {
                    for n in 0..100 {
                        set.spawn(async move {
                            yield_now().await;
                            core * 1000 + n
                        });
                    }
                    // Some are joined here, which leaves wakers of this core in the set.
                    set.join_next().now_or_never();
                    set
                })
                .await
                .unwrap();
                expected += (0..100).map(|n| core * 1000 + n).sum::<usize>();
            }
            let before = 400 - set.len();
            assert!(before <= 4, "{before} outputs were taken");
            let all = before;
            let mut sum = 0;
            let mut count = 0;
            while let Some(output) = set.join_next().await {
                sum += output.unwrap();
                count += 1;
            }
            assert_eq!(count + all, 400);
            assert!(sum <= expected && (all > 0 || sum == expected));
        })
        .unwrap();
}

#[test]
fn a_hundred_thousand_tasks_are_aborted_at_once_and_leave_nothing() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            const COUNT: usize = 100_000;
            let alive = Alive::default();
            let fill = |set: &mut JoinSet<()>| {
                for _ in 0..COUNT {
                    let one = alive.one();
                    set.spawn(async move {
                        let _one = one;
                        pending::<()>().await;
                    });
                }
            };
            // At home, awaited.
            let mut set = JoinSet::new();
            fill(&mut set);
            yield_now().await; // half of them have begun, or none: both are well
            set.abort_all();
            let mut cancelled = 0;
            while let Some(output) = set.join_next().await {
                cancelled += usize::from(output.unwrap_err().is_cancelled());
            }
            assert_eq!((cancelled, alive.count()), (COUNT, 0));
            // At home, dropped before any has begun.
            fill(&mut set);
            drop(set);
            until(|| alive.count() == 0).await;
            // From another core.
            let mut set = JoinSet::new();
            fill(&mut set);
            yield_now().await;
            let aborting = spawn_on(CoreId::new(1), move || async move {
                set.abort_all();
                set.shutdown().await;
                assert!(set.is_empty());
            });
            aborting.await.unwrap();
            assert_eq!(alive.count(), 0);
            // Dropped there.
            let mut set = JoinSet::new();
            fill(&mut set);
            spawn_on(CoreId::new(1), move || async move { drop(set) }).await.unwrap();
            until(|| alive.count() == 0).await;
        })
        .unwrap();
}

#[test]
fn detached_tasks_go_on() {
    Builder::new_test()
        .run(|| async {
            let alive = Alive::default();
            let mut set = JoinSet::new();
            let (end, ended) = oneshot::channel::<()>();
            let one = alive.one();
            set.spawn(async move {
                let _one = one;
                let _ = ended.await;
            });
            yield_now().await;
            set.detach_all();
            assert!(set.is_empty() && set.join_next().await.is_none());
            drop(set);
            yield_now().await;
            assert_eq!(alive.count(), 1);
            drop(end);
            until(|| alive.count() == 0).await;
        })
        .unwrap();
}

#[test]
fn errors_name_their_tasks() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let mut set = JoinSet::new();
            let panics = set.spawn(async { panic!("on purpose") });
            let waits = set.spawn(pending::<()>());
            let error = set.join_next_with_id().await.unwrap().unwrap_err();
            assert!(error.is_panic() && error.id() == panics.id());
            waits.abort();
            let error = set.join_next_with_id().await.unwrap().unwrap_err();
            assert!(error.is_cancelled() && error.id() == waits.id());
            assert_ne!(panics.id(), waits.id());
            let id = set.spawn(async {}).id();
            assert_eq!(set.join_next_with_id().await.unwrap().unwrap(), (id, ()));
        })
        .unwrap();
}

#[test]
fn joining_all_ends_with_the_first_panic() {
    let alive = Alive::default();
    let one = alive.one();
    let result = catch_unwind(AssertUnwindSafe(|| {
        Builder::new_test().run(|| async move {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("on purpose") });
            set.spawn(async move {
                let _one = one;
                pending::<()>().await;
            });
            set.join_all().await;
        })
    }));
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&"on purpose"));
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_task_that_is_added_after_a_poll_wakes_who_has_polled() {
    Builder::new_test()
        .run(|| async {
            let mut set = JoinSet::new();
            let first = set.spawn(pending::<u8>());
            // As servers do that are one poll function: look at the set, add to it, and wait.
            let mut added = false;
            let output = poll_fn(|cx| {
                let polled = set.poll_join_next(cx);
                if !added {
                    added = true;
                    set.spawn(async { 7 });
                }
                polled
            });
            assert_eq!(output.await.unwrap().unwrap(), 7);
            first.abort();
            assert!(set.join_next().await.unwrap().is_err());
        })
        .unwrap();
}

#[test]
fn looking_without_waiting_takes_nobodys_waker() {
    Builder::new_test()
        .run(|| async {
            let wakes = Arc::new(Wakes::default());
            let waker = Waker::from(wakes.clone());
            let mut set = JoinSet::new();
            let (end, ended) = oneshot::channel::<()>();
            set.spawn(async move { ended.await.is_err() });
            assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
            assert!(set.try_join_next().is_none());
            drop(end);
            until(|| wakes.count() > 0).await;
            assert!(set.try_join_next().unwrap().unwrap());
            assert!(set.try_join_next().is_none());
        })
        .unwrap();
}

#[test]
fn waits_that_are_given_up_lose_no_output() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            for waits in 1..4 {
                let mut set = JoinSet::new();
                for n in 0..50 {
                    set.spawn(async move {
                        for _ in 0..n % 5 {
                            yield_now().await;
                        }
                        n
                    });
                }
                let mut outputs = Vec::new();
                while !set.is_empty() {
                    if let Some(output) = give_up_after(waits, set.join_next()).await {
                        outputs.push(output.unwrap().unwrap());
                    }
                }
                outputs.sort_unstable();
                assert_eq!(outputs, (0..50).collect::<Vec<_>>());
                // And the others: shutting down goes on with what is left.
                set.spawn(pending());
                give_up_after(waits, set.shutdown()).await;
                set.shutdown().await;
                set.spawn(pending());
                assert!(give_up_after(waits, set.join_all()).await.is_none());
            }
        })
        .unwrap();
}

#[test]
fn joining_takes_budget_so_others_have_their_turn() {
    Builder::new_test()
        .run(|| async {
            let mut set = JoinSet::new();
            for _ in 0..1000 {
                set.spawn(async {});
            }
            yield_now().await;
            for _ in 0..20 {
                yield_now().await; // more than 128 polls fit in no turn
            }
            let joined = Rc::new(std::cell::Cell::new(0));
            let seen = joined.clone();
            let joining = spawn_local(async move {
                while set.join_next().await.is_some() {
                    joined.set(joined.get() + 1);
                }
            });
            yield_now().await;
            assert!((1..=128).contains(&seen.get()), "{} were joined in one turn", seen.get());
            joining.await.unwrap();
            assert_eq!(seen.get(), 1000);
        })
        .unwrap();
}

#[test]
fn a_runtime_may_end_with_sets_in_flight() {
    for cores in [1, 2] {
        let alive = Alive::default();
        let runtime = Builder::new_test().cores(cores).build().unwrap();
        let mut outside = JoinSet::new();
        for _ in 0..100 {
            let one = alive.one();
            let waits = async move {
                let _one = one;
                pending::<()>().await;
            };
            outside.spawn_on(waits, runtime.handle());
        }
        let (send, receive) = std::sync::mpsc::channel();
        let ones: Vec<_> = (0..100).map(|_| alive.one()).collect();
        runtime.spawn(async move {
            // The set is dropped while its core ends, in one task; in the other, its own tasks hold it up.
            let mut inside = JoinSet::new();
            ones.into_iter().for_each(|one| {
                inside.spawn(async move {
                    let _one = one;
                    pending::<()>().await;
                });
            });
            send.send(()).unwrap();
            inside.join_next().await;
        });
        receive.recv().unwrap();
        drop(runtime);
        assert_eq!(alive.count(), 0);
        let joined = futures::executor::block_on(async {
            let mut cancelled = 0;
            while let Some(output) = outside.join_next().await {
                cancelled += usize::from(output.unwrap_err().is_cancelled());
            }
            cancelled
        });
        assert_eq!(joined, 100);
    }
}

#[test]
fn tasks_that_are_not_send_and_calls_that_block_are_members_too() {
    Builder::new_test()
        .run(|| async {
            let mut set = JoinSet::new();
            let shared = Rc::new(3);
            set.spawn_local(async move { *shared });
            set.spawn_blocking(|| 4);
            set.spawn(async { 5 });
            let mut outputs = set.join_all().await;
            outputs.sort_unstable();
            assert_eq!(outputs, [3, 4, 5]);
            let pinned: Poll<_> = poll_fn(|cx| Poll::Ready(JoinSet::<u8>::new().poll_join_next(cx))).await;
            assert!(matches!(pinned, Poll::Ready(None)));
            spawn(async {}).await.unwrap();
        })
        .unwrap();
}
