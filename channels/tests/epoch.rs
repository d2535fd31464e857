//! A core that has voted and does not know the end: what each receiving end says meanwhile, and that nothing is lost.
#![cfg(not(loom))]

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::Stream;
use multikernel_channels::epoch::{self, Deciding};
use multikernel_channels::error::TryRecvError;
use multikernel_channels::hub::Hub;
use multikernel_channels::{broadcast, bulk, call, fanout, mpsc, oneshot, ring, spsc, watch};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that is polled by hand.
#[derive(Default)]
struct Task(Arc<Wakes>);

impl Task {
    fn poll<R>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
        poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.0))))
    }

    /// Polls, and holds it to: not ready, and woken to be polled again.
    #[track_caller]
    fn is_held<R>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) {
        let before = self.0.0.load(Ordering::Relaxed);
        assert!(self.poll(poll).is_pending(), "handed out too early");
        assert_eq!(self.0.0.load(Ordering::Relaxed), before + 1, "nobody else would wake it");
    }

    /// Polls, and holds it to: not ready, and not woken in vain.
    #[track_caller]
    fn waits<R>(&self, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) {
        let before = self.0.0.load(Ordering::Relaxed);
        assert!(self.poll(poll).is_pending());
        assert_eq!(self.0.0.load(Ordering::Relaxed), before);
    }
}

fn ready<R: std::fmt::Debug>(poll: Poll<R>) -> R {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not ready"),
    }
}

/// The calling thread is a core that has voted on round 1, once with a hub and once without.
fn prepared(test: impl Fn(&Deciding)) {
    let prepare_and_test = || {
        let deciding = Arc::new(Deciding::new(0));
        epoch::prepared(&deciding, 0);
        assert!(epoch::is_prepared() && !epoch::holds());
        test(&deciding);
        epoch::settled();
        assert!(!epoch::is_prepared() && !epoch::holds());
    };
    prepare_and_test();
    Hub::new().enter(prepare_and_test);
}

#[test]
fn rounds_only_grow() {
    let deciding = Deciding::new(3);
    deciding.publish(5);
    deciding.publish(4);
    assert_eq!(deciding.get(), 5);
}

#[test]
fn a_core_holds_what_is_newer_than_itself() {
    let deciding = Arc::new(Deciding::new(7));
    assert!(!epoch::holds(), "no core");
    epoch::prepared(&deciding, 7);
    assert!(!epoch::holds(), "nothing is being decided");
    deciding.publish(8);
    assert!(epoch::holds());
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(!epoch::holds(), "another thread has not voted"));
    });
    epoch::prepared(&deciding, 8);
    assert!(!epoch::holds(), "committed, and voted on the next");
    deciding.publish(9);
    epoch::settled();
    assert!(!epoch::holds());
}

#[test]
fn spsc_holds() {
    prepared(|deciding| {
        let (mut tx, mut rx) = spsc::channel(4);
        let task = Task::default();
        task.waits(|cx| rx.poll_recv(cx));
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1), "nothing is being decided");

        deciding.publish(1);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        task.waits(|cx| rx.poll_recv(cx));
        tx.try_send(2).unwrap();
        tx.try_send(3).unwrap();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        task.is_held(|cx| rx.poll_recv(cx));
        task.is_held(|cx| pin!(&mut rx).poll_next(cx));
        let mut messages = Vec::new();
        task.is_held(|cx| pin!(rx.recv_many(&mut messages, 2)).poll(cx));
        task.is_held(|cx| pin!(rx.recv()).poll(cx));
        assert_eq!((rx.len(), messages.len()), (2, 0));

        epoch::settled();
        assert_eq!(ready(task.poll(|cx| rx.poll_recv(cx))), Some(2));
        assert_eq!(rx.try_recv(), Ok(3));
    });
}

#[test]
fn the_end_of_an_spsc_is_held() {
    prepared(|deciding| {
        let (tx, mut rx) = spsc::channel::<u8>(4);
        deciding.publish(1);
        drop(tx);
        let task = Task::default();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        task.is_held(|cx| rx.poll_recv(cx));
        task.is_held(|cx| pin!(rx.recv_many(&mut Vec::new(), 2)).poll(cx));
        epoch::settled();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(ready(task.poll(|cx| rx.poll_recv(cx))), None);
    });
}

