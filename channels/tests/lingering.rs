//! When an end that finds nothing looks for a little longer, and what it must not hold up meanwhile.
#![cfg(not(loom))]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use multikernel_channels::hub::Hub;
use multikernel_channels::{budget, call, mpsc, spsc};

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

type Meanwhile = Box<dyn FnMut(u32) -> bool>;

thread_local! {
    static LOOKS: Cell<u32> = const { Cell::new(0) };
    static MEANWHILE: RefCell<Option<Meanwhile>> = const { RefCell::new(None) };
}

/// What the executor is asked at each look: counts, and does what the test wants to happen just then.
fn is_free() -> bool {
    LOOKS.set(LOOKS.get() + 1);
    let meanwhile = MEANWHILE.take();
    let Some(mut meanwhile) = meanwhile else { return true };
    let free = meanwhile(LOOKS.get());
    MEANWHILE.set(Some(meanwhile));
    free
}

/// From now on, at the look with that number.
fn meanwhile(f: impl FnMut(u32) -> bool + 'static) {
    LOOKS.set(0);
    MEANWHILE.set(Some(Box::new(f)));
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs `f` on a core that may linger, with a channel in which it has found something when it looked at what it watches.
fn on_a_core(f: impl FnOnce(&Hub, spsc::Sender<u32>, spsc::Receiver<u32>)) {
    let (mut tx, mut rx) = spsc::channel(8);
    let hub = Hub::new();
    hub.linger_while(is_free);
    hub.enter(|| {
        meanwhile(|_| true);
        assert!(poll(rx.recv()).is_pending());
        assert_eq!(LOOKS.get(), 0, "nothing has paid yet");
        elsewhere(|| tx.try_send(0).unwrap());
        assert_eq!(scan(&hub), 1);
        assert_eq!(poll(rx.recv()), Poll::Ready(Some(0)));
        f(&hub, tx, rx);
    });
    MEANWHILE.set(None);
}

/// On a thread that is no core.
fn elsewhere(f: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(f).join().unwrap());
}

/// What a core does between polls: how many were found to have something to do.
fn scan(hub: &Hub) -> usize {
    let mut woken = Vec::new();
    hub.scan(&mut woken);
    woken.len()
}

#[test]
fn an_end_lingers_where_it_has_paid_until_it_pays_no_more() {
    on_a_core(|hub, _tx, mut rx| {
        assert!(poll(rx.recv()).is_pending());
        let looks = LOOKS.get();
        assert!((2..1000).contains(&looks), "{looks} looks");
        assert!(!hub.has_lingered());
        assert!(poll(rx.recv()).is_pending());
        assert_eq!(LOOKS.get(), looks, "it was in vain, so it waits at once");
    });
}

#[test]
fn what_comes_meanwhile_is_received_in_the_same_poll() {
    on_a_core(|hub, mut tx, mut rx| {
        meanwhile(move |look| {
            if look == 5 {
                tx.try_send(7).unwrap();
            }
            true
        });
        assert_eq!(poll(rx.recv()), Poll::Ready(Some(7)));
        assert_eq!(LOOKS.get(), 5);
        assert!(hub.has_lingered() && !hub.has_lingered(), "it says so once");
    });
}

#[test]
fn who_lingers_has_had_its_turn_sooner() {
    on_a_core(|_, mut tx, mut rx| {
        meanwhile(move |_| tx.try_send(1).is_ok());
        budget::refill(8, 8);
        assert_eq!(poll(rx.recv()), Poll::Ready(Some(1)));
        assert_eq!(poll(rx.recv()), Poll::Ready(Some(1)));
        assert!(poll(rx.recv()).is_pending(), "each has taken as much as four messages that were there");
        budget::lift();
    });
}

#[test]
fn a_core_with_something_else_to_do_does_not_linger() {
    on_a_core(|_, _tx, mut rx| {
        meanwhile(|look| look < 3);
        assert!(poll(rx.recv()).is_pending());
        assert_eq!(LOOKS.get(), 3);
        // That was no failure.
        assert!(poll(rx.recv()).is_pending());
        assert_eq!(LOOKS.get(), 4);
    });
}

#[test]
fn another_channel_that_is_watched_is_not_held_up() {
    let (other_tx, mut other) = mpsc::channel(8);
    on_a_core(|_, _tx, mut rx| {
        assert!(poll(other.recv()).is_pending());
        meanwhile(move |look| {
            if look == 2 {
                elsewhere(|| other_tx.try_send(1).unwrap());
            }
            true
        });
        assert!(poll(rx.recv()).is_pending());
        assert_eq!(LOOKS.get(), 2);
        assert_eq!(poll(other.recv()), Poll::Ready(Some(1)));
    });
}

#[test]
fn who_waits_for_what_this_core_has_sent_is_woken_first() {
    let (mut question, mut asked) = spsc::channel(8);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    elsewhere(|| assert!(asked.poll_recv(&mut Context::from_waker(&waker)).is_pending()));
    on_a_core(|_, _tx, mut rx| {
        question.try_send("what?").unwrap();
        assert_eq!(wakes.count(), 0, "that can wait");
        let before = Arc::clone(&wakes);
        meanwhile(move |_| before.count() == 1);
        assert!(poll(rx.recv()).is_pending());
        assert!(LOOKS.get() > 1 && wakes.count() == 1);
    });
}

#[test]
fn who_waits_for_room_does_not_linger() {
    let (mut tx, mut rx) = spsc::channel(1);
    let hub = Hub::new();
    hub.linger_while(is_free);
    hub.enter(|| {
        meanwhile(|_| true);
        for number in 0..3 {
            tx.try_send(number).unwrap();
            assert!(poll(tx.send(99)).is_pending());
            elsewhere(|| assert_eq!(rx.try_recv(), Ok(number)));
            assert_eq!(scan(&hub), 1);
        }
        assert_eq!(LOOKS.get(), 0);
    });
}

#[test]
fn both_ends_of_a_call_linger() {
    let (mut caller, mut callee) = call::channel::<u32, u32>();
    let hub = Hub::new();
    hub.linger_while(is_free);
    let ask = |caller: &mut call::Caller<u32, u32>| {
        let mut calling = pin!(caller.call(1));
        assert!(calling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        elsewhere(|| {
            let Poll::Ready(Some(question)) = poll(callee.next()) else { panic!("it was asked") };
            question.reply(2).unwrap();
        });
        assert_eq!(scan(&hub), 1);
        assert_eq!(calling.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(2)));
    };
    hub.enter(|| {
        meanwhile(|_| true);
        let mut ask = ask;
        ask(&mut caller);
        assert_eq!(LOOKS.get(), 0);
        ask(&mut caller);
        assert!(LOOKS.get() > 1);
    });
}

#[test]
fn a_thread_that_is_not_asked_to_does_not_linger() {
    let (mut tx, mut rx) = spsc::channel(8);
    let hub = Hub::new();
    hub.enter(|| {
        for number in 0..3 {
            assert!(poll(rx.recv()).is_pending());
            elsewhere(|| tx.try_send(number).unwrap());
            assert_eq!(scan(&hub), 1);
            assert_eq!(poll(rx.recv()), Poll::Ready(Some(number)));
        }
        assert!(!hub.has_lingered());
    });
}
