//! A guest of a Machine whose clock may be stopped: it holds the clock from each wake to the end of the poll after it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;
use pin_project_lite::pin_project;

use super::clock::Clock;

const ASLEEP: u8 = 0;
const POLLING: u8 = 1;
/// Woken, and not polled since.
const WOKEN: u8 = 2;
/// It will not be polled any more.
const DONE: u8 = 3;

/// The way from whoever wakes the guest to its thread. The guest has a hold unless it is asleep or done.
struct Bell {
    clock: Arc<Clock>,
    state: AtomicU8,
    thread: AtomicWaker,
}

impl Bell {
    fn change(&self, to: u8, from: impl Fn(u8) -> bool) {
        let holds = |state| matches!(state, POLLING | WOKEN);
        // Before the state says so: at no time is a guest awake that has no hold.
        self.clock.start_hold();
        // AcqRel and Acquire: wakers and the guest hand the hold on to each other with the state.
        let changed =
            self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| from(state).then_some(to));
        let surplus = match changed {
            Ok(before) => usize::from(holds(before)) + usize::from(!holds(to)),
            Err(_) => 1,
        };
        (0..surplus).for_each(|_| self.clock.end_hold());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.change(WOKEN, |state| state != DONE);
        self.thread.wake();
    }
}

/// Sees to it that the bell lets go of the clock, also when a poll panics.
struct Stay(Arc<Bell>);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.change(DONE, |_| true);
    }
}

pin_project! {
    struct Guest<F> {
        #[pin]
        future: F,
        waker: Waker,
        stay: Stay,
    }
}

impl<F: Future> Future for Guest<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let bell = &this.stay.0;
        bell.thread.register(cx.waker());
        bell.change(POLLING, |_| true);
        let result = this.future.poll(&mut Context::from_waker(this.waker));
        if result.is_pending() {
            bell.change(ASLEEP, |state| state == POLLING);
        }
        result
    }
}

/// `future` as a guest of the Machine with this clock polls it.
pub(crate) async fn as_guest<F: Future>(clock: Arc<Clock>, future: F) -> F::Output {
    if !clock.can_stop() {
        return future.await;
    }
    clock.start_hold(); // it is about to be polled
    let bell = Arc::new(Bell { clock, state: AtomicU8::new(WOKEN), thread: AtomicWaker::new() });
    Guest { future, waker: Waker::from(bell.clone()), stay: Stay(bell) }.await
}
