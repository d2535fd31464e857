//! A core that is blocked on purpose.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;

use multikernel::channels::oneshot;
use multikernel::runtime::{Builder, Handle};
use multikernel::task::{JoinSet, LocalSet, block_in_place, pin_here, spawn_blocking, yield_now};
use multikernel::{CoreId, spawn, spawn_local, spawn_on};

use crate::common::Alive;

#[test]
fn tasks_that_have_not_begun_go_elsewhere() {
    Builder::new_test()
        .cores(3)
        .run(|| async {
            let here = CoreId::current();
            for _ in 0..20 {
                let (ran, runs) = mpsc::channel();
                let tasks: Vec<_> = (0..100)
                    .map(|n| {
                        let ran = ran.clone();
                        spawn(async move {
                            ran.send((n, CoreId::current())).unwrap();
                            yield_now().await;
                            n
                        })
                    })
                    .collect();
                // Without the others this would wait for ever: nobody polls them here meanwhile.
                let seen: Vec<_> = block_in_place(|| runs.iter().take(100).collect());
                assert!(seen.iter().all(|(_, core)| *core != here));
                assert_eq!(CoreId::current(), here);
                for (n, task) in tasks.into_iter().enumerate() {
                    assert_eq!(task.await.unwrap(), n);
                }
            }
        })
        .unwrap();
}

#[test]
fn what_must_stay_stays_and_keeps_its_order() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let here = CoreId::current();
            let order = Rc::new(std::cell::RefCell::new(Vec::new()));
            let begun = spawn(async move {
                yield_now().await;
                CoreId::current()
            });
            let pinned = spawn(async move {
                pin_here();
                yield_now().await;
                CoreId::current()
            });
            yield_now().await; // they are in the queue again
            let stays: Vec<_> = (0..10)
                .map(|n| {
                    let order = order.clone();
                    spawn_local(async move {
                        order.borrow_mut().push(n);
                        CoreId::current()
                    })
                })
                .collect();
            let named = spawn_on(here, || async { CoreId::current() });
            block_in_place(|| ());
            assert!(order.borrow().is_empty());
            assert_ne!(begun.await.unwrap(), here);
            assert_eq!(pinned.await.unwrap(), here);
            assert_eq!(named.await.unwrap(), here);
            for task in stays {
                assert_eq!(task.await.unwrap(), here);
            }
            assert_eq!(*order.borrow(), (0..10).collect::<Vec<_>>());
        })
        .unwrap();
}

#[test]
fn handles_of_what_was_sent_away_work_everywhere() {
    Builder::new_test()
        .cores(3)
        .run(|| async {
            for round in 0..50 {
                let alive = Alive::default();
                let mut set = JoinSet::new();
                let mut others = Vec::new();
                for n in 0..30 {
                    let one = alive.one();
                    let task = spawn(async move {
                        let _one = one;
                        for _ in 0..n % 3 {
                            yield_now().await;
                        }
                        n
                    });
                    match (n + round) % 5 {
                        // In use elsewhere while it is sent away.
                        0 => others.push(spawn_on(CoreId::new(1), move || async move { task.await.is_ok() })),
                        1 => others.push(spawn_on(CoreId::new(2), move || async move {
                            task.abort();
                            let _either = task.await;
                            true
                        })),
                        2 => drop(task),
                        3 => task.abort(),
                        _ => drop(set.spawn(task)),
                    }
                }
                block_in_place(|| ());
                while let Some(joined) = set.join_next().await {
                    joined.unwrap().unwrap();
                }
                for other in others {
                    assert!(other.await.unwrap());
                }
                crate::common::until(|| alive.count() == 0).await;
            }
        })
        .unwrap();
}

#[test]
fn what_was_written_before_is_on_its_way() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            // A message to a core that sleeps, whose doorbell would ring at the end of this poll.
            let (ask, asked) = oneshot::channel::<u8>();
            let (answer, answered) = mpsc::channel();
            let answering = spawn_on(CoreId::new(1), move || async move {
                answer.send(asked.await.unwrap() + 1).unwrap();
            });
            multikernel::time::sleep(std::time::Duration::from_millis(20)).await; // it sleeps by now
            ask.send(7).unwrap();
            assert_eq!(block_in_place(|| answered.recv()), Ok(8));
            // And a task that is spawned there.
            let (answer, answered) = mpsc::channel();
            let task = spawn_on(CoreId::new(1), move || async move { answer.send(9).unwrap() });
            assert_eq!(block_in_place(|| answered.recv()), Ok(9));
            answering.await.unwrap();
            task.await.unwrap();
        })
        .unwrap();
}

#[test]
fn it_just_runs_where_there_is_nobody_to_make_way_for() {
    assert_eq!(block_in_place(|| 7), 7);
    let with_one_core = || async {
        let ran = Rc::new(Cell::new(false));
        let seen = ran.clone();
        let waits = spawn_local(async move { seen.set(true) });
        let nested = block_in_place(|| block_in_place(|| ran.get()));
        assert!(!nested);
        waits.await.unwrap();
        let local = LocalSet::new();
        let task = local.spawn_local(async { block_in_place(|| spawn(async { 7 })).await.unwrap() });
        assert_eq!(local.run_until(task).await.unwrap(), 7);
    };
    Builder::new_test().run(with_one_core).unwrap();
    let runtime = Builder::new_test().build().unwrap();
    assert_eq!(runtime.block_on(async { block_in_place(|| 8) }), 8);
}

#[test]
fn a_panic_in_place_leaves_the_core_in_service() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let task = spawn_on(CoreId::new(1), || async { block_in_place(|| panic!("on purpose")) });
            assert!(task.await.unwrap_err().is_panic());
            // It is chosen again, sooner or later.
            let chosen = || multikernel::spawn_balanced(async { CoreId::current() });
            while chosen().await.unwrap() != CoreId::new(1) {}
        })
        .unwrap();
}

#[test]
fn a_call_that_blocks_is_a_guest() {
    fn read<F: Future>(handle: &Handle, future: F) -> F::Output {
        handle.block_on(future)
    }
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let call = spawn_blocking(|| {
                let task = spawn(async { 3 });
                let handle = Handle::current();
                read(&handle, async {
                    multikernel::time::sleep(std::time::Duration::from_millis(1)).await;
                    task.await.unwrap() + 4
                })
            });
            assert_eq!(call.await.unwrap(), 7);
        })
        .unwrap();
}
