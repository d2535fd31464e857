//! Handing tasks over, on loom: beside wakes, aborts, joins and drops on other threads, and while either core ends.

use std::future::{Future, pending, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use multikernel_channels::sync::{Arc, AtomicUsize, Ordering, thread};

use super::loom_tests::{Token, Tokens, at_home, block_on, mailbox, model, turn, turns_until};
use super::*;

fn is_ready<T>(handle: &mut JoinHandle<T>) -> bool {
    Pin::new(handle).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A task is handed over before its first poll while its handle is in use elsewhere; both cores may end meanwhile.
fn newborn(preemptions: usize, then: impl Fn(&Home, JoinHandle<Token>) + Send + Sync + Copy + 'static) {
    model(preemptions, move |tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let target = to.clone();
        let token = tokens.token();
        let there = at_home(from, |home| {
            let handle = spawn_movable(home, async move { token }, Location::caller());
            let there = thread::spawn(move || at_home(to, |home| then(home, handle)));
            home.hand_over(|| Some(&target));
            turn(home);
            there
        });
        there.join().unwrap();
    });
}

#[test]
fn loom_a_newborn_is_handed_over_and_joined_there() {
    newborn(3, |home, mut handle| {
        if !is_ready(&mut handle) {
            turn(home);
            is_ready(&mut handle);
        }
    });
}

#[test]
fn loom_a_newborn_is_handed_over_and_aborted_or_detached_there() {
    newborn(3, |home, handle| {
        handle.abort();
        turn(home);
        drop(handle);
    });
    newborn(3, |_, handle| drop(handle));
}

/// Spawns a task that has been polled once, and is queued again. It completes when `asked` has become one. Gives a waker, too.
fn begun(home: &Home, token: Token, asked: Arc<AtomicUsize>) -> (JoinHandle<Token>, Waker) {
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
    let there = slot.clone();
    let future = async move {
        poll_fn(|cx| {
            *there.lock().unwrap() = Some(cx.waker().clone());
            // Relaxed: the wake brings it.
            if asked.load(Ordering::Relaxed) == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        token
    };
    let handle = spawn_movable(home, future, Location::caller());
    assert!(home.run_one());
    let waker = slot.lock().unwrap().take().expect("it was polled");
    waker.wake_by_ref();
    (handle, waker)
}

/// The task runs to its end and is joined, here or on the core that it has gone to.
fn ends_where_it_is(
    home: &Home,
    handle: JoinHandle<Token>,
    gone_to: Option<Arc<Mailbox>>,
) -> Option<thread::JoinHandle<()>> {
    let ends = |home: &Home, mut handle: JoinHandle<Token>| {
        turns_until(home, || handle.is_finished());
        assert!(is_ready(&mut handle));
    };
    match gone_to {
        Some(to) => Some(thread::spawn(move || at_home(to, |home| ends(home, handle)))),
        None => {
            ends(home, handle);
            None
        }
    }
}

/// A begun task goes from one core to another while `elsewhere` uses its waker on a third thread, and `there` its handle on the
/// second.
fn in_use(
    preemptions: usize,
    elsewhere: impl Fn(Waker, Arc<AtomicUsize>) + Send + Sync + Copy + 'static,
    there: impl Fn(&Home, JoinHandle<Token>) + Send + Sync + Copy + 'static,
) {
    model(preemptions, move |tokens: &Tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let target = to.clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let token = tokens.token();
        let (third, second) = at_home(from, |home| {
            let (handle, waker) = begun(home, token, asked.clone());
            let third = thread::spawn(move || elsewhere(waker, asked));
            let second = thread::spawn(move || at_home(to, |home| there(home, handle)));
            home.hand_over(|| Some(&target));
            turn(home);
            (third, second)
        });
        third.join().unwrap();
        second.join().unwrap();
    });
}

/// Whichever core the task is on, the wake must find it.
#[test]
fn loom_a_wake_finds_a_task_that_is_handed_over() {
    model(4, |tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let asked = Arc::new(AtomicUsize::new(0));
        let token = tokens.token();
        let (third, second) = at_home(from, |home| {
            let (handle, waker) = begun(home, token, asked.clone());
            let third = thread::spawn(move || {
                asked.store(1, Ordering::Relaxed); // the wake brings it
                waker.wake();
            });
            // If the wake was on its way, the task is claimed by its message and stays.
            let has_gone = home.hand_over(|| Some(&to)) == 1;
            (third, ends_where_it_is(home, handle, has_gone.then_some(to)))
        });
        third.join().unwrap();
        second.into_iter().for_each(|second| second.join().unwrap());
    });
}

/// A task that waits leaves before the one that is due, which keeps its place. A wake comes meanwhile.
#[test]
fn loom_a_wake_meets_a_task_that_makes_way_for_another() {
    model(3, |tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let asked = Arc::new(AtomicUsize::new(0));
        let (token, other) = (tokens.token(), tokens.token());
        let (third, second) = at_home(from, |home| {
            let (handle, waker) = begun(home, token, asked.clone());
            assert!(home.run_one()); // it waits now
            let due = spawn_movable(home, async move { other }, Location::caller());
            let third = thread::spawn(move || {
                asked.store(1, Ordering::Relaxed); // the wake brings it
                waker.wake();
            });
            assert_eq!(home.hand_others_over(1, || Some(&to)), 1);
            assert!(home.run_one() && due.is_finished());
            let has_gone = home.sent() == 1;
            (third, ends_where_it_is(home, handle, has_gone.then_some(to)))
        });
        third.join().unwrap();
        second.into_iter().for_each(|second| second.join().unwrap());
    });
}

