//! Tasks that are polled by whoever polls their set.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures::channel::oneshot;
use futures::future::FutureExt;
use multikernel::runtime::Builder;
use multikernel::task::{self, LocalSet, consume_budget, yield_now};
use multikernel::time::{Duration, sleep};
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

use crate::common::{Alive, Wakes, give_up_after, poll_for};

/// Runs the test in a task on a core, and on a thread that is none.
fn everywhere<F: Future<Output = ()> + 'static>(test: impl Fn() -> F) {
    Builder::new_test().cores(2).run(&test).unwrap();
    let runtime = Builder::new_test().cores(2).build().unwrap();
    runtime.block_on(test());
}

#[test]
fn tasks_run_only_while_their_set_is_polled() {
    everywhere(|| async {
        let local = LocalSet::new();
        let count = Rc::new(Cell::new(0));
        let counting = count.clone();
        let task = local.spawn_local(async move {
            loop {
                counting.set(counting.get() + 1);
                yield_now().await;
            }
        });
        for _ in 0..5 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(count.get(), 0);
        local.run_until(yield_now()).await;
        let before = count.get();
        assert!(before > 0);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(count.get(), before);
        task.abort();
        assert!(local.run_until(task).await.unwrap_err().is_cancelled());
    });
}

#[test]
fn what_is_spawned_inside_belongs_to_the_set() {
    everywhere(|| async {
        let local = LocalSet::new();
        let alive = Alive::default();
        let ones: Vec<_> = (0..100).map(|_| alive.one()).collect();
        local
            .run_until(async {
                // From the future and from a task; both kinds of handles work in both.
                let tasks: Vec<_> = ones
                    .into_iter()
                    .map(|one| {
                        spawn_local(async move {
                            let inner = spawn_local(async move {
                                let _one = one;
                                pending::<()>().await;
                            });
                            yield_now().await;
                            (inner,)
                        })
                    })
                    .collect();
                for task in tasks {
                    assert!(!task.await.unwrap().0.is_finished());
                }
            })
            .await;
        assert_eq!(alive.count(), 100);
        drop(local);
        assert_eq!(alive.count(), 0, "they go with the set, at once");
    });
}

#[test]
fn a_set_is_done_when_its_last_task_is() {
    everywhere(|| async {
        let local = LocalSet::new();
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..3 {
            let order = order.clone();
            local.spawn_local(async move {
                order.borrow_mut().push(n);
                sleep(Duration::from_millis(1)).await;
                let late = order.clone();
                spawn_local(async move { late.borrow_mut().push(10 + n) });
            });
        }
        local.await;
        let mut order = order.take();
        assert_eq!(order[..3], [0, 1, 2]);
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 10, 11, 12]);
        LocalSet::new().await;
    });
}

#[test]
fn wakes_aborts_and_joins_come_from_anywhere() {
    everywhere(|| async {
        let local = LocalSet::new();
        for _ in 0..20 {
            // Woken by another core, and by a plain thread.
            let (send, receive) = oneshot::channel();
            let task = local.spawn_local(receive);
            spawn(async move { send.send(7) });
            assert_eq!(local.run_until(task).await.unwrap(), Ok(7));
            let (send, receive) = oneshot::channel();
            let task = local.spawn_local(receive);
            local.run_until(yield_now()).await; // it waits, and the set rests
            std::thread::spawn(move || send.send(8)).join().unwrap().unwrap();
            assert_eq!(local.run_until(task).await.unwrap(), Ok(8));
            // Aborted by another core.
            let task = local.spawn_local(pending::<u8>());
            let abort = task.abort_handle();
            spawn_on(CoreId::new(1), move || async move { abort.abort() });
            assert!(local.run_until(task).await.unwrap_err().is_cancelled());
            // Joined by another core, while we run the set.
            let task = local.spawn_local(async {
                yield_now().await;
                9
            });
            let joining = spawn_on(CoreId::new(1), move || task);
            assert_eq!(local.run_until(joining).await.unwrap().unwrap(), 9);
        }
    });
}

