//! The channel from one task to one as users meet it: on other executors, as a sink and a stream.
#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use multikernel_channels::error::SendError;
use multikernel_channels::spsc::{Receiver, Sender, channel};

const MESSAGES: usize = 20_000;

/// Sends numbers, one by one and then many at once.
async fn count_up(mut tx: Sender<usize>) {
    for number in 0..MESSAGES / 2 {
        tx.send(number).await.expect("the receiver stays");
    }
    let rest = tx.send_many(&mut (MESSAGES / 2..MESSAGES)).await;
    assert_eq!(rest, Ok(MESSAGES / 2));
}

/// Receives them to the end, in both ways as well.
async fn check(mut rx: Receiver<usize>) {
    for number in 0..MESSAGES / 4 {
        assert_eq!(rx.recv().await, Some(number));
    }
    let (mut next, mut messages) = (MESSAGES / 4, Vec::new());
    while rx.recv_many(&mut messages, 100).await > 0 {
        for number in messages.drain(..) {
            assert_eq!(number, next);
            next += 1;
        }
    }
    assert_eq!(next, MESSAGES);
}

fn on_tokio(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future);
}

#[test]
fn runs_under_tokio() {
    for capacity in [1, 16] {
        let (tx, rx) = channel(capacity);
        on_tokio(async move {
            let sender = tokio::spawn(count_up(tx));
            check(rx).await;
            sender.await.unwrap();
        });

        let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (tx, rx) = channel(capacity);
        let (sender, receiver) = (many.spawn(count_up(tx)), many.spawn(check(rx)));
        many.block_on(async { sender.await.and(receiver.await) }).unwrap();
    }
}

#[test]
fn runs_under_futures() {
    for capacity in [1, 16] {
        let (tx, rx) = channel(capacity);
        block_on(futures::future::join(count_up(tx), check(rx)));

        let (tx, rx) = channel(capacity);
        let sender = thread::spawn(move || block_on(count_up(tx)));
        block_on(check(rx));
        sender.join().unwrap();
    }
}

#[test]
fn the_ends_may_have_different_executors() {
    for tokio_sends in [true, false] {
        let (tx, rx) = channel(16);
        let (sends, receives) = (count_up(tx), check(rx));
        let sender = thread::spawn(move || if tokio_sends { on_tokio(sends) } else { block_on(sends) });
        if tokio_sends {
            block_on(receives)
        } else {
            on_tokio(receives)
        }
        sender.join().unwrap();
    }
}

#[test]
fn is_a_sink_and_a_stream() {
    let (mut tx, rx) = channel(2);
    let sender = thread::spawn(move || {
        block_on(async {
            tx.send_all(&mut futures::stream::iter((0..100).map(Ok))).await.unwrap();
            SinkExt::close(&mut tx).await.unwrap();
        });
        tx
    });
    // To the end: it is closed though the sender is still there.
    assert!(block_on(rx.collect::<Vec<_>>()).into_iter().eq(0..100));
    drop(sender.join().unwrap());
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_sink_waits_for_room() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let cx = &mut Context::from_waker(&waker);
    let (mut tx, mut rx) = channel(1);
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Ok(())));
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Ok(())), "to ask takes no place");
    tx.start_send_unpin('a').unwrap();
    assert_eq!(tx.poll_flush_unpin(cx), Poll::Ready(Ok(())), "nothing is kept back");
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Pending);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    assert_eq!(rx.try_recv(), Ok('a'));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Ok(())));
    tx.start_send_unpin('b').unwrap();
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Pending);
    drop(rx);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 2, "who waits is told of the end, too");
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Err(SendError(None))));
}

#[test]
#[should_panic(expected = "without poll_ready")]
fn a_sink_that_was_not_asked_for_room_may_panic() {
    let (mut tx, _rx) = channel(1);
    tx.start_send_unpin(1).unwrap();
    let _ = tx.start_send_unpin(2);
}

#[test]
fn a_sink_gives_back_what_it_cannot_send() {
    let cx = &mut Context::from_waker(Waker::noop());
    let (mut tx, rx) = channel(2);
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Ok(())));
    drop(rx);
    assert_eq!(tx.start_send_unpin(Box::new(1)), Err(SendError(Some(Box::new(1)))));

    let (mut tx, mut rx) = channel(2);
    tx.start_send_unpin(1).unwrap();
    assert_eq!(tx.poll_close_unpin(cx), Poll::Ready(Ok(())));
    assert_eq!(tx.poll_ready_unpin(cx), Poll::Ready(Err(SendError(None))));
    assert_eq!(tx.start_send_unpin(2), Err(SendError(Some(2))));
    assert_eq!(block_on(tx.send(3)), Err(SendError(3)));
    assert_eq!((block_on(rx.recv()), block_on(rx.recv())), (Some(1), None));
}