#[test]
fn the_rest_of_a_batch_is_held() {
    prepared(|deciding| {
        let (mut tx, mut rx) = spsc::channel(4);
        (1..=3).for_each(|number| tx.try_send(number).unwrap());
        let (task, mut messages) = (Task::default(), Vec::new());
        let taken = task.poll(|cx| pin!(rx.recv_many(&mut messages, 2)).poll(cx));
        assert_eq!((ready(taken), &messages[..]), (2, &[1, 2][..]));
        deciding.publish(1);
        task.is_held(|cx| pin!(rx.recv_many(&mut messages, 2)).poll(cx));
        epoch::settled();
        let taken = task.poll(|cx| pin!(rx.recv_many(&mut messages, 2)).poll(cx));
        assert_eq!((ready(taken), &messages[..]), (1, &[1, 2, 3][..]));
    });
}

#[test]
fn mpsc_holds() {
    prepared(|deciding| {
        let (tx, mut rx) = mpsc::channel(4);
        let task = Task::default();
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1), "nothing is being decided");

        deciding.publish(1);
        task.waits(|cx| rx.poll_recv(cx));
        std::thread::scope(|scope| {
            scope.spawn(|| tx.try_send(2).unwrap()); // by the lane of those that are no cores
        });
        tx.try_send(3).unwrap();
        let mut messages = Vec::new();
        for _ in 0..100 {
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            task.is_held(|cx| rx.poll_recv(cx));
            task.is_held(|cx| pin!(&mut rx).poll_next(cx));
            task.is_held(|cx| pin!(rx.recv_many(&mut messages, 2)).poll(cx));
        }
        assert_eq!((rx.len(), messages.len()), (2, 0));

        epoch::settled();
        let taken = task.poll(|cx| pin!(rx.recv_many(&mut messages, 4)).poll(cx));
        messages.sort_unstable();
        assert_eq!((ready(taken), &messages[..]), (2, &[2, 3][..]));
    });
}