#[test]
fn a_set_that_rests_wakes_its_poller_once_something_comes() {
    let local = LocalSet::new();
    let wakes = Arc::new(Wakes::default());
    let (send, receive) = oneshot::channel::<()>();
    let task = local.spawn_local(receive);
    {
        let mut until = Box::pin(local.run_until(task));
        assert!(poll_for(&mut until, &wakes).is_pending());
        assert_eq!(wakes.count(), 0, "nothing can run, and so nobody is woken");
        std::thread::spawn(move || send.send(())).join().unwrap().unwrap();
        assert_eq!(wakes.count(), 1);
        assert!(matches!(poll_for(&mut until, &wakes), Poll::Pending | Poll::Ready(Ok(Ok(())))));
    }
    // Spawning on a set that somebody waits for wakes too.
    let before = wakes.count();
    let mut until = Box::pin(local.run_until(pending::<()>()));
    assert!(poll_for(&mut until, &wakes).is_pending());
    let done = Rc::new(Cell::new(false));
    let seen = done.clone();
    local.spawn_local(async move { seen.set(true) });
    assert!(wakes.count() > before);
    assert!(poll_for(&mut until, &wakes).is_pending());
    assert!(done.get());
}

#[test]
fn many_tasks_take_turns_with_those_outside() {
    Builder::new_test()
        .run(|| async {
            let local = LocalSet::new();
            for _ in 0..1000 {
                local.spawn_local(async {
                    for _ in 0..300 {
                        consume_budget().await;
                    }
                });
            }
            let turns = Rc::new(Cell::new(0));
            let counted = turns.clone();
            let outside = spawn_local(async move {
                loop {
                    counted.set(counted.get() + 1);
                    yield_now().await;
                }
            });
            local.await;
            assert!(turns.get() >= 10, "{} turns", turns.get());
            outside.abort();
        })
        .unwrap();
}

#[test]
fn sets_nest_and_names_are_their_own() {
    everywhere(|| async {
        let outer = LocalSet::new();
        let names = outer
            .run_until(async {
                let around = task::try_id();
                let task = spawn_local(async {
                    let own = task::id();
                    let inner = LocalSet::new();
                    let innermost = inner.run_until(async {
                        let handle = spawn_local(async { task::id() });
                        (handle.id(), handle.await.unwrap(), task::id())
                    });
                    let (named, innermost, around) = innermost.await;
                    assert_eq!(named, innermost);
                    assert_eq!(around, own);
                    assert_eq!(task::id(), own);
                    own
                });
                let id = task.id();
                (around, task::try_id(), id, task.await.unwrap())
            })
            .await;
        assert_eq!(names.0, names.1);
        assert_eq!(names.2, names.3);
    });
}

#[test]
fn guards_may_go_in_any_order_and_outlive_the_set() {
    everywhere(|| async {
        let (one, other) = (LocalSet::new(), LocalSet::new());
        let (outer, inner) = (one.enter(), other.enter());
        drop(outer);
        drop(one);
        drop(inner);
        drop(other);
        // None of them is left behind.
        let is_core = CoreId::try_current().is_some();
        let spawn = std::panic::AssertUnwindSafe(|| spawn_local(async {}));
        assert_eq!(std::panic::catch_unwind(spawn).is_ok(), is_core);
        let local = LocalSet::new();
        let guard = local.enter();
        let task = spawn_local(async { 7 });
        assert_eq!(local.run_until(task).await.unwrap(), 7);
        drop(local);
        // The set is gone, and what is spawned on it is cancelled at once.
        let alive = Alive::default();
        let one = alive.one();
        let late = spawn_local(async move { drop(one) });
        assert_eq!(alive.count(), 0);
        assert!(late.await.unwrap_err().is_cancelled());
        drop(guard);
    });
}

