//! What must hold of ends that wait, on threads that are cores and on threads that are not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use multikernel_channels::error::{TryRecvError, TrySendError};
use multikernel_channels::hub::Hub;
use multikernel_channels::spsc;
use multikernel_channels::sync::{AtomicBool, Ordering, per_thread, thread};

use super::{Bell, Token, assert_nothing_left};

/// What runs a future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// A thread that only polls and sleeps.
    Plain,
    /// A thread with a hub.
    Core,
    /// As before, and its ends look once more before they wait.
    Lingering,
}

per_thread! {
    static IS_FREE: bool = false
}

/// Every other time: then an end that lingers looks twice.
fn now_and_then() -> bool {
    IS_FREE.with(|is_free| is_free.replace(!is_free.get()))
}

/// What may run the two ends of a channel: the first or the sending one, then the other.
pub const RUNNERS: [[Runner; 2]; 4] = [
    [Runner::Plain, Runner::Plain],
    [Runner::Plain, Runner::Core],
    [Runner::Core, Runner::Plain],
    [Runner::Core, Runner::Core],
];

/// A thread that sleeps on a bell, as a waker.
struct Sleeper<B> {
    bell: B,
    woken: AtomicBool,
}

impl<B: Bell> Wake for Sleeper<B> {
    fn wake(self: StdArc<Self>) {
        self.woken.store(true, Ordering::Release); // pairs with the Acquire in `is_woken`
        if self.bell.must_ring() {
            self.bell.ring();
        }
    }
}

impl<B: Bell> Sleeper<B> {
    fn new(bell: B) -> StdArc<Self> {
        StdArc::new(Self { bell, woken: AtomicBool::new(false) })
    }

    fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire) // pairs with the Release in `wake`
    }

    fn sleep(&self, may_sleep: impl FnOnce() -> bool) {
        self.bell.prepare_park();
        if may_sleep() && !self.is_woken() {
            self.bell.sleep();
            self.bell.drain();
        } else {
            thread::yield_now(); // perhaps another thread is at the gate: loom must know that it has to go on
        }
        self.bell.unpark();
        self.woken.store(false, Ordering::Relaxed); // what woke us is seen by the next poll
    }
}

/// Runs `future` to its end.
pub fn run<B: Bell, F: Future>(runner: Runner, bell: B, future: F) -> F::Output {
    let sleeper = Sleeper::new(bell);
    let waker = Waker::from(StdArc::clone(&sleeper));
    let mut future = pin!(future);
    let mut poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
    if runner == Runner::Plain {
        loop {
            if let Poll::Ready(output) = poll() {
                return output;
            }
            sleeper.sleep(|| true);
        }
    }
    let hub = Hub::new();
    if runner == Runner::Lingering {
        hub.linger_while(now_and_then);
    }
    hub.enter(|| {
        loop {
            if let Poll::Ready(output) = poll() {
                return output;
            }
            turn(&hub, &sleeper);
        }
    })
}

/// What a core does between two polls when nothing is left to poll.
fn turn<B: Bell>(hub: &Hub, sleeper: &Sleeper<B>) {
    let mut woken = Vec::new();
    hub.scan(&mut woken);
    hub.prepare_park(&mut woken);
    sleeper.sleep(|| hub.may_sleep(&mut woken) && woken.is_empty());
    woken.into_iter().for_each(Waker::wake);
}

/// All that is sent arrives, in order, whoever waits for whom, and then the receiver is told that there is no more.
pub fn spsc_passes_all_then_closes<B: Bell>(
    bell: fn() -> B,
    [sending, receiving]: [Runner; 2],
    capacity: usize,
    messages: usize,
) {
    let token = Token::new(());
    let (mut tx, mut rx) = spsc::channel(capacity);
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            run(sending, bell(), async move {
                for number in 0..messages {
                    tx.send((number, Token::clone(&token))).await.expect("the receiver stays");
                }
            });
        }
    });
    run(receiving, bell(), async move {
        for number in 0..messages {
            assert_eq!(rx.recv().await.expect("more to come").0, number);
        }
        assert!(rx.recv().await.is_none());
    });
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// The same, many at once.
pub fn spsc_passes_batches<B: Bell>(
    bell: fn() -> B,
    [sending, receiving]: [Runner; 2],
    capacity: usize,
    messages: usize,
) {
    let token = Token::new(());
    let (mut tx, mut rx) = spsc::channel(capacity);
    let sender = thread::spawn({
        let token = Token::clone(&token);
        move || {
            let mut all = (0..messages).map(|number| (number, Token::clone(&token)));
            assert_eq!(run(sending, bell(), tx.send_many(&mut all)), Ok(messages));
        }
    });
    run(receiving, bell(), async move {
        let (mut expected, mut batch) = (0, Vec::new());
        while rx.recv_many(&mut batch, 2).await > 0 {
            for (number, _token) in batch.drain(..) {
                assert_eq!(number, expected);
                expected += 1;
            }
        }
        assert_eq!(expected, messages);
    });
    sender.join().unwrap();
    assert_nothing_left(&token);
}

