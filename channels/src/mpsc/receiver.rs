//! The end to receive from.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::executor::block_on;

use crate::budget::poll_proceed;
use crate::epoch;
use crate::error::TryRecvError;
use crate::hub::{self, Look, Side, poll_port};
use crate::limits::{FOREIGN_LANE, LANE_MISSES, LANE_TURN};
use crate::mpsc::shared::{Ends, Miss, Shared};
use crate::sync::{Arc, SharedArc, thread};

/// The end of a [`channel`](crate::mpsc::channel) to receive from. Dropping it closes the channel: the senders get
/// their messages back, and those that wait are dropped.
///
/// ```
/// use futures::StreamExt;
///
/// # futures::executor::block_on(async {
/// let (tx, rx) = multikernel_channels::mpsc::channel(4);
/// for number in 1..=3 {
///     tx.send(number).await.unwrap();
/// }
/// drop(tx);
/// assert_eq!(rx.map(|number| number * 10).collect::<Vec<_>>().await, [10, 20, 30]); // it is a stream
/// # })
/// ```
pub struct Receiver<T> {
    lanes: Lanes<T>,
    ends: SharedArc<Ends>,
}

/// The lanes, as their one reader sees them.
struct Lanes<T> {
    shared: Arc<Shared<T>>,
    /// The lane whose turn it is.
    current: usize,
    /// How many more messages it may be asked for in this turn (R23).
    left: u32,
}

impl<T> Lanes<T> {
    /// Takes a message unless, when it has found one, `holds`.
    #[inline]
    fn pop(&mut self, holds: fn() -> bool) -> Look<T> {
        if self.left > 0 {
            // SAFETY: there is one receiver, these are its lanes, and it is borrowed by `&mut`.
            if let Ok(message) = unsafe { self.shared.pop(self.current, holds) } {
                self.left -= 1;
                return Look::Done(message);
            }
        }
        self.pop_elsewhere(holds)
    }

    /// Goes round all lanes that have been posted, from the one after the current to the current itself. Apart, because it
    /// is done for one message of many.
    #[inline(never)]
    fn pop_elsewhere(&mut self, holds: fn() -> bool) -> Look<T> {
        let ends = &self.shared.ends;
        for lane in ends.hints.after(self.current) {
            // SAFETY: as above.
            match unsafe { self.shared.pop(lane, holds) } {
                Ok(message) => {
                    self.current = lane;
                    self.left = LANE_TURN - 1;
                    return Look::Done(message);
                }
                Err(Miss::Held) => return Look::Held,
                Err(Miss::Empty(misses)) if misses >= LANE_MISSES => ends.withdraw(lane),
                Err(Miss::Empty(_)) => {}
            }
        }
        self.left = 0;
        if ends.credits.was_closed() { self.pop_anywhere(holds) } else { Look::Nothing }
    }

    /// After the end a sender may have gone without having posted its lane again (R22, R27).
    #[cold]
    fn pop_anywhere(&mut self, holds: fn() -> bool) -> Look<T> {
        for lane in self.shared.lanes() {
            // SAFETY: as above.
            match unsafe { self.shared.pop(lane, holds) } {
                Ok(message) => return Look::Done(message),
                Err(Miss::Held) => return Look::Held,
                Err(Miss::Empty(_)) => {}
            }
        }
        Look::Nothing
    }

    /// The next message, or `None` if there will be none, unless `holds`.
    #[inline]
    fn next(&mut self, holds: fn() -> bool) -> Look<Option<T>> {
        match self.pop(holds) {
            Look::Nothing if self.shared.ends.credits.is_finished() => {
                if holds() {
                    Look::Held
                } else {
                    Look::Done(None)
                }
            }
            found => found.map(Some),
        }
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        let ends = SharedArc::clone(&shared.ends);
        Self { lanes: Lanes { shared, current: FOREIGN_LANE, left: 0 }, ends }
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when nothing waits, [`TryRecvError::Closed`] when nothing waits and the channel is
    /// closed.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::error::TryRecvError;
    ///
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.try_send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.lanes.next(epoch::holds) {
            Look::Done(Some(message)) => {
                hub::notify(&self.ends, Side::Sender);
                Ok(message)
            }
            Look::Done(None) => Err(TryRecvError::Closed),
            Look::Nothing | Look::Held => {
                hub::hurry();
                Err(TryRecvError::Empty)
            }
        }
    }

