//! What must hold of the channel with many senders, each of which may be on a core or not.

use std::sync::Arc as StdArc;
use std::task::{Context, Waker};

use multikernel_channels::error::{TryRecvError, TrySendError};
use multikernel_channels::hub::Hub;
use multikernel_channels::mpsc::{self, Receiver, Sender};
use multikernel_channels::sync::thread;

use super::ports::{Runner, run};
use super::{Bell, Token, assert_nothing_left};

/// Who sent it, its number, and a count of those that live.
type Message = (usize, usize, Token);

/// Receives to the end, and holds the messages to: each sender's in order, none twice. Says how many of each came.
async fn receive_all(mut rx: Receiver<Message>, senders: usize) -> Vec<usize> {
    let mut next = vec![0; senders];
    while let Some((sender, number, _token)) = rx.recv().await {
        assert_eq!(number, next[sender], "out of order, lost or twice");
        next[sender] += 1;
    }
    next
}

/// Calls `f` on a thread that is a core, or is not.
fn on<R>(runner: Runner, f: impl FnOnce() -> R) -> R {
    on_hub(runner, |_| f())
}

fn on_hub<R>(runner: Runner, f: impl FnOnce(Option<&Hub>) -> R) -> R {
    let hub = Hub::new();
    if runner == Runner::Core { hub.enter(|| f(Some(&hub))) } else { f(None) }
}