#[test]
fn a_destructor_may_spawn_on_the_set_that_ends() {
    everywhere(|| async {
        struct SpawnOnDrop(Rc<RefCell<Option<task::JoinHandle<()>>>>);
        impl Drop for SpawnOnDrop {
            fn drop(&mut self) {
                *self.0.borrow_mut() = Some(spawn_local(pending()));
            }
        }
        let late = Rc::new(RefCell::new(None));
        let local = LocalSet::new();
        let spawner = SpawnOnDrop(late.clone());
        local.spawn_local(async move {
            let _spawner = spawner;
            pending::<()>().await;
        });
        local.run_until(yield_now()).await;
        drop(local);
        let late = late.take().unwrap();
        assert!(late.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn panics_end_their_tasks_alone() {
    everywhere(|| async {
        let local = LocalSet::new();
        let task = local.spawn_local(async { panic!("on purpose") });
        let other = local.spawn_local(async { 7 });
        assert!(local.run_until(task).await.unwrap_err().is_panic());
        assert_eq!(local.run_until(other).await.unwrap(), 7);
    });
}

#[test]
fn waits_that_are_given_up_leave_the_tasks_in_the_set() {
    everywhere(|| async {
        for waits in 1..4 {
            let local = LocalSet::new();
            let (send, receive) = oneshot::channel();
            let task = local.spawn_local(async move {
                yield_now().await;
                receive.await.unwrap()
            });
            assert!(give_up_after(waits, local.run_until(pending::<()>())).await.is_none());
            send.send(waits).unwrap();
            assert_eq!(local.run_until(task).await.unwrap(), waits);
            let alive = Alive::default();
            let one = alive.one();
            local.spawn_local(async move {
                let _one = one;
                pending::<()>().await;
            });
            assert!(give_up_after(waits, local).await.is_none());
            assert_eq!(alive.count(), 0, "given up, it was dropped");
        }
    });
}

#[test]
fn a_runtime_may_end_with_sets_in_flight() {
    let alive = Alive::default();
    let wakers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let runtime = Builder::new_test().cores(2).build().unwrap();
    for core in [0, 1] {
        let (begun, begins) = std::sync::mpsc::channel();
        let (one, wakers) = (alive.one(), wakers.clone());
        runtime.handle().spawn_on(CoreId::new(core), move || async move {
            let local = LocalSet::new();
            local.spawn_local(async move {
                let _one = one;
                poll_fn(|cx| {
                    wakers.lock().unwrap().push(cx.waker().clone());
                    begun.send(()).unwrap();
                    Poll::<()>::Pending
                })
                .await;
            });
            local.await;
        });
        begins.recv().unwrap();
    }
    drop(runtime);
    assert_eq!(alive.count(), 0);
    // Their wakers outlive both the sets and the Machine.
    for waker in wakers.lock().unwrap().drain(..) {
        waker.wake_by_ref();
        std::thread::spawn(move || drop(waker)).join().unwrap();
    }
}

#[test]
fn a_set_needs_no_runtime() {
    let local = LocalSet::new();
    let task = local.spawn_local(async { Rc::new(7) });
    let output = futures::executor::block_on(local.run_until(task));
    assert_eq!(*output.unwrap(), 7);
    let waiting: Pin<Box<dyn Future<Output = ()>>> = Box::pin(local.run_until(pending()));
    assert!(waiting.now_or_never().is_none());
}

#[test]
fn a_set_may_be_dropped_while_its_thread_ends() {
    thread_local!(static KEPT: RefCell<Option<LocalSet>> = const { RefCell::new(None) });
    let alive = Alive::default();
    let one = alive.one();
    let ending = std::thread::spawn(move || {
        KEPT.set(Some(LocalSet::new()));
        KEPT.with_borrow(|local| {
            let local = local.as_ref().unwrap();
            local.spawn_local(async move {
                let _one = one;
                pending::<()>().await;
            });
            drop(local.enter());
        });
    });
    ending.join().unwrap();
    assert_eq!(alive.count(), 0);
}