/// A receiver that goes wakes a sender that waits for room, which gets its message back.
pub fn spsc_tells_the_sender<B: Bell>(bell: fn() -> B, [sending, receiving]: [Runner; 2], received: usize) {
    let token = Token::new(());
    let (mut tx, mut rx) = spsc::channel(1);
    let receiver = thread::spawn(move || {
        run(receiving, bell(), async move {
            for number in 0..received {
                assert_eq!(rx.recv().await.map(|message: (usize, Token)| message.0), Some(number));
            }
        });
    });
    let sent = run(sending, bell(), async {
        let mut sent = 0;
        while tx.send((sent, Token::clone(&token))).await.is_ok() {
            sent += 1;
        }
        tx.closed().await;
        sent
    });
    // One may have waited in the channel, and one be pushed by a sender that looked before the receiver went.
    assert!((received..=received + 2).contains(&sent));
    receiver.join().unwrap();
    drop(tx);
    assert_nothing_left(&token);
}

/// A receiver that waited on one core and then waits elsewhere is woken there, whatever the first core still believes.
pub fn spsc_receiver_moves<B: Bell>(bell: fn() -> B, then: Runner) {
    let (mut tx, mut rx) = spsc::channel(1);
    let first = thread::spawn(move || {
        let (hub, sleeper) = (Hub::new(), Sleeper::new(bell()));
        hub.enter(|| {
            let waker = Waker::from(StdArc::clone(&sleeper));
            let first = rx.poll_recv(&mut Context::from_waker(&waker));
            let second = thread::spawn(move || match first {
                Poll::Ready(message) => message,
                Poll::Pending => run(then, bell(), rx.recv()),
            });
            let mut woken = Vec::new();
            hub.scan(&mut woken);
            hub.prepare_park(&mut woken);
            sleeper.bell.prepare_park();
            let _ = hub.may_sleep(&mut woken);
            sleeper.bell.unpark();
            woken.into_iter().for_each(Waker::wake);
            second
        })
    });
    run(Runner::Plain, bell(), tx.send(7)).unwrap();
    assert_eq!(first.join().unwrap().join().unwrap(), Some(7));
}

/// Questions and answers between two ends that linger.
pub fn spsc_goes_to_and_fro<B: Bell>(bell: fn() -> B, [asking, answering]: [Runner; 2], rounds: usize) {
    let (mut questions, mut asked) = spsc::channel(1);
    let (mut answers, mut answered) = spsc::channel(1);
    let other = thread::spawn(move || {
        run(answering, bell(), async move {
            while let Some(number) = asked.recv().await {
                answers.send(number).await.expect("who asks waits for the answer");
            }
        });
    });
    run(asking, bell(), async move {
        for number in 0..rounds {
            questions.send(number).await.expect("there is who answers");
            assert_eq!(answered.recv().await, Some(number));
        }
    });
    other.join().unwrap();
}

/// Sends and receives without waiting on two cores: what was put off is done before a core sleeps.
pub fn spsc_try_ends<B: Bell>(bell: fn() -> B) {
    let (mut tx, mut rx) = spsc::channel(1);
    let sender = thread::spawn(move || {
        let hub = Hub::new();
        hub.enter(|| {
            assert_eq!(tx.try_send(1), Ok(()));
            match tx.try_send(2) {
                Ok(()) => true,
                Err(TrySendError::Full(2)) => false,
                Err(error) => panic!("{error:?}"),
            }
        })
    });
    let first = run(Runner::Core, bell(), rx.recv());
    assert_eq!(first, Some(1));
    let both = sender.join().unwrap();
    let rest = rx.try_recv();
    assert_eq!(rest, if both { Ok(2) } else { Err(TryRecvError::Closed) });
}
