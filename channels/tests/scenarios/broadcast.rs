//! What must hold of channels with a lane for each receiver.

use multikernel_channels::broadcast::{self, error::RecvError, error::TryRecvError};
use multikernel_channels::sync::thread;
use multikernel_channels::watch;

use super::ports::{Runner, run};
use super::{Bell, Token, assert_nothing_left};

type Numbered = (u64, Token);

/// Receives until the channel is closed. What is not received is reported lost, exactly, and the newest never is.
async fn listen(mut rx: broadcast::Receiver<Numbered>, mut next: u64, messages: u64, capacity: u64) {
    let mut lagged = false;
    loop {
        match rx.recv().await {
            Ok((number, _token)) => {
                assert_eq!(number, next, "out of order, twice, or lost in silence");
                (next, lagged) = (next + 1, false);
            }
            Err(RecvError::Lagged(missed)) => {
                assert!(missed > 0);
                next += missed;
                assert!(next + capacity <= messages, "lost although there was room");
                lagged = true;
            }
            Err(RecvError::Closed) => break,
        }
    }
    assert_eq!(next, messages);
    assert!(!lagged, "there is a message after those that were lost");
}

/// Every receiver gets every message in order, or is told how many it lost, and then that the channel is closed.
pub fn broadcast_reaches_all<B: Bell>(
    bell: fn() -> B,
    [sending, receiving]: [Runner; 2],
    receivers: usize,
    capacity: u64,
    messages: u64,
) {
    let token = Token::new(());
    let (tx, first) = broadcast::channel(capacity as usize);
    let others: Vec<_> = (1..receivers)
        .map(|_| {
            let rx = tx.subscribe();
            thread::spawn(move || run(receiving, bell(), listen(rx, 0, messages, capacity)))
        })
        .collect();
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            run(sending, bell(), async move {
                for number in 0..messages {
                    assert_eq!(tx.send((number, Token::clone(&token))).map_err(drop), Ok(receivers));
                }
            });
        }
    });
    run(receiving, bell(), listen(first, 0, messages, capacity));
    sender.join().unwrap();
    others.into_iter().for_each(|receiver| receiver.join().unwrap());
    assert_nothing_left(&token);
}

/// A receiver that never waits and a sender on a core, which does not fence after each message: nothing orders what the
/// two do to a cell but its exchange.
pub fn broadcast_passes_cells<B: Bell>(bell: fn() -> B, capacity: usize, messages: u64) {
    let token = Token::new(());
    let (tx, mut rx) = broadcast::channel(capacity);
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            run(Runner::Core, bell(), async {
                (0..messages).for_each(|number| drop(tx.send((number, Token::clone(&token)))));
            });
        }
    });
    let mut next = 0;
    let mut receive = |rx: &mut broadcast::Receiver<Numbered>| match rx.try_recv() {
        Ok((number, _token)) => {
            assert_eq!(number, next);
            next += 1;
        }
        Err(TryRecvError::Lagged(missed)) => next += missed,
        Err(TryRecvError::Empty | TryRecvError::Closed) => {}
    };
    (0..messages).for_each(|_| receive(&mut rx));
    sender.join().unwrap();
    while !rx.is_empty() {
        receive(&mut rx);
    }
    assert_eq!(next, messages);
    drop(rx);
    assert_nothing_left(&token);
}

/// Two senders: what both send arrives everywhere in one order, that of each sender among it.
pub fn broadcast_has_one_order(each: usize) {
    let (tx, rx) = broadcast::channel(2 * each);
    let receivers = [rx, tx.subscribe()];
    let other = thread::spawn({
        let tx = tx.clone();
        move || (0..each).for_each(|number| assert_eq!(tx.send((1, number)), Ok(2)))
    });
    (0..each).for_each(|number| assert_eq!(tx.send((0, number)), Ok(2)));
    other.join().unwrap();
    drop(tx);
    let [first, second] =
        receivers.map(|mut rx| std::iter::from_fn(|| rx.try_recv().ok()).collect::<Vec<_>>());
    assert_eq!(first, second);
    for sender in 0..2 {
        let numbers = first.iter().filter(|message| message.0 == sender).map(|message| message.1);
        assert!(numbers.eq(0..each));
    }
}

