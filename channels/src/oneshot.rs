//! A channel for one message.
//!
//! [`channel`] allocates once, for the message, a state word and the places of two wakers. Such a channel lives too
//! short to be watched by a core (see [`spsc`](crate::spsc)), so whoever waits leaves its waker and the other end wakes
//! it at once. To ask the same core again and again, a [`call`](mod@crate::call) is cheaper: it is made once.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::oneshot;
//!
//! let (tx, rx) = oneshot::channel();
//! let worker = std::thread::spawn(move || tx.send(6 * 7));
//! assert_eq!(futures::executor::block_on(rx), Ok(42));
//! # worker.join().unwrap().unwrap();
//! ```

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use crate::budget::poll_proceed;
use crate::epoch;
use crate::error::{SendError, TryRecvError};
use crate::hub::{self, Look, come_back};
use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};

/// A channel for one message.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, rx) = multikernel_channels::oneshot::channel();
/// tx.send("hello").unwrap();
/// assert_eq!(rx.await, Ok("hello"));
/// # })
/// ```
///
/// What is sent must be `Send`, and is sent once:
///
/// ```compile_fail,E0277
/// let (tx, rx) = multikernel_channels::oneshot::channel();
/// std::thread::spawn(move || tx.send(std::rc::Rc::new(1)));
/// ```
///
/// ```compile_fail,E0382
/// let (tx, rx) = multikernel_channels::oneshot::channel();
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// ```
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        state: AtomicU32::new(0),
        message: UnsafeCell::new(None),
        sender: UnsafeCell::new(None),
        receiver: UnsafeCell::new(None),
    });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The sender is gone and has sent nothing, or the message has been received already.
///
/// ```
/// # futures::executor::block_on(async {
/// use multikernel_channels::oneshot;
///
/// let (tx, rx) = oneshot::channel::<u32>();
/// drop(tx);
/// assert_eq!(rx.await, Err(oneshot::Closed));
/// # })
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender is gone and has sent nothing")
    }
}

impl Error for Closed {}

/// The message was sent. Set together with the sender's `DONE`, and never after the receiver's.
const SENT: u32 = 1;

/// What an end says in the state word.
#[derive(Clone, Copy)]
struct End {
    /// It sends or receives nothing more.
    done: u32,
    /// Its waker is in its cell.
    waits: u32,
}

const SENDER: End = End { done: 2, waits: 4 };
const RECEIVER: End = End { done: 8, waits: 16 };

struct Shared<T> {
    state: AtomicU32,
    /// The sender's until `SENT`, then the receiver's (R30).
    message: UnsafeCell<Option<T>>,
    /// A cell for each end's waker (R31).
    sender: UnsafeCell<Option<Waker>>,
    receiver: UnsafeCell<Option<Waker>>,
}

// SAFETY: two threads at most use it, one through each end. The message changes hands once (R30), which is what
// `T: Send` allows; no `&T` is ever seen by both. A waker's cell is with one end at a time (R31), and wakers may be
// sent, dropped and woken anywhere.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Puts `waker` where the end opposite `me` finds it. False if that end is done, so that there is something to see.
    fn register(&self, me: End, waker: &Waker) -> bool {
        let other = opposite(me);
        // Relaxed: who is told that the other end is done looks again, with Acquire. The cell was last ours.
        if self.state.load(Ordering::Relaxed) & me.waits != 0
            && self.state.fetch_and(!me.waits, Ordering::Relaxed) & other.done != 0
        {
            return false;
        }
        // SAFETY: our waker is not announced, so the cell is ours (R31).
        let old = unsafe { self.replace_waker(me, Some(waker.clone())) };
        // Release: pairs with the Acquire in `finish` and `send`; the waker is there for whoever sees `waits`.
        let before = self.state.fetch_or(me.waits, Ordering::Release);
        drop(old);
        if before & other.done == 0 {
            return true;
        }
        // SAFETY: the other end was done before it could see the waker, and does not look again (R31).
        drop(unsafe { self.replace_waker(me, None) });
        false
    }

    /// `me` is done, if it was not before. Returns who is to be woken.
    fn finish(&self, me: End) -> Option<Waker> {
        // Relaxed: if the other end is done it has seen to both wakers, and our own bit is ours.
        if self.state.load(Ordering::Relaxed) & (me.done | opposite(me).done) != 0 {
            return None;
        }
        // AcqRel: Release pairs with the Acquire of an end that sees us done, Acquire with the Release in `register`.
        let before = self.state.fetch_or(me.done, Ordering::AcqRel);
        self.settle(before, me)
    }

    /// Sees to the wakers, after `me` became done in a state that was `before`: ours is dropped, the other returned.
    fn settle(&self, before: u32, me: End) -> Option<Waker> {
        let other = opposite(me);
        if before & other.done != 0 {
            return None;
        }
        if before & me.waits != 0 {
            // SAFETY: the other end was not done before us, so it leaves both cells alone (R31).
            drop(unsafe { self.replace_waker(me, None) });
        }
        // SAFETY: it was announced to us, who are done first (R31).
        if before & other.waits != 0 { unsafe { self.replace_waker(other, None) } } else { None }
    }

    /// Leaves `waker` in the cell of `end` and returns what was there.
    ///
    /// # Safety
    /// The cell is the caller's now (R31).
    unsafe fn replace_waker(&self, end: End, waker: Option<Waker>) -> Option<Waker> {
        let cell = if end.done == SENDER.done { &self.sender } else { &self.receiver };
        // SAFETY: said by the caller.
        cell.with_mut(|cell| unsafe { std::mem::replace(&mut *cell, waker) })
    }

    fn is_done(&self, end: End) -> bool {
        // Acquire: pairs with the Release in `finish`, for whoever acts upon it.
        self.state.load(Ordering::Acquire) & end.done != 0
    }
}