/// All that several senders send arrives, in each one's order, and then the receiver is told that there is no more.
pub fn passes_all_then_closes<B: Bell>(
    bell: fn() -> B,
    senders: &[Runner],
    receiving: Runner,
    capacity: usize,
    each: usize,
) {
    let token = Token::new(());
    let (tx, rx) = mpsc::channel(capacity);
    let threads: Vec<_> = (0..)
        .zip(senders)
        .map(|(sender, runner)| {
            let (tx, token, runner) = (tx.clone(), Token::clone(&token), *runner);
            thread::spawn(move || {
                run(runner, bell(), async move {
                    for number in 0..each {
                        tx.send((sender, number, Token::clone(&token))).await.expect("the receiver stays");
                    }
                });
            })
        })
        .collect();
    drop(tx);
    let received = run(receiving, bell(), receive_all(rx, senders.len()));
    assert_eq!(received, vec![each; senders.len()]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_nothing_left(&token);
}

/// A receiver that goes wakes all senders that wait; what waits is dropped at once, though senders live on.
pub fn receiver_goes<B: Bell>(bell: fn() -> B, senders: &[Runner], receiving: Runner, received: usize) {
    let token = Token::new(());
    let (tx, mut rx) = mpsc::channel(1);
    let threads: Vec<_> = senders
        .iter()
        .map(|runner| {
            let (tx, token, runner) = (tx.clone(), Token::clone(&token), *runner);
            thread::spawn(move || {
                run(runner, bell(), async {
                    while tx.send(Token::clone(&token)).await.is_ok() {}
                    tx.closed().await;
                });
            })
        })
        .collect();
    run(receiving, bell(), async move {
        for _ in 0..received {
            assert!(rx.recv().await.is_some());
        }
    });
    assert!(tx.is_closed() && tx.is_empty());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_nothing_left(&token);
    drop(tx);
}

/// The receiver closes and stays: it gets exactly what senders were told was sent.
pub fn receiver_closes<B: Bell>(bell: fn() -> B, senders: &[Runner], receiving: Runner) {
    let token = Token::new(());
    let (tx, mut rx) = mpsc::channel::<Message>(4);
    let threads: Vec<_> = (0..)
        .zip(senders)
        .map(|(sender, runner)| {
            let (tx, token, runner) = (tx.clone(), Token::clone(&token), *runner);
            thread::spawn(move || {
                on(runner, || {
                    (0..2).take_while(|n| tx.try_send((sender, *n, Token::clone(&token))).is_ok()).count()
                })
            })
        })
        .collect();
    rx.close();
    let received = run(receiving, bell(), receive_all(rx, senders.len()));
    let sent: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(sent, received);
    assert!(matches!(tx.try_send((0, 0, token)), Err(TrySendError::Closed(_))));
}

/// A sender that moves to another core, and to another, while the lanes that it leaves are still full, keeps its order.
pub fn sender_moves<B: Bell>(bell: fn() -> B, stations: &[Runner], each: usize, receiving: Runner) {
    fn go(tx: Sender<Message>, stations: &[Runner], number: usize, each: usize, token: Token) {
        let Some((here, rest)) = stations.split_first() else { return };
        // The next core begins before this one ends, or it would get the same lane.
        on_hub(*here, |hub| {
            for number in number..number + each {
                while tx.try_send((0, number, Token::clone(&token))).is_err() {
                    thread::yield_now();
                }
            }
            let mut woken = Vec::new();
            hub.into_iter().for_each(|hub| hub.knock(&mut woken)); // as a core does before it sleeps
            woken.into_iter().for_each(Waker::wake);
            let rest = rest.to_vec();
            let next = thread::spawn(move || go(tx, &rest, number + each, each, token));
            next.join().unwrap();
        });
    }

    let token = Token::new(());
    let (tx, rx) = mpsc::channel(4);
    let sender = thread::spawn({
        let (stations, token) = (stations.to_vec(), Token::clone(&token));
        move || go(tx, &stations, 0, each, token)
    });
    assert_eq!(run(receiving, bell(), receive_all(rx, 1)), [stations.len() * each]);
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// Threads share one sender. What is sent when they have all sent comes after what they sent.
pub fn sender_is_shared(sharing: &[Runner]) {
    let (tx, mut rx) = mpsc::channel(8);
    let tx = StdArc::new(tx);
    let threads: Vec<_> = (0..)
        .zip(sharing)
        .map(|(number, runner)| {
            let (tx, runner) = (StdArc::clone(&tx), *runner);
            thread::spawn(move || on(runner, || tx.try_send(number).unwrap()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    tx.try_send(sharing.len()).unwrap();
    let received: Vec<_> = std::iter::from_fn(|| rx.try_recv().ok()).collect();
    assert_eq!(received.len(), sharing.len() + 1);
    assert_eq!(received.last(), Some(&sharing.len()), "{received:?}");
}

/// As many messages as the channel holds are sent, not one less and not one more, whoever sends them.
pub fn credits_are_exact(sending: &[Runner], capacity: usize, each: usize) {
    let (tx, mut rx) = mpsc::channel(capacity);
    let threads: Vec<_> = sending
        .iter()
        .map(|runner| {
            let (tx, runner) = (tx.clone(), *runner);
            thread::spawn(move || on(runner, || (0..each).filter(|_| tx.try_send(()).is_ok()).count()))
        })
        .collect();
    let sent: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(sent, capacity.min(sending.len() * each));
    for _ in 0..sent {
        assert_eq!(rx.len(), tx.len());
        assert_eq!(rx.try_recv(), Ok(()));
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    (0..capacity).for_each(|_| tx.try_send(()).unwrap());
    assert_eq!(tx.try_send(()), Err(TrySendError::Full(())));
}

/// A lane that grows while it is read loses nothing.
pub fn lane_grows(sending: Runner, messages: usize) {
    let token = Token::new(());
    let (tx, mut rx) = mpsc::channel(messages);
    let sender = thread::spawn({
        let token = Token::clone(&token);
        // So large that a lane begins with few of them.
        let message = move |number| (number, Token::clone(&token), [number; 16]);
        move || on(sending, || (0..messages).for_each(|number| tx.try_send(message(number)).unwrap()))
    });
    let mut expected = 0;
    loop {
        match rx.try_recv() {
            Ok((number, _token, copies)) => {
                assert_eq!((number, copies), (expected, [expected; 16]));
                expected += 1;
            }
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Closed) => break,
        }
    }
    assert_eq!(expected, messages);
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// The receiver stops looking at a lane just when something is sent there.
pub fn lane_is_posted_again<B: Bell>(bell: fn() -> B, sending: Runner, receiving: Runner) {
    let (tx, mut rx) = mpsc::channel(2);
    on(sending, || tx.try_send(0).unwrap());
    assert_eq!(rx.try_recv(), Ok(0));
    for _ in 0..30 {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
    // The next look, or the next but one, is the last at this lane.
    let sender = thread::spawn(move || {
        on(sending, || tx.try_send(1).unwrap());
        tx
    });
    assert_eq!(run(receiving, bell(), rx.recv()), Some(1));
    drop(sender.join().unwrap());
}

/// A sender that stands in line goes away; the next one gets the place.
pub fn waiting_sender_goes<B: Bell>(bell: fn() -> B, sending: Runner) {
    let (tx, mut rx) = mpsc::channel(1);
    tx.try_send(0).unwrap();
    let mut first = Box::pin(tx.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let is_ready = futures::Sink::poll_ready(first.as_mut(), &mut cx).is_ready();
    assert!(!is_ready, "there is no room");
    let second = thread::spawn(move || run(sending, bell(), async move { tx.send(1).await.unwrap() }));
    let receiver = thread::spawn(move || {
        let first = run(Runner::Plain, bell(), rx.recv());
        (first, run(Runner::Plain, bell(), rx.recv()))
    });
    drop(first); // it is served before or after, and passes its place on
    second.join().unwrap();
    assert_eq!(receiver.join().unwrap(), (Some(0), Some(1)));
}
