//! `broadcast` and `watch` as users meet them: on other executors, and with code of theirs in awkward places.
#![cfg(not(loom))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use futures::executor::block_on;
use futures::future::{join, join3};
use multikernel_channels::broadcast::error::{RecvError, TryRecvError};
use multikernel_channels::{broadcast, watch};

/// Receives to the end, and says how many messages were received and how many lost.
async fn count(mut rx: broadcast::Receiver<u32>) -> (u64, u64) {
    let (mut received, mut lost) = (0, 0);
    loop {
        match rx.recv().await {
            Ok(number) => {
                assert_eq!(u64::from(number), received + lost);
                received += 1;
            }
            Err(RecvError::Lagged(missed)) => lost += missed,
            Err(RecvError::Closed) => return (received, lost),
        }
    }
}

async fn last_of(mut rx: watch::Receiver<u32>) -> u32 {
    while rx.changed().await.is_ok() {}
    *rx.borrow()
}

fn send_all(tx: &broadcast::Sender<u32>, values: &watch::Sender<u32>, messages: u32) {
    for number in 0..messages {
        tx.send(number).expect("receivers stay");
        values.send(number).expect("receivers stay");
    }
}

#[test]
fn under_tokio_and_futures() {
    const MESSAGES: u32 = 20_000;
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (tx, rx) = broadcast::channel(64);
    let (values, value) = watch::channel(0);

    let on_tokio = many.spawn(count(rx.resubscribe()));
    let last_on_tokio = many.spawn(last_of(value.clone()));
    let on_futures = thread::spawn({
        let (rx, value) = (rx.resubscribe(), value.clone());
        move || block_on(join(count(rx), last_of(value)))
    });
    let sender = thread::spawn(move || {
        block_on(async { send_all(&tx, &values, MESSAGES) });
    });
    let here = one.block_on(join(count(rx), last_of(value)));

    sender.join().unwrap();
    let on_tokio = one.block_on(async { (on_tokio.await.unwrap(), last_on_tokio.await.unwrap()) });
    for ((received, lost), last) in [here, on_tokio, on_futures.join().unwrap()] {
        assert_eq!(received + lost, u64::from(MESSAGES));
        assert!(received >= 64, "what fits is not lost");
        assert_eq!(last, MESSAGES - 1);
    }
}

#[test]
fn a_sender_on_tokio_waits_for_the_last_receiver() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (tx, rx) = broadcast::channel::<u8>(1);
    let (values, value) = watch::channel(0);
    let others = (rx.resubscribe(), value.clone());
    let closed = runtime.spawn(async move { join3(tx.closed(), tx.closed(), values.closed()).await });
    drop((rx, value));
    drop(others);
    runtime.block_on(closed).unwrap();
}

#[test]
fn ends_move_between_threads_if_messages_do() {
    fn is_send<T: Send>(_: &T) {}
    fn crosses<T: Send + Sync>() {}
    crosses::<broadcast::Sender<std::cell::Cell<u8>>>();
    crosses::<broadcast::Receiver<std::cell::Cell<u8>>>();
    crosses::<watch::Sender<u8>>();
    let (tx, mut rx) = watch::channel(0);
    is_send(&tx.closed());
    is_send(&rx.changed());
    is_send(&rx.wait_for(|value| *value == 1));
    is_send(&rx);
}