/// Who subscribes while another sends gets all messages from some point on.
pub fn broadcast_subscribes_in_between<B: Bell>(bell: fn() -> B, runner: Runner, messages: u64) {
    let token = Token::new(());
    let (tx, rx) = broadcast::channel(messages as usize);
    let late = thread::spawn(move || {
        let mut late = rx.resubscribe();
        drop(rx);
        run(runner, bell(), async move {
            match late.recv().await {
                Ok((first, _token)) => listen(late, first + 1, messages, messages).await,
                Err(error) => assert_eq!(error, RecvError::Closed),
            }
        });
    });
    for number in 0..messages {
        let receivers = tx.send((number, Token::clone(&token))).expect("there is always one at least");
        assert!((1..=2).contains(&receivers));
    }
    drop(tx);
    late.join().unwrap();
    assert_nothing_left(&token);
}

/// A receiver that goes: the sender is told, one that waits for it is woken, and all messages are dropped.
pub fn broadcast_tells_the_sender<B: Bell>(
    bell: fn() -> B,
    [sending, receiving]: [Runner; 2],
    received: u64,
) {
    let token = Token::new(());
    let (tx, mut rx) = broadcast::channel(2);
    let receiver = thread::spawn(move || {
        run(receiving, bell(), async move {
            let mut seen = 0;
            while seen < received {
                seen += match rx.recv().await {
                    Ok((number, _token)) => number + 1 - seen,
                    Err(RecvError::Lagged(missed)) => missed,
                    Err(RecvError::Closed) => panic!("the sender stays"),
                };
            }
        });
    });
    run(sending, bell(), async {
        for number in 0..received {
            let _ = tx.send((number, Token::clone(&token))); // it may have gone after it lagged
        }
        tx.closed().await;
        assert_eq!(tx.receiver_count(), 0);
        let refused = tx.send((received, Token::clone(&token))).expect_err("nobody is there");
        assert_eq!(refused.0.0, received);
    });
    receiver.join().unwrap();
    assert_nothing_left(&token);
}

/// Each receiver sees ever newer values, the last one always, and is told when there will be no more.
pub fn watch_shows_the_last<B: Bell>(
    bell: fn() -> B,
    [sending, receiving]: [Runner; 2],
    receivers: usize,
    values: u64,
) {
    async fn look(mut rx: watch::Receiver<Numbered>, values: u64) {
        let mut last = rx.borrow_and_update().0;
        while rx.changed().await.is_ok() {
            let now = rx.borrow_and_update();
            // `changed` has counted the first of these as seen; a newer one has changed again.
            assert!(now.0 > last, "went back, or was told of nothing new");
            last = now.0;
        }
        assert_eq!(last, values);
        assert_eq!(rx.borrow().0, values);
    }
    let token = Token::new(());
    let (tx, first) = watch::channel((0, Token::clone(&token)));
    let others: Vec<_> = (1..receivers)
        .map(|_| {
            let rx = first.clone();
            thread::spawn(move || run(receiving, bell(), look(rx, values)))
        })
        .collect();
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            run(sending, bell(), async move {
                for number in 1..=values {
                    tx.send((number, Token::clone(&token))).map_err(drop).expect("the receivers stay");
                }
            });
        }
    });
    run(receiving, bell(), look(first, values));
    sender.join().unwrap();
    others.into_iter().for_each(|receiver| receiver.join().unwrap());
    assert_nothing_left(&token);
}

/// A receiver that goes wakes a sender that waits for that.
pub fn watch_tells_the_sender<B: Bell>(bell: fn() -> B, [sending, receiving]: [Runner; 2]) {
    let token = Token::new(());
    let (tx, mut rx) = watch::channel((0, Token::clone(&token)));
    let receiver = thread::spawn(move || {
        run(receiving, bell(), async move {
            assert_eq!(rx.wait_for(|value| value.0 == 1).await.expect("the sender stays").0, 1);
        });
    });
    run(sending, bell(), async {
        tx.send((1, Token::clone(&token))).map_err(drop).expect("it waits for this one");
        tx.closed().await;
        assert!(tx.is_closed());
    });
    receiver.join().unwrap();
    drop(tx);
    assert_nothing_left(&token);
}

/// A look stays what it is while values change, and the next shows a newer one. No change is lost between two senders.
pub fn watch_changes_add_up(each: usize) {
    let (tx, rx) = watch::channel(0);
    let other = thread::spawn({
        let tx = tx.clone();
        move || (0..each).for_each(|_| tx.send_modify(|value| *value += 1))
    });
    for _ in 0..each {
        let before = rx.borrow();
        let was = *before;
        tx.send_modify(|value| *value += 1);
        assert_eq!(*before, was);
        drop(before);
        assert!(*rx.borrow() > was);
    }
    other.join().unwrap();
    assert_eq!((*rx.borrow(), *tx.borrow()), (2 * each, 2 * each));
}
