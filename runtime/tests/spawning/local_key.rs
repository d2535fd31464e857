//! Values that belong to tasks.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use multikernel::runtime::Builder;
use multikernel::task::yield_now;
use multikernel::{CoreId, spawn, spawn_on};

multikernel::task_local! {
    static NUMBER: u32;
    pub(crate) static NAME: String;
    static CELL: RefCell<Vec<u32>>;
}

#[test]
fn tasks_that_take_turns_keep_their_values() {
    Builder::new_test()
        .cores(2)
        .run(|| async {
            let tasks: Vec<_> = (0..100)
                .map(|n| {
                    let counting = async move {
                        for _ in 0..5 {
                            assert_eq!(NUMBER.get(), n);
                            yield_now().await;
                            NAME.scope(n.to_string(), async move {
                                yield_now().await;
                                assert_eq!(NAME.with(|name| name.parse()), Ok(n));
                                assert_eq!(NUMBER.get(), n);
                            })
                            .await;
                            assert!(NAME.try_get().is_err());
                        }
                    };
                    let core = CoreId::new(n as usize % 2);
                    spawn_on(core, move || NUMBER.scope(n, counting))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert!(NUMBER.try_get().is_err());
        })
        .unwrap();
}

#[test]
fn scopes_nest_and_end() {
    Builder::new_test()
        .run(|| async {
            NUMBER
                .scope(1, async {
                    NUMBER.scope(2, async { assert_eq!(NUMBER.get(), 2) }).await;
                    assert_eq!(NUMBER.get(), 1);
                    assert_eq!(NUMBER.sync_scope(3, || NUMBER.get()), 3);
                    assert_eq!(NUMBER.get(), 1);
                    assert!(
                        spawn(async { NUMBER.try_get() }).await.unwrap().is_err(),
                        "tasks do not inherit"
                    );
                })
                .await;
            assert!(NUMBER.try_get().is_err());
        })
        .unwrap();
}

#[test]
fn a_panic_puts_back_what_was_there() {
    NUMBER.sync_scope(1, || {
        let inner = catch_unwind(|| NUMBER.sync_scope(2, || panic!("on purpose")));
        assert!(inner.is_err());
        assert_eq!(NUMBER.get(), 1);
        let mut future = Box::pin(NUMBER.scope(3, async { panic!("on purpose") }));
        let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        assert!(catch_unwind(poll).is_err());
        assert_eq!(NUMBER.get(), 1);
        assert_eq!(future.as_mut().take_value(), Some(3), "the value is back in its future");
    });
    assert!(NUMBER.try_get().is_err());
}

struct Witness<'a>(&'a RefCell<Vec<Option<u32>>>);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().push(NUMBER.try_get().ok());
    }
}

#[test]
fn a_future_is_dropped_inside_its_scope() {
    let seen = RefCell::new(Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    // Never polled, given up half-way, and completed: then too before the next that its poll returns to.
    drop(NUMBER.scope(1, {
        let witness = Witness(&seen);
        async move {
            let _ = &witness;
        }
    }));
    let mut waiting = Box::pin(NUMBER.scope(2, async {
        let _witness = Witness(&seen);
        pending::<()>().await
    }));
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    drop(waiting);
    struct Ready<'a>(#[expect(dead_code, reason = "it is there to be dropped")] Witness<'a>);
    impl Future for Ready<'_> {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }
    let mut ready = Box::pin(NUMBER.scope(3, Ready(Witness(&seen))));
    assert!(ready.as_mut().poll(&mut cx).is_ready());
    assert_eq!(*seen.borrow(), [Some(1), Some(2), Some(3)]);
    drop(ready);
    assert_eq!(seen.borrow().len(), 3);
}

#[test]
fn an_aborted_task_is_dropped_inside_its_scope() {
    Builder::new_test()
        .run(|| async {
            struct Tell(std::sync::mpsc::Sender<Result<u32, multikernel::task::AccessError>>);
            impl Drop for Tell {
                fn drop(&mut self) {
                    self.0.send(NUMBER.try_get()).unwrap();
                }
            }
            let (send, receive) = std::sync::mpsc::channel();
            let tell = Tell(send);
            let task = spawn(NUMBER.scope(7, async move {
                let _tell = tell;
                pending::<()>().await;
            }));
            yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(receive.recv().unwrap(), Ok(7));
        })
        .unwrap();
}

#[test]
fn a_scope_is_not_entered_while_its_value_is_read() {
    NUMBER.sync_scope(1, || {
        NUMBER.with(|_| {
            let entered = catch_unwind(|| NUMBER.sync_scope(2, || ()));
            let message = *entered.unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("being read"), "{message}");
            assert_eq!(NUMBER.get(), 1, "reading again is well");
            drop(NUMBER.scope(3, async {})); // goes without its value, and without a panic
        });
        assert_eq!(NUMBER.get(), 1);
    });
}

#[test]
fn a_value_can_be_changed_inside_and_taken_afterwards() {
    let mut future = Box::pin(CELL.scope(RefCell::default(), async {
        for n in 0..3 {
            CELL.with(|cell| cell.borrow_mut().push(n));
            yield_now().await;
        }
    }));
    Builder::new_test()
        .run(move || async move {
            assert!(future.as_mut().take_value().is_some(), "before it is polled it can be taken too");
        })
        .unwrap();
    let mut future = Box::pin(CELL.scope(RefCell::default(), async {
        CELL.with(|cell| cell.borrow_mut().push(7));
    }));
    futures::executor::block_on(future.as_mut());
    assert_eq!(future.as_mut().take_value().unwrap().into_inner(), [7]);
    assert!(future.as_mut().take_value().is_none());
}
