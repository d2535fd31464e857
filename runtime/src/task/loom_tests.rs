//! The task life cycle on loom: the code that ships, in every order of steps within a bound on preemptions.
//!
//! Loom sees each plain field of a task (cells), its future and output (an `UnsafeCell`), its memory (leaks and double
//! frees) and its mailbox (an `Arc` that must be gone in the end). It does not see into `futures::task::AtomicWaker`,
//! which brings its own atomics: the models run through it, but only interleave at the steps of the wakers inside.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p multikernel --release --no-default-features --lib loom`

use std::future::{Future, pending, poll_fn};
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize as Count, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};
use multikernel_channels::sync::{Arc, AtomicUsize, Ordering, thread};

use super::*;
use crate::machine::mailbox::CoreUid;

/// Runs `scenario` in all orders with at most `preemptions` involuntary switches of thread, and sees that whatever a
/// [`Token`] stands for was dropped once.
pub(super) fn model(preemptions: usize, scenario: impl Fn(&Tokens) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        let tokens = Tokens::default();
        scenario(&tokens);
        let (made, dropped) = (tokens.0[0].load(Relaxed), tokens.0[1].load(Relaxed));
        assert_eq!(made, dropped, "a future or an output was lost, or dropped twice");
    });
}

/// How many tokens were made and dropped; not loom's business.
#[derive(Clone, Default)]
pub(super) struct Tokens(std::sync::Arc<[Count; 2]>);

/// In a future or an output: counts its drop.
pub(super) struct Token(Tokens);

impl Tokens {
    pub(super) fn token(&self) -> Token {
        self.0[0].fetch_add(1, Relaxed);
        Token(self.clone())
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Relaxed);
    }
}

/// A thread that waits; loom fails when it waits for ever.
struct Sleeper {
    woken: Mutex<bool>,
    bell: Condvar,
}

impl Wake for Sleeper {
    fn wake(self: std::sync::Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.bell.notify_one();
    }
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let sleeper = std::sync::Arc::new(Sleeper { woken: Mutex::new(false), bell: Condvar::new() });
    let waker = Waker::from(sleeper.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = sleeper.woken.lock().unwrap();
        while !*woken {
            woken = sleeper.bell.wait(woken).unwrap();
        }
        *woken = false;
    }
}

pub(super) fn mailbox(number: u64) -> Arc<Mailbox> {
    let number = NonZeroU64::new(number).unwrap();
    Mailbox::new(CoreUid(number), number, 0, |_| {}).unwrap()
}

/// The calling thread is the home of `mailbox` while `f` runs; then it ends.
pub(super) fn at_home<R>(mailbox: Arc<Mailbox>, f: impl FnOnce(&Home) -> R) -> R {
    let home = Home::new(mailbox);
    // SAFETY: it stays here until it leaves, below.
    unsafe { home.enter() };
    let result = f(&home);
    home.finish_all();
    home.leave();
    result
}

/// A turn of the loop.
pub(super) fn turn(home: &Home) {
    home.deliver(0);
    while home.run_one() {}
}

pub(super) fn turns_until(home: &Home, done: impl Fn() -> bool) {
    while !done() {
        turn(home);
        thread::yield_now();
    }
}

fn spawn<F: Future + 'static>(home: &Home, future: F) -> JoinHandle<F::Output> {
    spawn_at_home(home, future, Location::caller())
}

/// A task that never ends by itself, and its waker.
pub(super) fn forever(home: &Home, tokens: &Tokens) -> (JoinHandle<Token>, Waker) {
    let waker = std::rc::Rc::new(std::cell::Cell::new(None));
    let token = tokens.token();
    let slot = waker.clone();
    let handle = spawn(home, async move {
        poll_fn(|cx| Poll::Ready(slot.set(Some(cx.waker().clone())))).await;
        pending::<()>().await;
        token
    });
    assert!(home.run_one());
    (handle, waker.take().expect("it was polled"))
}

