//! What must hold of oneshots, calls, buffers on loan and questions to all.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::stream::{FuturesUnordered, StreamExt};
use multikernel_channels::bulk::{Loan, Pool};
use multikernel_channels::call::{self, CallError};
use multikernel_channels::error::TryRecvError;
use multikernel_channels::oneshot;
use multikernel_channels::sync::{UnsafeCell, thread};

use super::ports::{Runner, run};
use super::{Bell, Token, assert_nothing_left};

/// Polls `future` once, for whoever does not come back.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What the receiver of a oneshot does while the message is sent.
#[derive(Clone, Copy, Debug)]
pub enum Receive {
    Wait,
    /// Polls with one waker, then waits with another.
    WaitTwice,
    Close,
    Drop,
}

/// A oneshot's message is received, given back or dropped: once, and whoever waits is told.
pub fn oneshot_sends_once<B: Bell>(bell: fn() -> B, receive: Receive) {
    let token = Token::new(());
    let (tx, mut rx) = oneshot::channel();
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || tx.send(token).is_ok()
    });
    match receive {
        Receive::Wait => assert!(run(Runner::Plain, bell(), rx).is_ok()),
        Receive::WaitTwice => match poll_once(&mut rx) {
            Poll::Ready(message) => assert!(message.is_ok()),
            Poll::Pending => assert!(run(Runner::Plain, bell(), rx).is_ok()),
        },
        Receive::Close => {
            rx.close();
            let received = rx.try_recv();
            assert_ne!(received, Err(TryRecvError::Empty), "known once it is closed");
            assert_eq!(sender.join().unwrap(), received.is_ok());
            return;
        }
        Receive::Drop => drop(rx),
    }
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// Whoever waits is told that the other end goes.
pub fn oneshot_tells_the_other_end<B: Bell>(bell: fn() -> B, receiver_waits: bool) {
    let (mut tx, rx) = oneshot::channel::<Token>();
    let sender = thread::spawn(move || {
        if !receiver_waits {
            let _ = poll_once(tx.closed());
            run(Runner::Plain, bell(), tx.closed());
            assert!(tx.is_closed());
        }
    });
    if receiver_waits {
        assert!(run(Runner::Plain, bell(), rx).is_err());
    } else {
        drop(rx);
    }
    sender.join().unwrap();
}

/// Both ends go at once, each with its waker in the channel.
pub fn oneshot_ends_at_once() {
    let token = Token::new(());
    let (mut tx, mut rx) = oneshot::channel();
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            let _ = poll_once(tx.closed());
            drop(tx.send(token));
        }
    });
    drop(poll_once(&mut rx));
    drop(rx);
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// Every question gets its own answer, and the end is told after the last.
pub fn calls_are_answered<B: Bell>(bell: fn() -> B, [asking, answering]: [Runner; 2], calls: usize) {
    let token = Token::new(());
    let (mut caller, mut callee) = call::channel::<(usize, Token), _>();
    let service = thread::spawn(move || {
        run(answering, bell(), async move {
            let mut served = 0;
            while let Some(question) = callee.next().await {
                let ((number, token), reply) = question.into_parts();
                assert_eq!(number, served);
                served += 1;
                assert!(reply.send((number, token)).is_ok(), "the caller waits");
            }
            served
        })
    });
    run(asking, bell(), async {
        for number in 0..calls {
            let (answer, _token) = caller.call((number, Token::clone(&token))).await.expect("an answer");
            assert_eq!(answer, number);
        }
        drop(caller);
    });
    assert_eq!(service.join().unwrap(), calls);
    assert_nothing_left(&token);
}

/// Calls are given up after a poll: later ones get their own answers, and nothing is dropped twice or kept.
pub fn abandoned_calls_are_forgotten<B: Bell>(
    bell: fn() -> B,
    [asking, answering]: [Runner; 2],
    abandoned: usize,
    then_one_more: bool,
) {
    let token = Token::new(());
    let (mut caller, mut callee) = call::channel();
    let service = thread::spawn(move || {
        run(answering, bell(), async move { callee.serve(async |question: (usize, Token)| question).await });
    });
    run(asking, bell(), async {
        for number in 0..abandoned {
            if let Poll::Ready(answer) = poll_once(caller.call((number, Token::clone(&token)))) {
                assert_eq!(answer.expect("an answer").0, number);
            }
        }
        if then_one_more {
            let answer = caller.call((abandoned, Token::clone(&token))).await;
            assert_eq!(answer.expect("an answer").0, abandoned);
        }
        drop(caller);
    });
    service.join().unwrap();
    assert_nothing_left(&token);
}

/// The callee takes some questions and goes without an answer to the last: the caller is told, and has the question
/// back if it was not taken.
pub fn callee_goes<B: Bell>(bell: fn() -> B, [asking, answering]: [Runner; 2], taken: usize) {
    let token = Token::new(());
    let (mut caller, mut callee) = call::channel::<Token, usize>();
    let service = thread::spawn(move || {
        run(answering, bell(), async move {
            for number in 1..=taken {
                let question = callee.next().await.expect("the caller stays");
                if number < taken {
                    assert!(question.reply(number).is_ok());
                }
            }
        });
    });
    run(asking, bell(), async {
        for number in 1..taken {
            assert_eq!(caller.call(Token::clone(&token)).await, Ok(number));
        }
        if taken > 0 {
            assert_eq!(caller.call(Token::clone(&token)).await, Err(CallError::Unanswered));
        }
        let back = caller.call(Token::clone(&token)).await;
        assert!(matches!(back, Err(CallError::Closed(_))), "nobody takes it");
        assert!(caller.is_closed());
    });
    service.join().unwrap();
    assert_nothing_left(&token);
}

