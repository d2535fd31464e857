//! The end to send into.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Sink;

use crate::budget::poll_proceed;
use crate::error::{SendError, TrySendError};
use crate::hub::{self, Side, poll_port};
use crate::ring::{Producer, PushError};
use crate::spsc::Ends;
use crate::sync::{Ordering, SharedArc};

/// The end of a [`channel`](crate::spsc::channel) to send into. Dropping it closes the channel: the receiver gets the rest and is told.
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut tx, mut rx) = multikernel_channels::spsc::channel(4);
/// tx.send("the last").await.unwrap();
/// drop(tx);
/// assert_eq!(rx.recv().await, Some("the last"));
/// assert_eq!(rx.recv().await, None);
/// # })
/// ```
pub struct Sender<T> {
    producer: Producer<T>,
    ends: SharedArc<Ends>,
}

impl<T> Sender<T> {
    pub(super) fn new(producer: Producer<T>, ends: SharedArc<Ends>) -> Self {
        Self { producer, ends }
    }

    /// Sends `message` if there is room.
    ///
    /// `Ok` says that the message is in the channel, not that it will be received: if the receiver goes first, it is
    /// dropped with it.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] when as many messages wait as the channel holds, [`TrySendError::Closed`] when the
    /// receiver is gone. Both give the message back.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::error::TrySendError;
    ///
    /// let (mut tx, rx) = multikernel_channels::spsc::channel(1);
    /// tx.try_send(1).unwrap();
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    /// drop(rx);
    /// assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
    /// ```
    #[inline]
    pub fn try_send(&mut self, message: T) -> Result<(), TrySendError<T>> {
        match self.producer.try_push(message) {
            Ok(()) => {
                hub::notify(&self.ends, Side::Receiver);
                Ok(())
            }
            Err(PushError::Full(message)) => {
                hub::hurry();
                Err(TrySendError::Full(message))
            }
            Err(PushError::Closed(message)) => Err(TrySendError::Closed(message)),
        }
    }