/// Panics when a clone is made and none is left.
struct Fragile(Arc<AtomicUsize>, Arc<()>);

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.checked_sub(1).expect("no clone left"), Ordering::Relaxed);
        Self(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

#[test]
fn a_message_whose_clone_panics_reaches_nobody() {
    let (clones, token) = (Arc::new(AtomicUsize::new(3)), Arc::new(()));
    let message = || Fragile(Arc::clone(&clones), Arc::clone(&token));
    let (tx, rx) = broadcast::channel(2);
    let mut receivers = [rx, tx.subscribe(), tx.subscribe()];
    assert_eq!(tx.send(message()).map_err(drop), Ok(3));
    assert!(catch_unwind(AssertUnwindSafe(|| tx.send(message()).is_ok())).is_err());

    clones.store(2, Ordering::Relaxed);
    assert_eq!(tx.send(message()).map_err(drop), Ok(3));
    for rx in &mut receivers {
        assert_eq!(rx.len(), 2, "the second of three was not sent");
        assert!(rx.try_recv().is_ok() && rx.try_recv().is_ok());
        assert_eq!(rx.try_recv().map(drop), Err(TryRecvError::Empty));
    }
    assert_eq!(Arc::strong_count(&token), 1);
}

#[test]
fn a_change_that_panics_changes_nothing() {
    let (tx, rx) = watch::channel(vec![1]);
    let change = || {
        tx.send_modify(|value| {
            value.push(2);
            panic!("in the middle");
        });
    };
    assert!(catch_unwind(AssertUnwindSafe(change)).is_err());
    assert_eq!((rx.has_changed(), rx.borrow().len()), (Ok(false), 1));
    tx.send_modify(|value| value.push(3));
    assert_eq!(*rx.borrow(), [1, 3]);
}

/// Sends another message when it is dropped, and that is when a message is lost.
#[derive(Clone)]
struct Chain(Option<broadcast::Sender<Chain>>);

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(tx) = self.0.take() {
            let _ = tx.send(Chain(None));
        }
    }
}

#[test]
fn a_message_may_send_when_it_is_lost() {
    let (tx, mut rx) = broadcast::channel(1);
    tx.send(Chain(Some(tx.clone()))).map_err(drop).unwrap();
    tx.send(Chain(None)).map_err(drop).unwrap();
    assert_eq!(rx.try_recv().map(drop), Err(TryRecvError::Lagged(2)));
    assert!(rx.try_recv().is_ok_and(|message| message.0.is_none()));
    assert_eq!(rx.len(), 0);
}

/// Uses both channels when it is woken.
struct Busy {
    tx: broadcast::Sender<u32>,
    values: watch::Sender<u32>,
    woken: AtomicUsize,
}

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        let woken = self.woken.fetch_add(1, Ordering::Relaxed);
        if woken < 10 {
            let _ = self.tx.send(7);
            drop(self.tx.subscribe());
            self.values.send_modify(|value| *value += 1);
            drop(self.values.subscribe());
        }
    }
}

#[test]
fn a_waker_may_use_the_channel() {
    let (tx, mut rx) = broadcast::channel(4);
    let (values, mut value) = watch::channel(0);
    let busy = Arc::new(Busy { tx: tx.clone(), values: values.clone(), woken: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&busy));
    let mut cx = Context::from_waker(&waker);
    assert!(rx.poll_recv(&mut cx).is_pending());
    assert!(Box::pin(value.changed()).as_mut().poll(&mut cx).is_pending());
    tx.send(1).unwrap();
    assert_eq!(busy.woken.load(Ordering::Relaxed), 2, "the message woke one end, which woke the other");
    assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(1), Ok(7)));
    assert_eq!(*value.borrow_and_update(), 2);
}

#[test]
fn a_look_lasts_and_holds_nobody_up() {
    let (tx, mut rx) = watch::channel(String::from("one"));
    let first = rx.borrow();
    let sender = thread::spawn(move || {
        tx.send("two".into()).unwrap();
        tx
    });
    let tx = sender.join().unwrap();
    assert_eq!((first.as_str(), rx.borrow().as_str()), ("one", "one"), "one task sees one value at a time");
    assert_eq!(rx.has_changed(), Ok(true), "but may know better");
    drop(first);
    assert_eq!(*rx.borrow_and_update(), "two");
    assert_eq!(tx.send_replace("three".into()), "two");
}

#[test]
#[should_panic(expected = "at least one message")]
fn a_channel_without_room_is_refused() {
    let _ = broadcast::channel::<()>(0);
}