/// The caller gives up and goes while the callee answers, or goes, too.
pub fn both_ends_go(answers: bool) {
    let token = Token::new(());
    let (mut caller, mut callee) = call::channel::<Token, Token>();
    let service = thread::spawn({
        let token = Token::clone(&token);
        move || match poll_once(callee.next()) {
            Poll::Ready(Some(question)) if answers => drop(question.reply(token)),
            _ => {}
        }
    });
    let _ = poll_once(caller.call(Token::clone(&token)));
    drop(caller);
    service.join().unwrap();
    assert_nothing_left(&token);
}

/// A count that only the holder of the loan touches; loom checks that.
struct Visits {
    count: UnsafeCell<usize>,
    _token: Token,
}

// SAFETY: reached through a loan, by one thread at a time.
unsafe impl Send for Visits {}

impl Visits {
    fn pool(count: usize, token: &Token) -> Pool<Self> {
        Pool::with(count, || Self { count: UnsafeCell::new(0), _token: Token::clone(token) }, |_| ())
    }

    fn count(loan: &mut Loan<Self>) -> usize {
        // SAFETY: we have the loan by `&mut`.
        loan.count.with_mut(|visits| unsafe {
            *visits += 1;
            *visits
        })
    }
}

/// Loans that are dropped elsewhere come home, whatever was written to them is seen there, and who waits is woken.
pub fn loans_come_home<B: Bell>(bell: fn() -> B, home: Runner, loans: usize) {
    let token = Token::new(());
    let pool = Visits::pool(1, &token);
    run(home, bell(), async {
        let mut away = None;
        for round in 0..loans {
            let mut loan = pool.take().await;
            assert_eq!(Visits::count(&mut loan), 2 * round + 1, "what was done elsewhere is seen here");
            let before = away.replace(thread::spawn(move || Visits::count(&mut loan)));
            before.map(|before: thread::JoinHandle<usize>| before.join().unwrap());
        }
        drop(pool.take().await);
        away.map(|last| last.join().unwrap());
    });
    drop(pool);
    assert_nothing_left(&token);
}

/// Several threads give back at once, while two tasks of one thread wait; both are served.
pub fn all_who_wait_are_served<B: Bell>(bell: fn() -> B, home: Runner) {
    let token = Token::new(());
    let pool = Visits::pool(2, &token);
    let away = [pool.try_take().unwrap(), pool.try_take().unwrap()];
    assert!(pool.try_take().is_none());
    let away = away.map(|loan| thread::spawn(move || drop(loan)));
    run(home, bell(), async {
        drop(poll_once(pool.take())); // given up, or given back at once
        // Each with a waker of its own.
        let both = [pool.take(), pool.take()].into_iter().collect::<FuturesUnordered<_>>();
        assert_eq!(both.collect::<Vec<_>>().await.len(), 2);
    });
    away.into_iter().for_each(|away| away.join().unwrap());
    drop(pool);
    assert_nothing_left(&token);
}

/// A task waits on the pool's own thread, and then another drops a loan there.
pub fn who_waits_at_home_is_served<B: Bell>(bell: fn() -> B, home: Runner) {
    let token = Token::new(());
    let pool = Visits::pool(1, &token);
    let loan = pool.try_take().unwrap();
    run(home, bell(), async {
        let drops = async { drop(loan) }; // polled after the other, and once
        drop(futures::future::join(pool.take(), drops).await);
    });
    drop(pool);
    assert_nothing_left(&token);
}

/// Who has waited longest gives up, and the next waits in its place.
pub fn who_waits_next_is_served<B: Bell>(bell: fn() -> B, home: Runner) {
    let token = Token::new(());
    let pool = Visits::pool(1, &token);
    let loan = pool.try_take().unwrap();
    let away = thread::spawn(move || drop(loan));
    run(home, bell(), async {
        let mut first = pool.take();
        drop(poll_once(&mut first));
        let gives_up = async { drop(first) }; // polled after the next, and once
        drop(futures::future::join(pool.take(), gives_up).await);
    });
    away.join().unwrap();
    drop(pool);
    assert_nothing_left(&token);
}

/// The pool goes while its objects are out: each is freed once, by whoever has it last.
pub fn pool_goes_first(count: usize) {
    let token = Token::new(());
    let pool = Visits::pool(count + 1, &token);
    let away: Vec<_> = (0..count)
        .map(|_| {
            let loan = pool.try_take().unwrap();
            thread::spawn(move || drop(loan))
        })
        .collect();
    let here = pool.try_take().unwrap();
    drop(pool);
    drop(here);
    away.into_iter().for_each(|away| away.join().unwrap());
    assert_nothing_left(&token);
}