#[test]
fn loom_wakes_meet_a_hand_over_and_the_end_of_both_cores() {
    let wake = |waker: Waker, asked: Arc<AtomicUsize>| {
        asked.store(1, Ordering::Relaxed); // the wake brings it
        waker.wake_by_ref();
        drop(waker.clone());
        waker.wake();
    };
    in_use(2, wake, |home, handle| {
        turn(home);
        drop(handle);
    });
}

#[test]
fn loom_an_abort_meets_a_hand_over() {
    in_use(
        2,
        |waker, _| drop(waker),
        |home, mut handle| {
            handle.abort();
            turn(home);
            is_ready(&mut handle);
        },
    );
}

#[test]
fn loom_a_handle_is_dropped_while_its_task_is_handed_over() {
    in_use(3, |waker, _| drop(waker), |_, handle| drop(handle));
}

/// The handle stays behind: it was local, and is remote now.
#[test]
fn loom_a_join_begun_at_home_follows_the_task() {
    model(3, |tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let target = to.clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let token = tokens.token();
        let (handle, second) = at_home(from, |home| {
            let (mut handle, waker) = begun(home, token, asked.clone());
            asked.store(1, Ordering::Relaxed); // goes with the task
            assert!(!is_ready(&mut handle));
            let second = thread::spawn(move || at_home(to, turn));
            home.hand_over(|| Some(&target));
            // A reference that was made here, and is dropped where the task is no more.
            drop(waker);
            (handle, second)
        });
        let _either = block_on(handle);
        second.join().unwrap();
    });
}

/// There and back while somebody wakes it.
#[test]
fn loom_a_task_comes_back() {
    model(2, |tokens| {
        let (from, to) = (mailbox(1), mailbox(2));
        let (target, back) = (to.clone(), from.clone());
        let token = tokens.token();
        let (third, second) = at_home(from, |home| {
            let future = async move {
                pending::<()>().await;
                token
            };
            let handle = spawn_movable(home, future, Location::caller());
            let abort = handle.abort_handle();
            drop(handle);
            let third = thread::spawn(move || abort.abort());
            let second = thread::spawn(move || {
                at_home(to, |home| {
                    home.deliver(0);
                    home.hand_over(|| Some(&back));
                    turn(home);
                });
            });
            home.hand_over(|| Some(&target));
            turn(home);
            (third, second)
        });
        third.join().unwrap();
        second.join().unwrap();
    });
}