#[test]
fn the_end_of_an_mpsc_is_held() {
    prepared(|deciding| {
        let (tx, mut rx) = mpsc::channel(4);
        tx.try_send(1).unwrap();
        deciding.publish(1);
        drop(tx);
        let task = Task::default();
        task.is_held(|cx| rx.poll_recv(cx));
        epoch::settled();
        assert_eq!(ready(task.poll(|cx| rx.poll_recv(cx))), Some(1));
        let again = Arc::new(Deciding::new(1));
        epoch::prepared(&again, 0);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        task.is_held(|cx| rx.poll_recv(cx));
        epoch::settled();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn broadcast_holds() {
    use broadcast::error::{RecvError, TryRecvError};
    prepared(|deciding| {
        let (tx, mut rx) = broadcast::channel(2);
        let task = Task::default();
        tx.send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));

        deciding.publish(1);
        task.waits(|cx| rx.poll_recv(cx));
        tx.send(2).unwrap();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        task.is_held(|cx| rx.poll_recv(cx));
        (3..=5).for_each(|number| assert_eq!(tx.send(number), Ok(1)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "nor that something is lost");
        task.is_held(|cx| rx.poll_recv(cx));

        epoch::settled();
        assert_eq!(ready(task.poll(|cx| rx.poll_recv(cx))), Err(RecvError::Lagged(2)));
        assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(4), Ok(5)));
        let again = Arc::new(Deciding::new(1));
        epoch::prepared(&again, 0);
        drop(tx);
        task.is_held(|cx| rx.poll_recv(cx));
        epoch::settled();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn watch_holds() {
    prepared(|deciding| {
        let (tx, mut rx) = watch::channel(0);
        let task = Task::default();
        tx.send(1).unwrap();
        assert!(ready(task.poll(|cx| pin!(rx.changed()).poll(cx))).is_ok());
        assert_eq!(*rx.borrow(), 1, "nothing is being decided");

        deciding.publish(1);
        task.waits(|cx| pin!(rx.changed()).poll(cx));
        tx.send(2).unwrap();
        task.is_held(|cx| pin!(rx.changed()).poll(cx));
        assert_eq!(*rx.borrow(), 1);
        assert_eq!(*rx.borrow_and_update(), 1);
        assert_eq!(rx.has_changed(), Ok(false));
        task.is_held(|cx| pin!(rx.wait_for(|number| *number == 2)).poll(cx).map(drop));
        tx.send(3).unwrap();
        drop(tx);
        task.is_held(|cx| pin!(rx.changed()).poll(cx));

        epoch::settled();
        assert!(ready(task.poll(|cx| pin!(rx.changed()).poll(cx))).is_ok());
        assert_eq!(*rx.borrow(), 3);
        let again = Arc::new(Deciding::new(1));
        epoch::prepared(&again, 0);
        task.is_held(|cx| pin!(rx.changed()).poll(cx));
        epoch::settled();
        assert!(ready(task.poll(|cx| pin!(rx.changed()).poll(cx))).is_err());
    });
}

#[test]
fn oneshot_holds() {
    prepared(|deciding| {
        let ((tx, mut rx), (other, mut never)) = (oneshot::channel(), oneshot::channel::<u8>());
        let (task, second) = (Task::default(), Task::default());
        deciding.publish(1);
        task.waits(|cx| pin!(&mut rx).poll(cx));
        tx.send(1).unwrap();
        drop(other);
        assert_eq!((rx.try_recv(), never.try_recv()), (Err(TryRecvError::Empty), Err(TryRecvError::Empty)));
        task.is_held(|cx| pin!(&mut rx).poll(cx));
        second.is_held(|cx| pin!(&mut never).poll(cx));
        epoch::settled();
        assert_eq!(ready(task.poll(|cx| pin!(&mut rx).poll(cx))), Ok(1));
        assert_eq!(ready(second.poll(|cx| pin!(&mut never).poll(cx))), Err(oneshot::Closed));
    });
}

#[test]
fn call_holds_questions_and_answers() {
    prepared(|deciding| {
        let (mut caller, mut callee) = call::channel::<u8, u8>();
        let (asks, serves) = (Task::default(), Task::default());
        let mut call = Box::pin(caller.call(1));
        asks.waits(|cx| call.as_mut().poll(cx));
        deciding.publish(1);
        serves.is_held(|cx| pin!(callee.next()).poll(cx));
        epoch::settled();
        let question = ready(serves.poll(|cx| pin!(callee.next()).poll(cx))).expect("it was asked");

        let again = Arc::new(Deciding::new(1));
        epoch::prepared(&again, 0);
        question.reply(2).unwrap();
        asks.is_held(|cx| call.as_mut().poll(cx));
        epoch::settled();
        assert_eq!(ready(asks.poll(|cx| call.as_mut().poll(cx))), Ok(2));
        drop(call);

        epoch::prepared(&again, 0);
        drop(callee);
        let mut call = Box::pin(caller.call(3));
        asks.is_held(|cx| call.as_mut().poll(cx));
        epoch::settled();
        assert_eq!(ready(asks.poll(|cx| call.as_mut().poll(cx))), Err(call::CallError::Closed(3)));
    });
}

#[test]
fn a_callee_is_not_told_of_the_end() {
    prepared(|deciding| {
        let (caller, mut callee) = call::channel::<u8, u8>();
        let serves = Task::default();
        serves.waits(|cx| pin!(callee.next()).poll(cx));
        deciding.publish(1);
        drop(caller);
        serves.is_held(|cx| pin!(callee.next()).poll(cx));
        epoch::settled();
        assert!(ready(serves.poll(|cx| pin!(callee.next()).poll(cx))).is_none());
    });
}

#[test]
fn fanout_holds() {
    prepared(|deciding| {
        let (mut asker, mut answerers) = fanout::flat::<u8, u8>(1);
        let (asks, serves) = (Task::default(), Task::default());
        let mut ask = Box::pin(asker.ask(1, u8::max));
        let mut serve = Box::pin(answerers[0].serve(async |number| number + 1));
        asks.waits(|cx| ask.as_mut().poll(cx));
        deciding.publish(1);
        serves.is_held(|cx| serve.as_mut().poll(cx));
        epoch::settled();
        assert!(serves.poll(|cx| serve.as_mut().poll(cx)).is_pending());

        let again = Arc::new(Deciding::new(1));
        epoch::prepared(&again, 0);
        asks.is_held(|cx| ask.as_mut().poll(cx));
        epoch::settled();
        assert_eq!(ready(asks.poll(|cx| ask.as_mut().poll(cx))), Ok(2));
    });
}

/// The bare ring knows nothing of rounds, and what is lent comes home at once. What is dropped is not handed out.
#[test]
fn what_is_not_held() {
    prepared(|deciding| {
        deciding.publish(1);
        let (mut tx, mut rx) = ring::ring(1);
        tx.try_push(1).unwrap();
        assert_eq!(rx.try_pop(), Ok(1));

        let pool = bulk::Pool::with(1, || 0, |_| ());
        let loan = pool.try_take().unwrap();
        std::thread::scope(|scope| scope.spawn(|| drop(loan)).join().unwrap());
        assert!(pool.try_take().is_some());

        let token = Arc::new(());
        let (tx, rx) = mpsc::channel(1);
        tx.try_send(Arc::clone(&token)).unwrap();
        drop(rx);
        let (tx, rx) = oneshot::channel();
        tx.send(Arc::clone(&token)).unwrap();
        drop(rx);
        assert_eq!(Arc::strong_count(&token), 1);
    });
}
