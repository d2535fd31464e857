//! A task that always finds something to do lets the others run.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn, ready};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use multikernel::channels::{broadcast, mpsc, oneshot, spsc, watch};
use multikernel::net::{TcpListener, TcpStream};
use multikernel::runtime::{Builder, DriverChoice};
use multikernel::task::coop::{cooperative, has_budget_remaining, poll_proceed};
use multikernel::task::{consume_budget, unconstrained, yield_now};
use multikernel::time::{Instant, sleep_until, timeout_at};
use multikernel::{spawn, spawn_local};

/// Holds that `step`, over and over, comes to wait after at most 128 times, for nothing but its turn, and that another task
/// has one then. On a busy machine the turn may be over much earlier.
pub async fn assert_lets_others_run<F: Future>(what: &str, mut step: impl FnMut() -> F) {
    yield_now().await; // from here on with a full budget
    let others = Rc::new(Cell::new(false));
    let seen = others.clone();
    let other = spawn_local(async move { seen.set(true) });
    let mut steps = 0;
    let mut waiting = loop {
        let mut next = Box::pin(step());
        if poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await {
            break next;
        }
        steps += 1;
        assert!(steps <= 128, "{what} has gone on for {steps} steps");
    };
    assert!(!has_budget_remaining(), "{what} waits for something else after {steps} steps");
    waiting.as_mut().await;
    assert!(others.get(), "{what} has not let others run");
    other.await.unwrap();
}

fn run<F: Future + 'static>(test: impl FnOnce() -> F) {
    Builder::new_test().run(test).unwrap();
}

#[test]
fn our_channels_take_budget() {
    run(|| async {
        // Full before the first step, so that each step is one operation.
        let (mut send, receive) = spsc::channel(1024);
        (0..1024).for_each(|n| send.try_send(n).unwrap());
        let receive = Rc::new(RefCell::new(receive));
        assert_lets_others_run("spsc", || {
            let receive = receive.clone();
            poll_fn(move |cx| pin!(receive.borrow_mut().recv()).poll(cx))
        })
        .await;
        let (send, receive) = mpsc::channel(1024);
        for n in 0..1024 {
            send.send(n).await.unwrap();
        }
        let receive = Rc::new(RefCell::new(receive));
        assert_lets_others_run("mpsc", || {
            let receive = receive.clone();
            poll_fn(move |cx| pin!(receive.borrow_mut().recv()).poll(cx))
        })
        .await;
        assert_lets_others_run("oneshot", || {
            let (send, receive) = oneshot::channel();
            send.send(1_u8).unwrap();
            receive
        })
        .await;
    });
}

#[test]
fn watches_and_broadcasts_take_budget() {
    run(|| async {
        let (send, receive) = watch::channel(0_u32);
        let ends = Rc::new(RefCell::new((send, receive)));
        assert_lets_others_run("watch", || {
            let ends = ends.clone();
            ends.borrow_mut().0.send(7).unwrap();
            poll_fn(move |cx| pin!(ends.borrow_mut().1.changed()).poll(cx))
        })
        .await;
        let (send, receive) = broadcast::channel(16);
        let ends = Rc::new(RefCell::new((send, receive)));
        assert_lets_others_run("broadcast", || {
            let ends = ends.clone();
            ends.borrow_mut().0.send(7_u8).unwrap();
            poll_fn(move |cx| pin!(ends.borrow_mut().1.recv()).poll(cx).map(drop))
        })
        .await;
    });
}

#[test]
fn timers_and_join_handles_take_budget() {
    run(|| async {
        let past = Instant::now();
        assert_lets_others_run("sleep", || sleep_until(past)).await;
        assert_lets_others_run("timeout", || timeout_at(past, std::future::pending::<()>())).await;
        let done: Vec<_> = (0..200).map(|_| spawn(async {})).collect();
        for _ in 0..5 {
            yield_now().await;
        }
        let mut done = done.into_iter();
        assert_lets_others_run("join", || done.next().unwrap()).await;
    });
}

#[test]
fn sockets_take_budget() {
    for driver in [DriverChoice::Uring, DriverChoice::Epoll] {
        let test = || async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let near = TcpStream::connect(listener.local_addr()?).await?;
            let (far, _) = listener.accept().await?;
            let sent = vec![7; 1000];
            far.writable().await?;
            assert_eq!(far.try_write(&sent)?, 1000);
            near.readable().await?;
            near.writable().await?;
            assert_lets_others_run("readable", || near.readable()).await;
            assert_lets_others_run("peek", || async { near.peek(&mut [0]).await.unwrap() }).await;
            assert_lets_others_run("writable", || near.writable()).await;
            io::Result::Ok(())
        };
        Builder::new_test().driver(driver).run(test).unwrap().unwrap();
    }
}

#[test]
fn what_does_nothing_that_counts_can_take_part() {
    run(|| async {
        assert_lets_others_run("consume_budget", consume_budget).await;
        assert_lets_others_run("cooperative", || cooperative(ready(7))).await;
        // A step that has to wait costs nothing.
        yield_now().await;
        for _ in 0..1000 {
            poll_fn(|cx| {
                let unit = std::task::ready!(poll_proceed(cx));
                drop(unit);
                Poll::Ready(())
            })
            .await;
        }
        assert!(has_budget_remaining());
        while has_budget_remaining() {
            consume_budget().await;
        }
        assert!(!has_budget_remaining());
        yield_now().await;
        assert!(has_budget_remaining());
    });
}

#[test]
fn the_unconstrained_go_on_and_leave_the_budget_as_it_was() {
    run(|| async {
        yield_now().await;
        let others = Rc::new(Cell::new(false));
        let seen = others.clone();
        let other = spawn_local(async move { seen.set(true) });
        unconstrained(async {
            for _ in 0..10_000 {
                consume_budget().await;
            }
        })
        .await;
        assert!(!others.get(), "nobody has had a turn");
        let mut left = 0;
        while has_budget_remaining() {
            consume_budget().await;
            left += 1;
        }
        // All of the budget, or as many of its slices as the turn still had time for.
        assert!([4, 8, 16, 32, 64, 128].contains(&left), "{left} were left");
        other.await.unwrap();
    });
}