#[test]
fn loom_wakes_from_two_threads_reach_a_task_being_polled() {
    model(3, |tokens| {
        at_home(mailbox(1), |home| {
            let asked = Arc::new(AtomicUsize::new(0));
            let waker = std::rc::Rc::new(std::cell::Cell::new(None));
            let handle = spawn(home, {
                let (asked, slot, token) = (asked.clone(), waker.clone(), tokens.token());
                poll_fn(move |cx| {
                    let _alive = &token;
                    slot.set(Some(cx.waker().clone()));
                    // Relaxed: the wake brings it.
                    if asked.load(Ordering::Relaxed) == 2 { Poll::Ready(()) } else { Poll::Pending }
                })
            });
            assert!(home.run_one());
            let (one, other) = {
                let waker = waker.take().expect("it was polled");
                (waker.clone(), waker)
            };
            let ask = asked.clone();
            let one = thread::spawn(move || {
                ask.fetch_add(1, Ordering::Relaxed);
                one.wake();
            });
            let other = thread::spawn(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                other.wake_by_ref();
            });
            turns_until(home, || handle.is_finished());
            drop(waker.take());
            one.join().unwrap();
            other.join().unwrap();
        });
    });
}

#[test]
fn loom_a_wake_may_come_after_completion() {
    model(4, |tokens| {
        at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            let here = waker.clone();
            let there = thread::spawn(move || {
                waker.clone().wake();
                waker.wake();
            });
            handle.abort();
            turn(home);
            assert!(handle.is_finished());
            drop(handle);
            here.wake();
            turn(home);
            there.join().unwrap();
        });
    });
}

#[test]
fn loom_references_made_at_home_and_dropped_elsewhere_and_back() {
    model(4, |tokens| {
        at_home(mailbox(1), |home| {
            let (handle, first) = forever(home, tokens);
            let second = first.clone();
            let there = thread::spawn(move || {
                let made_there = first.clone();
                drop(first);
                made_there
            });
            let other = thread::spawn(move || {
                let again = second.clone();
                drop(second);
                drop(again);
            });
            handle.abort();
            turn(home);
            drop(handle);
            drop(there.join().unwrap());
            turn(home);
            other.join().unwrap();
        });
    });
}

#[test]
fn loom_the_last_reference_is_anywhere() {
    model(4, |tokens| {
        let (handle, waker) = at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            handle.abort();
            (handle, waker)
        });
        let other = waker.clone();
        let one = thread::spawn(move || drop(handle));
        let two = thread::spawn(move || waker.wake());
        drop(other);
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn loom_a_join_elsewhere_meets_completion() {
    model(4, |tokens| {
        let token = tokens.token();
        at_home(mailbox(1), |home| {
            let handle = spawn(home, async move { token });
            let there = thread::spawn(move || assert!(block_on(handle).is_ok()));
            turn(home);
            turn(home);
            // The rest is the end's: a join that comes late must not be lost either.
            there
        })
        .join()
        .unwrap();
    });
}

#[test]
fn loom_a_join_elsewhere_meets_the_end_of_the_core() {
    model(4, |tokens| {
        at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            drop(waker);
            thread::spawn(move || assert!(block_on(handle).is_err_and(|error| error.is_cancelled())))
        })
        .join()
        .unwrap();
    });
}

#[test]
fn loom_a_join_begun_at_home_ends_elsewhere() {
    model(4, |tokens| {
        let token = tokens.token();
        at_home(mailbox(1), |home| {
            let mut handle = spawn(home, async move { token });
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let there = thread::spawn(move || assert!(block_on(handle).is_ok()));
            turn(home);
            there
        })
        .join()
        .unwrap();
    });
}

#[test]
fn loom_a_detach_elsewhere_meets_completion() {
    model(5, |tokens| {
        let token = tokens.token();
        at_home(mailbox(1), |home| {
            let handle = spawn(home, async move { token });
            let there = thread::spawn(move || drop(handle));
            turn(home);
            turn(home);
            there
        })
        .join()
        .unwrap();
    });
}