    /// Waits for room and sends `message`.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when the receiver is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the message has not been sent, and is dropped with it.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, rx) = multikernel_channels::spsc::channel(8);
    /// tx.send("kept").await.unwrap();
    /// drop(rx);
    /// assert_eq!(tx.send("given back").await.unwrap_err().0, "given back");
    /// # })
    /// ```
    #[inline]
    pub fn send(&mut self, message: T) -> Sending<'_, T> {
        Sending { sender: self, unsent: Some(message) }
    }

    /// Waits for room and sends, until `messages` has no more, and says how many it had. Takes a message only when
    /// there is room for it, and hands over many at once where it can.
    ///
    /// # Errors
    ///
    /// [`SendError`] when the receiver is gone. What has not been sent is still in the iterator.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, what has not been sent is still in the iterator.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, mut rx) = multikernel_channels::spsc::channel(8);
    /// let mut letters = vec!['a', 'b', 'c'];
    /// assert_eq!(tx.send_many(&mut letters.drain(..)).await, Ok(3));
    ///
    /// let mut received = Vec::new();
    /// assert_eq!(rx.recv_many(&mut received, 100).await, 3);
    /// assert_eq!(received, ['a', 'b', 'c']);
    /// # })
    /// ```
    pub async fn send_many<I>(&mut self, messages: &mut I) -> Result<usize, SendError<()>>
    where
        I: ExactSizeIterator<Item = T>,
    {
        let mut total = 0;
        while messages.len() > 0 {
            let sent = poll_fn(|cx| {
                self.poll_end(cx, |producer| match producer.push_from(messages) {
                    Ok(0) if messages.len() > 0 => None,
                    Ok(sent) => Some(Ok(sent)),
                    Err(_) => Some(Err(SendError(()))),
                })
            });
            total += sent.await?;
        }
        Ok(total)
    }

    /// Waits until the receiver is gone or has [closed](crate::spsc::Receiver::close) the channel.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (mut tx, rx) = multikernel_channels::spsc::channel::<u8>(8);
    /// drop(rx);
    /// tx.closed().await;
    /// assert!(tx.is_closed());
    /// # })
    /// ```
    pub async fn closed(&mut self) {
        /// The sender waits for room again, also if the future is dropped.
        struct ForRoom<'a>(&'a Ends);
        impl Drop for ForRoom<'_> {
            fn drop(&mut self) {
                self.0.for_close_only.store(false, Ordering::Relaxed);
            }
        }
        // Relaxed, here and there: read on this thread; or before the core sleeps, or by a core that has watched for
        // this end before, and to be woken for nothing does no harm.
        self.ends.for_close_only.store(true, Ordering::Relaxed);
        let _restore = ForRoom(&self.ends);
        let closed = || self.producer.is_closed().then_some(());
        poll_fn(|cx| poll_port(&self.ends, Side::Sender, cx, closed)).await;
    }

    /// One poll of the sending end: what `attempt` returns is a success, which the receiver is told of.
    // Always: a call would cost a sixth of what a message does.
    #[inline(always)]
    fn poll_end<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Producer<T>) -> Option<R>,
    ) -> Poll<R> {
        let progress = ready!(poll_proceed(cx));
        let done = ready!(poll_port(&self.ends, Side::Sender, cx, || attempt(&mut self.producer)));
        hub::notify(&self.ends, Side::Receiver);
        progress.made();
        Poll::Ready(done)
    }

    /// How many messages wait. The receiver may be at work, so there may be fewer by the time of return.
    ///
    /// ```
    /// # let (mut tx, mut rx) = multikernel_channels::spsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert_eq!((tx.len(), rx.len()), (1, 1));
    /// # rx.close();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.producer.len()
    }

    /// Whether the receiver has taken everything.
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
        self.producer.is_empty()
    }

    /// The most messages that may wait: what [`channel`](crate::spsc::channel) was called with.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::spsc::channel::<u8>(3);
    /// assert_eq!((tx.capacity(), rx.capacity()), (3, 3));
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.producer.capacity()
    }

    /// Whether the receiver is gone or has closed the channel. That does not change again.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::spsc::channel::<u8>(1);
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.producer.is_closed()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.producer.close();
        drop(self.ends.sender.forget());
        hub::notify(&self.ends, Side::Receiver);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// What [`Sender::send`] returns.
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut tx, _rx) = multikernel_channels::spsc::channel(1);
/// let sending = tx.send("a message"); // nothing has happened yet
/// assert_eq!(sending.await, Ok(()));
/// # })
/// ```
#[must_use = "nothing is sent before the future is polled"]
pub struct Sending<'a, T> {
    // Not an async block: the state machine of one costs more than the message.
    sender: &'a mut Sender<T>,
    unsent: Option<T>,
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { sender, unsent } = self.get_mut();
        sender.poll_end(cx, |producer| match producer.try_push(unsent.take()?) {
            Ok(()) => Some(Ok(())),
            Err(PushError::Full(message)) => {
                *unsent = Some(message);
                None
            }
            Err(PushError::Closed(message)) => Some(Err(SendError(message))),
        })
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("is_done", &self.unsent.is_none()).finish_non_exhaustive()
    }
}

/// Sending through a sink waits for room in `poll_ready`; nothing is kept back, so flushing has nothing to do. Closing
/// closes the channel: the receiver gets the rest and is told.
///
/// The error of `start_send` holds the message. That of `poll_ready`, which has been given none, holds `None`.
impl<T> Sink<T> for Sender<T> {
    type Error = SendError<Option<T>>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_end(cx, |producer| {
            if producer.is_closed() {
                return Some(Err(SendError(None)));
            }
            producer.has_room().then_some(Ok(()))
        })
    }

    fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), Self::Error> {
        match self.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(message)) => Err(SendError(Some(message))),
            Err(TrySendError::Full(_)) => {
                panic!("start_send without poll_ready having said that there is room")
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.producer.close();
        hub::notify(&self.ends, Side::Receiver);
        Poll::Ready(Ok(()))
    }
}

// Nothing here is pinned: a message is moved when it is sent, never before.
impl<T> Unpin for Sender<T> {}
impl<T> Unpin for Sending<'_, T> {}
