//! The channel with many senders as users meet it: on other executors, on threads without one, fair, under stress.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use multikernel_channels::error::SendError;
use multikernel_channels::hub::Hub;
use multikernel_channels::mpsc::{Receiver, Sender, channel};

const MESSAGES: usize = 20_000;

/// Sends numbers, and gives way to others now and then.
async fn count_up(tx: Sender<(usize, usize)>, name: usize) {
    for number in 0..MESSAGES {
        tx.send((name, number)).await.expect("the receiver stays");
    }
}

/// Receives to the end: all that each of `senders` sent, in its order.
async fn check(mut rx: Receiver<(usize, usize)>, senders: usize) {
    let mut next = vec![0; senders];
    let mut messages = Vec::new();
    while rx.recv_many(&mut messages, 100).await > 0 {
        for (name, number) in messages.drain(..) {
            assert_eq!(number, next[name]);
            next[name] += 1;
        }
    }
    assert_eq!(next, vec![MESSAGES; senders]);
}

#[test]
fn runs_under_tokio() {
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    one.block_on(async {
        let (tx, rx) = channel(16);
        for name in 0..3 {
            tokio::spawn(count_up(tx.clone(), name));
        }
        drop(tx);
        check(rx, 3).await;
    });

    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    many.block_on(async {
        let (tx, rx) = channel(16);
        for name in 0..4 {
            tokio::spawn(count_up(tx.clone(), name));
        }
        drop(tx);
        tokio::spawn(check(rx, 4)).await.unwrap();
    });
}

#[test]
fn runs_under_futures() {
    let (tx, rx) = channel(16);
    let senders: Vec<_> = (0..2)
        .map(|name| {
            let tx = tx.clone();
            thread::spawn(move || block_on(count_up(tx, name)))
        })
        .collect();
    let blocking = thread::spawn({
        let tx = tx.clone();
        move || (0..MESSAGES).for_each(|number| tx.blocking_send((2, number)).unwrap())
    });
    drop(tx);
    block_on(check(rx, 3));
    senders.into_iter().chain([blocking]).for_each(|sender| sender.join().unwrap());
}

#[test]
fn is_a_sink_and_a_stream() {
    let (tx, rx) = channel(2);
    let mut second = tx.clone();
    let sender = thread::spawn(move || {
        let mut tx = tx;
        block_on(async {
            tx.send_all(&mut futures::stream::iter((0..100).map(Ok))).await.unwrap();
            tx.close().await.unwrap();
        });
    });
    let received = block_on(rx.take(100).collect::<Vec<_>>());
    assert_eq!(received, (0..100).collect::<Vec<_>>());
    sender.join().unwrap();
    assert!(block_on(SinkExt::send(&mut second, 0)).is_err(), "the receiver is gone");
}

#[test]
fn a_sink_gives_back_what_it_cannot_send() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut tx, rx) = channel(2);
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Ok(())));
    drop(rx);
    assert_eq!(tx.start_send_unpin(Box::new(1)), Err(SendError(Some(Box::new(1)))));
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Err(SendError(None))));
}

#[test]
fn is_fair_to_busy_senders() {
    fn with_cores(senders: &[Sender<usize>], then: &mut dyn FnMut()) {
        let Some((tx, rest)) = senders.split_first() else { return then() };
        Hub::new().enter(|| {
            (0..1_000).for_each(|_| tx.try_send(rest.len()).unwrap());
            with_cores(rest, then);
        });
    }

    let (tx, mut rx) = channel(4_000);
    // Cloned before the first message: a clone's messages come after what had been sent.
    with_cores(&std::array::from_fn::<_, 4, _>(|_| tx.clone()), &mut || {
        for turn in 1..=15 {
            let mut counts = [0_usize; 4];
            let mut messages = Vec::new();
            assert_eq!(block_on(rx.recv_many(&mut messages, 256)), 256);
            messages.into_iter().for_each(|sender| counts[sender] += 1);
            let is_fair = counts.iter().all(|count| count.abs_diff(64) <= 6);
            assert!(is_fair, "turn {turn}: {counts:?}");
        }
    });
}

#[test]
fn waits_only_where_that_is_allowed() {
    let (tx, mut rx) = channel(1);
    let panics = |f: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    Hub::new().enter(|| {
        assert!(panics(&mut || tx.blocking_send(1).unwrap()));
        assert!(panics(&mut || assert!(rx.blocking_recv().is_none())));
    });
    assert!(tx.is_empty());
    assert!(panics(&mut || drop(channel::<u8>(0))));
    assert!(panics(&mut || drop(channel::<u8>(1 << 30))));
}

#[test]
fn is_for_messages_that_borrow_and_for_those_of_no_size() {
    let text = String::from("borrowed");
    let (tx, mut rx) = channel(3);
    tx.try_send(text.as_str()).unwrap();
    assert_eq!(rx.try_recv(), Ok("borrowed"));

    let (tx, mut rx) = channel(1_000);
    (0..1_000).for_each(|_| tx.try_send(()).unwrap());
    assert_eq!(std::iter::from_fn(|| rx.try_recv().ok()).count(), 1_000);
}

/// Drops are counted.
struct Message(usize, usize, Arc<AtomicUsize>);

impl Drop for Message {
    fn drop(&mut self) {
        self.2.fetch_add(1, Ordering::Relaxed);
    }
}

/// Senders that go from thread to thread, some of which are cores, while others send as well.
#[test]
fn senders_that_move_keep_their_order() {
    const ROUNDS: usize = 300;
    const SENDERS: usize = 4;
    const THREADS: usize = 4;
    const EACH: usize = 7;
    let dropped = Arc::new(AtomicUsize::new(0));
    let (tx, mut rx) = channel(64);
    // Who holds a sender sends a few messages and hands it to the next thread.
    let desks: Vec<_> = (0..THREADS).map(|_| std::sync::mpsc::channel()).collect();
    let (outs, ins): (Vec<_>, Vec<_>) = desks.into_iter().unzip();
    for name in 0..SENDERS {
        outs[name % THREADS].send((name, 0, tx.clone())).unwrap();
    }
    drop(tx);
    let threads: Vec<_> = ins
        .into_iter()
        .enumerate()
        .map(|(number, desk)| {
            let (next, dropped) = (outs[(number + 1) % THREADS].clone(), Arc::clone(&dropped));
            thread::spawn(move || {
                let hub = Hub::new();
                let work = || {
                    // Each sender comes by as often as any other thread sees it.
                    for _ in 0..SENDERS * ROUNDS {
                        let (name, number, tx): (usize, usize, Sender<Message>) = desk.recv().unwrap();
                        for number in number..number + EACH {
                            let mut message = Message(name, number, Arc::clone(&dropped));
                            while let Err(back) = tx.try_send(message) {
                                message = back.into_inner();
                                thread::yield_now();
                            }
                        }
                        let mut woken = Vec::new();
                        hub.knock(&mut woken);
                        woken.into_iter().for_each(std::task::Waker::wake);
                        drop(next.send((name, number + EACH, tx))); // the last to come finds nobody
                    }
                };
                if number % 2 == 0 { hub.enter(work) } else { work() }
            })
        })
        .collect();
    drop(outs);
    let mut next = [0; SENDERS];
    while let Some(message) = rx.blocking_recv() {
        assert_eq!(message.1, next[message.0], "sender {} is out of order", message.0);
        next[message.0] += 1;
    }
    assert_eq!(next, [ROUNDS * THREADS * EACH; SENDERS]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(dropped.load(Ordering::Relaxed), SENDERS * ROUNDS * THREADS * EACH, "each once");
}