    /// Waits for a message and takes it. `None` when the channel is closed and nothing waits: there will be no more.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no message has been taken.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(8);
    /// tx.send(1).await.unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv().await, Some(1));
    /// assert_eq!(rx.recv().await, None);
    /// # })
    /// ```
    #[inline]
    pub fn recv(&mut self) -> Receiving<'_, T> {
        Receiving(self)
    }

    /// As [`recv`](Self::recv), one poll at a time.
    ///
    /// `Pending` wakes the task of the last poll when there is a message or the channel is closed.
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
    /// tx.send(1).await.unwrap();
    /// assert_eq!(poll_fn(|cx| rx.poll_recv(cx)).await, Some(1));
    /// # })
    /// ```
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_end(cx, |lanes| lanes.next(epoch::holds))
    }

    /// Waits for messages and puts those that wait, at most `most`, at the end of `messages`. Says how many; zero when
    /// the channel is closed and nothing waits, or when `most` is zero.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no message has been taken.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(8);
    /// for number in 0..5 {
    ///     tx.send(number).await.unwrap();
    /// }
    /// let mut numbers = Vec::new();
    /// assert_eq!(rx.recv_many(&mut numbers, 4).await, 4);
    /// assert_eq!(numbers, [0, 1, 2, 3]);
    /// # })
    /// ```
    pub async fn recv_many(&mut self, messages: &mut Vec<T>, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        let mut take = |lanes: &mut Lanes<T>| {
            let before = messages.len();
            let first = lanes.next(epoch::holds);
            first.map(|first| {
                messages.extend(first);
                while (1..most).contains(&(messages.len() - before)) {
                    let Look::Done(message) = lanes.pop(epoch::holds) else { break };
                    messages.push(message);
                }
                messages.len() - before
            })
        };
        poll_fn(|cx| self.poll_end(cx, &mut take)).await
    }

    /// As [`recv`](Self::recv), for threads that may block.
    ///
    /// # Panics
    ///
    /// On a core, which would do nothing else meanwhile.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
    /// let sender = std::thread::spawn(move || tx.blocking_send("hello"));
    /// assert_eq!(rx.blocking_recv(), Some("hello"));
    /// assert_eq!(rx.blocking_recv(), None);
    /// # sender.join().unwrap().unwrap();
    /// ```
    pub fn blocking_recv(&mut self) -> Option<T> {
        assert!(!hub::is_core(), "blocking_recv on a core would stop all its tasks; use recv there");
        block_on(self.recv())
    }

    /// One poll of the receiving end: what `attempt` returns is a success, which the senders are told of.
    #[inline]
    fn poll_end<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Lanes<T>) -> Look<R>,
    ) -> Poll<R> {
        let progress = ready!(poll_proceed(cx));
        let done = ready!(poll_port(&self.ends, Side::Receiver, cx, || attempt(&mut self.lanes)));
        hub::notify(&self.ends, Side::Sender);
        progress.made();
        Poll::Ready(done)
    }

    /// Closes the channel from this end: no later send succeeds, and senders that wait get their messages back. What
    /// waits can still be received.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(8);
    /// tx.send(1).await.unwrap();
    /// rx.close();
    /// assert!(tx.send(2).await.is_err());
    /// assert_eq!(rx.recv().await, Some(1));
    /// assert_eq!(rx.recv().await, None);
    /// # })
    /// ```
    pub fn close(&mut self) {
        self.ends.credits.close();
    }

    /// How many messages wait, those included that are just being sent.
    ///
    /// ```
    /// # let (tx, mut rx) = multikernel_channels::mpsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert_eq!((tx.len(), rx.len()), (1, 1));
    /// # rx.close();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.credits.len()
    }

    /// Whether nothing waits.
    ///
    /// ```
    /// # let (tx, mut rx) = multikernel_channels::mpsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert!(!rx.is_empty());
    /// rx.try_recv().unwrap();
    /// assert!(rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that may wait: what [`channel`](crate::mpsc::channel) was called with.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::mpsc::channel::<u8>(3);
    /// assert_eq!((tx.capacity(), rx.capacity()), (3, 3));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.ends.credits.capacity()
    }

    /// Whether the channel is closed: all senders are gone, or the receiver has closed it. Messages may still wait.
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
    /// tx.try_send("last words").unwrap();
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// assert_eq!(rx.try_recv(), Ok("last words"));
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ends.credits.is_closed()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.ends.credits.close();
        drop(self.ends.receiver.forget());
        // A message may hold what its sender waits for, such as the place of an answer. So all of them go now, also
        // those that are just being sent: that takes a few stores of the sender's (R27).
        loop {
            match self.lanes.next(|| false) {
                Look::Done(Some(message)) => drop(message),
                Look::Done(None) => return,
                Look::Nothing | Look::Held => thread::yield_now(),
            }
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// What [`Receiver::recv`] returns.
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
/// tx.send("a message").await.unwrap();
/// let receiving = rx.recv(); // nothing has happened yet
/// assert_eq!(receiving.await, Some("a message"));
/// # })
/// ```
#[derive(Debug)]
#[must_use = "nothing is received before the future is polled"]
pub struct Receiving<'a, T>(&'a mut Receiver<T>);

impl<T> Future for Receiving<'_, T> {
    type Output = Option<T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_recv(cx)
    }
}

// Nothing here is pinned.
impl<T> Unpin for Receiver<T> {}