#[test]
fn loom_an_abort_elsewhere_meets_completion() {
    model(4, |tokens| {
        let token = tokens.token();
        at_home(mailbox(1), |home| {
            let handle = spawn(home, async move {
                yield_now().await;
                token
            });
            let abort = handle.abort_handle();
            let there = thread::spawn(move || {
                abort.abort();
                drop(abort.clone());
            });
            home.run_one();
            turn(home);
            drop(handle);
            there
        })
        .join()
        .unwrap();
    });
}

#[test]
fn loom_wakes_meet_the_end_of_the_core() {
    model(4, |tokens| {
        let (one, other) = at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            drop(handle);
            let other = waker.clone();
            (thread::spawn(move || waker.wake()), thread::spawn(move || other.wake_by_ref()))
        });
        one.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn loom_a_detach_and_a_wake_meet_the_end_of_the_core() {
    model(4, |tokens| {
        let (one, other) = at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            (thread::spawn(move || waker.wake()), thread::spawn(move || drop(handle)))
        });
        one.join().unwrap();
        other.join().unwrap();
    });
}

/// A thread keeps the mailbox only through its task: posting must not outlive what it posts to.
#[test]
fn loom_the_mailbox_lasts_until_its_poster_has_rung() {
    model(5, |tokens| {
        let there = at_home(mailbox(1), |home| {
            let (handle, waker) = forever(home, tokens);
            handle.abort();
            drop(handle);
            let there = thread::spawn(move || waker.wake());
            turn(home);
            there
        });
        there.join().unwrap();
    });
}

/// What a thread does with the handle of a task it has sent to a core.
fn newborn(preemptions: usize, then: impl Fn(JoinHandle<Token>) + Send + Sync + Copy + 'static) {
    model(preemptions, move |tokens| {
        let target = mailbox(1);
        let machine = target.clone();
        let token = tokens.token();
        let there = thread::spawn(move || {
            let future = async move { token };
            then(spawn_elsewhere(&machine, future, Location::caller(), Moves::FREELY));
        });
        at_home(target, turn);
        there.join().unwrap();
    });
}

#[test]
fn loom_a_newborn_meets_the_end_of_its_core_and_is_joined() {
    newborn(4, |handle| {
        let _either = block_on(handle);
    });
}

#[test]
fn loom_a_newborn_meets_the_end_of_its_core_and_is_detached() {
    newborn(4, drop);
}

#[test]
fn loom_a_newborn_meets_the_end_of_its_core_and_is_aborted() {
    newborn(4, |handle| {
        let abort = handle.abort_handle();
        handle.abort();
        drop(handle);
        abort.abort();
    });
}

/// A drop that runs after the inbox has closed, on the thread that was the home, touches another task there.
#[test]
fn loom_what_is_left_in_the_inbox_lets_go_of_other_tasks() {
    model(4, |tokens| {
        let target = mailbox(1);
        let machine = target.clone();
        let (spawner, waker) = at_home(target, |home| {
            let (handle, waker) = forever(home, tokens);
            let other = waker.clone();
            let token = tokens.token();
            let spawner = thread::spawn(move || {
                let future = async move {
                    let _both = (token, handle, waker);
                    pending::<()>().await;
                };
                drop(spawn_elsewhere(&machine, future, Location::caller(), Moves::FREELY));
            });
            (spawner, thread::spawn(move || other.wake()))
        });
        spawner.join().unwrap();
        waker.join().unwrap();
    });
}

/// The handle of a newborn may reach the home before the newborn does.
#[test]
fn loom_a_handle_overtakes_its_newborn() {
    fn overtake(then: impl Fn(&Home, JoinHandle<Token>) + Send + Sync + 'static) {
        model(2, move |tokens| {
            let target = mailbox(1);
            let machine = target.clone();
            let token = tokens.token();
            at_home(target, |home| {
                let future = async move { token };
                let there = thread::spawn(move || {
                    spawn_elsewhere(&machine, future, Location::caller(), Moves::FREELY)
                });
                then(home, there.join().unwrap());
            });
        });
    }
    overtake(|_, handle| drop(handle));
    overtake(|home, handle| {
        handle.abort();
        handle.abort_handle().abort();
        turn(home);
        assert!(handle.is_finished());
    });
    overtake(|home, mut handle| {
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        turn(home);
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}
