//! The end to receive from.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;

use crate::budget::poll_proceed;
use crate::epoch;
use crate::error::TryRecvError;
use crate::hub::{self, Look, Side, poll_port};
use crate::ring::Consumer;
use crate::spsc::Ends;
use crate::sync::SharedArc;

/// The end of a [`channel`](crate::spsc::channel) to receive from. Dropping it closes the channel: the sender gets its messages back, and
/// those that wait are dropped.
///
/// ```
/// use futures::StreamExt;
///
/// # futures::executor::block_on(async {
/// let (mut tx, rx) = multikernel_channels::spsc::channel(4);
/// tx.send_many(&mut [1, 2, 3].into_iter()).await.unwrap();
/// drop(tx);
/// assert_eq!(rx.map(|number| number * 10).collect::<Vec<_>>().await, [10, 20, 30]); // it is a stream
/// # })
/// ```
pub struct Receiver<T> {
    consumer: Consumer<T>,
    ends: SharedArc<Ends>,
}

impl<T> Receiver<T> {
    pub(super) fn new(consumer: Consumer<T>, ends: SharedArc<Ends>) -> Self {
        Self { consumer, ends }
    }

    /// Takes the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when nothing waits, [`TryRecvError::Closed`] when nothing waits and the sender is gone.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::error::TryRecvError;
    ///
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.try_send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.consumer.look(epoch::holds) {
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
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(8);
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
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(1);
    /// tx.send(1).await.unwrap();
    /// assert_eq!(poll_fn(|cx| rx.poll_recv(cx)).await, Some(1));
    /// # })
    /// ```
    #[inline(always)]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.poll_end(cx, |consumer| consumer.look(epoch::holds))
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
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(8);
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
        let mut take = |consumer: &mut Consumer<T>| {
            let chunk = consumer.pop_chunk(most);
            let count = chunk.len();
            if count == 0 {
                drop(chunk);
                // Looks once more, and says whether there can be something later.
                let last = consumer.look(epoch::holds);
                return last.map(|last| last.into_iter().map(|message| messages.push(message)).count());
            }
            if epoch::holds() {
                return Look::Held;
            }
            messages.extend(chunk);
            Look::Done(count)
        };
        poll_fn(|cx| self.poll_end(cx, &mut take)).await
    }

    /// One poll of the receiving end: what `attempt` returns is a success, which the sender is told of.
    // Always: a call would cost a sixth of what a message does.
    #[inline(always)]
    fn poll_end<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Consumer<T>) -> Look<R>,
    ) -> Poll<R> {
        let progress = ready!(poll_proceed(cx));
        let done = ready!(poll_port(&self.ends, Side::Receiver, cx, || attempt(&mut self.consumer)));
        hub::notify(&self.ends, Side::Sender);
        progress.made();
        Poll::Ready(done)
    }

    /// Closes the channel from this end: no later send succeeds. What waits can still be received.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(8);
    /// tx.send(1).await.unwrap();
    /// rx.close();
    /// assert!(tx.send(2).await.is_err());
    /// assert_eq!(rx.recv().await, Some(1));
    /// assert_eq!(rx.recv().await, None);
    /// # })
    /// ```
    pub fn close(&mut self) {
        self.consumer.close();
        hub::notify(&self.ends, Side::Sender);
    }

    /// How many messages wait. The sender may be at work, so there may be more by the time of return.
    ///
    /// ```
    /// # let (mut tx, mut rx) = multikernel_channels::spsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert_eq!((tx.len(), rx.len()), (1, 1));
    /// # rx.close();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.consumer.len()
    }

    /// Whether nothing waits.
    ///
    /// ```
    /// # let (mut tx, mut rx) = multikernel_channels::spsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert!(!tx.is_empty());
    /// rx.try_recv().unwrap();
    /// assert!(tx.is_empty() && rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
    }

    /// The most messages that may wait: what [`channel`](crate::spsc::channel) was called with.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::spsc::channel::<u8>(3);
    /// assert_eq!((tx.capacity(), rx.capacity()), (3, 3));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.consumer.capacity()
    }

    /// Whether the channel is closed, from either end. Messages may still wait.
    ///
    /// ```
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(1);
    /// tx.try_send("last words").unwrap();
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// assert_eq!(rx.try_recv(), Ok("last words"));
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.consumer.is_closed()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.consumer.close();
        drop(self.ends.receiver.forget());
        hub::notify(&self.ends, Side::Sender);
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
/// let (mut tx, mut rx) = multikernel_channels::spsc::channel(1);
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

    #[inline(always)]
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