fn opposite(end: End) -> End {
    if end.done == SENDER.done { RECEIVER } else { SENDER }
}

/// The end to send from, once. Dropping it tells the receiver that nothing will come.
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, rx) = multikernel_channels::oneshot::channel();
/// tx.send("once").unwrap();
/// assert_eq!(rx.await, Ok("once"));
/// # })
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Sends `message`. Never waits.
    ///
    /// `Ok` says that the message is in the channel, not that it will be received: if the receiver goes first, it is
    /// dropped with it.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when the receiver is gone or has closed the channel.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::oneshot::channel();
    /// drop(rx);
    /// assert_eq!(tx.send(7).unwrap_err().0, 7);
    /// ```
    pub fn send(self, message: T) -> Result<(), SendError<T>> {
        let shared = &*self.shared;
        // SAFETY: not sent, so ours (R30).
        shared.message.with_mut(|place| unsafe { *place = Some(message) });
        let mark = |state| (state & RECEIVER.done == 0).then_some(state | SENT | SENDER.done);
        // AcqRel: Release pairs with the Acquire in `Receiver::look`, Acquire with the Release in `register`.
        match shared.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, mark) {
            Ok(before) => {
                shared.settle(before, SENDER).into_iter().for_each(Waker::wake);
                Ok(())
            }
            // SAFETY: the receiver is done and it is not marked as sent, so it stays ours (R30).
            Err(_) => match shared.message.with_mut(|place| unsafe { (*place).take() }) {
                Some(message) => Err(SendError(message)),
                None => unreachable!("it was put there above"),
            },
        }
    }

    /// Whether the receiver is gone or has closed the channel. That does not change again.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::oneshot::channel::<u32>();
    /// drop(rx);
    /// assert!(tx.is_closed()); // nobody wants it any more
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_done(RECEIVER)
    }

    /// Waits until the receiver is gone or has closed the channel: nobody wants the message any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, rx) = multikernel_channels::oneshot::channel::<u8>();
    /// drop(rx);
    /// tx.closed().await;
    /// assert!(tx.is_closed());
    /// # })
    /// ```
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// As [`closed`](Self::closed), one poll at a time.
    ///
    /// `Pending` wakes the task of the last poll.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, rx) = multikernel_channels::oneshot::channel::<u32>();
    /// drop(rx);
    /// std::future::poll_fn(|cx| tx.poll_closed(cx)).await;
    /// # })
    /// ```
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closed = self.is_closed() || !self.shared.register(SENDER, cx.waker());
        if closed { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.finish(SENDER).into_iter().for_each(Waker::wake);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("is_closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The end to receive from: a future of the message. Dropping it tells the sender that nobody wants the message.
///
/// # Cancel safety
///
/// A receiver may be polled by `&mut` and awaited later: nothing is lost if such a wait is given up.
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::oneshot::channel();
/// assert!(rx.try_recv().is_err());
/// tx.send(7).unwrap();
/// assert_eq!(rx.await, Ok(7));
/// # })
/// ```
#[must_use = "nothing is received before the future is polled"]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Takes the message if it is there.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when it has not been sent yet, [`TryRecvError::Closed`] when it will not be: the
    /// sender is gone, the channel was [closed](Self::close) before, or the message has been taken.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::error::TryRecvError;
    ///
    /// let (tx, mut rx) = multikernel_channels::oneshot::channel();
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(7).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(7));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.look(epoch::holds) {
            Look::Done(Ok(message)) => Ok(message),
            Look::Done(Err(Closed)) => Err(TryRecvError::Closed),
            Look::Nothing | Look::Held => {
                hub::hurry();
                Err(TryRecvError::Empty)
            }
        }
    }

    /// Closes the channel from this end: nothing can be sent any more. What was sent before can still be received.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::oneshot::channel();
    /// rx.close();
    /// assert!(tx.send(7).is_err());
    /// assert!(rx.await.is_err());
    /// # })
    /// ```
    pub fn close(&mut self) {
        self.shared.finish(RECEIVER).into_iter().for_each(Waker::wake);
    }

    /// The message, or that there will be none, unless `holds`.
    fn look(&mut self, holds: fn() -> bool) -> Look<Result<T, Closed>> {
        // Acquire: pairs with the Release in `send` and `finish`.
        let state = self.shared.state.load(Ordering::Acquire);
        if state & SENDER.done != 0 && holds() {
            return Look::Held;
        }
        if state & SENT != 0 {
            // SAFETY: it was sent, so it is ours (R30).
            let message = self.shared.message.with_mut(|place| unsafe { (*place).take() });
            return Look::Done(message.ok_or(Closed));
        }
        (state & (SENDER.done | RECEIVER.done) != 0).then_some(Err(Closed)).into()
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let progress = ready!(poll_proceed(cx));
        let mut found = this.look(epoch::holds);
        if matches!(found, Look::Nothing) && !this.shared.register(RECEIVER, cx.waker()) {
            found = this.look(epoch::holds);
        }
        match found {
            Look::Done(result) => {
                progress.made();
                Poll::Ready(result)
            }
            Look::Held => come_back(cx),
            Look::Nothing => Poll::Pending,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
        drop(self.look(|| false));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("is_closed", &self.shared.is_done(RECEIVER)).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc as StdArc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: StdArc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        /// How often it was woken, and how many wakers there are.
        fn counts(self: &StdArc<Self>) -> (usize, usize) {
            (self.0.load(Ordering::Relaxed), StdArc::strong_count(self) - 1)
        }
    }

    #[test]
    fn a_waiting_receiver_is_woken_once_and_its_wakers_go() {
        let wakes = StdArc::new(Wakes::default());
        let waker = Waker::from(StdArc::clone(&wakes));
        let (tx, rx) = channel();
        let mut rx = pin!(rx);
        for _ in 0..2 {
            assert!(rx.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(wakes.counts(), (0, 2));
        }
        tx.send(1).unwrap();
        assert_eq!(wakes.counts(), (1, 1));
        assert_eq!(rx.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(1)));
        assert_eq!(rx.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Err(Closed)));
        assert_eq!(wakes.counts(), (1, 1));
    }

    #[test]
    fn whoever_is_done_first_leaves_no_waker_behind() {
        let wakes = StdArc::new(Wakes::default());
        let waker = Waker::from(StdArc::clone(&wakes));
        let (mut tx, mut rx) = channel::<u8>();
        assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_pending());
        assert!(pin!(&mut rx).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(wakes.counts(), (0, 3));
        drop(rx);
        assert_eq!(wakes.counts(), (1, 1));
        assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_ready());
        drop(tx);

        let (mut tx, rx) = channel();
        assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_pending());
        tx.send(1).unwrap();
        assert_eq!(wakes.counts(), (1, 1));
        drop(rx);
    }

    #[test]
    fn a_message_is_dropped_once_wherever_it_stays() {
        let token = StdArc::new(());
        let copy = || StdArc::clone(&token);
        let left = || StdArc::strong_count(&token) - 1;
        let (tx, rx) = channel();
        tx.send(copy()).unwrap();
        assert_eq!(left(), 1);
        drop(rx);
        assert_eq!(left(), 0, "never received");

        let (tx, mut rx) = channel();
        tx.send(copy()).unwrap();
        rx.close();
        assert!(rx.try_recv().is_ok(), "sent before the close");
        let (tx, mut rx) = channel();
        rx.close();
        drop(tx.send(copy()).unwrap_err());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(left(), 0);
    }

    #[test]
    fn ends_move_between_threads_if_messages_do() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Sender<std::cell::Cell<u8>>>();
        crosses::<Receiver<std::cell::Cell<u8>>>();
    }
}
