//! The end to receive from.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::error::{RecvError, TryRecvError};
use crate::budget::poll_proceed;
use crate::epoch;
use crate::hub::{self, Look, Side, poll_port};
use crate::lanes::{Counts, LanePort, LaneReader, Lanes, Miss};
use crate::sync::{Arc, SharedArc};

/// The end of a [`channel`](super::channel) to receive from. Each gets every message sent since it was made.
///
/// Messages that wait when the receiver is dropped are dropped with it. One that is sent at that very moment is dropped
/// with the next message, or with the channel.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// use multikernel_channels::broadcast::{self, error::RecvError};
///
/// let (tx, mut rx) = broadcast::channel(2);
/// ('a'..='d').for_each(|letter| drop(tx.send(letter)));
/// drop(tx);
/// let mut received = String::new();
/// loop {
///     match rx.recv().await {
///         Ok(letter) => received.push(letter),
///         Err(RecvError::Lagged(missed)) => (0..missed).for_each(|_| received.push('?')),
///         Err(RecvError::Closed) => break,
///     }
/// }
/// assert_eq!(received, "??cd");
/// # })
/// ```
pub struct Receiver<T> {
    reader: LaneReader<T>,
    port: SharedArc<LanePort>,
    lanes: Arc<Lanes<T, ()>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(lanes: Arc<Lanes<T, ()>>) -> Self {
        let reader = lanes.turn().subscribe();
        Self { port: SharedArc::clone(reader.port()), reader, lanes }
    }

    /// Takes the oldest message if there is one.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when nothing waits, [`TryRecvError::Closed`] when nothing waits and no sender is left,
    /// [`TryRecvError::Lagged`] when messages have been lost since the last call.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::broadcast::{self, error::TryRecvError};
    ///
    /// let (tx, mut rx) = broadcast::channel(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1).unwrap();
    /// tx.send(2).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Lagged(1)));
    /// assert_eq!(rx.try_recv(), Ok(2));
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match take(&mut self.reader, self.lanes.counts()) {
            Look::Done(result) => Ok(result?),
            Look::Nothing | Look::Held => {
                hub::hurry();
                Err(TryRecvError::Empty)
            }
        }
    }

    /// Waits for a message and takes it.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] when nothing waits and no sender is left, [`RecvError::Lagged`] when messages have been
    /// lost since the last call. After that, the next call goes on with the oldest message there is.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no message has been taken.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use multikernel_channels::broadcast::{self, error::RecvError};
    ///
    /// let (tx, mut rx) = broadcast::channel(8);
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv().await, Ok(1));
    /// assert_eq!(rx.recv().await, Err(RecvError::Closed));
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
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::broadcast::channel(8);
    /// tx.send(1).unwrap();
    /// assert_eq!(std::future::poll_fn(|cx| rx.poll_recv(cx)).await, Ok(1));
    /// # })
    /// ```
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let progress = ready!(poll_proceed(cx));
        let Self { reader, port, lanes } = self;
        let done = ready!(poll_port(port, Side::Receiver, cx, || take(reader, lanes.counts())));
        progress.made();
        Poll::Ready(done)
    }

    /// One more receiver, for what is sent from now on, and not for what waits here.
    ///
    /// # Example
    ///
    /// ```
    /// use multikernel_channels::broadcast::{self, error::TryRecvError};
    ///
    /// let (tx, rx) = broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// let mut late = rx.resubscribe();
    /// assert_eq!(late.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(2).unwrap();
    /// assert_eq!(late.try_recv(), Ok(2));
    /// ```
    #[must_use]
    pub fn resubscribe(&self) -> Self {
        Self::new(Arc::clone(&self.lanes))
    }

    /// How many messages have been sent that this receiver has not been given or told to be lost. More than the
    /// capacity means that the next call finds some lost.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::broadcast::channel(2);
    /// for number in 0..3 {
    ///     tx.send(number).unwrap();
    /// }
    /// assert_eq!(rx.len(), 3);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        // A sender is at its turn: the reader may be ahead of its count.
        let waiting = self.lanes.counts().posted().saturating_sub(self.reader.next());
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// Whether nothing waits.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::broadcast::channel(2);
    /// assert!(rx.is_empty());
    /// tx.send(1).unwrap();
    /// assert!(!rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no sender is left. Messages may still wait.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::broadcast::channel::<u8>(2);
    /// assert!(!rx.is_closed());
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lanes.counts().is_closed()
    }
}

#[inline]
fn take<T>(reader: &mut LaneReader<T>, counts: &Counts) -> Look<Result<T, RecvError>> {
    // Before the look into the lane: then what was sent before the channel was closed is there (R46).
    let closed = counts.is_closed();
    match reader.take(epoch::holds) {
        Ok(message) => Look::Done(Ok(message)),
        Err(Miss::Lagged(missed)) => Look::Done(Err(RecvError::Lagged(missed))),
        Err(Miss::Nothing) if !closed => Look::Nothing,
        Err(Miss::Nothing) if !epoch::holds() => Look::Done(Err(RecvError::Closed)),
        Err(Miss::Nothing | Miss::Held) => Look::Held,
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.lanes.remove_receiver(&self.port);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What [`Receiver::recv`] returns.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::broadcast::channel(1);
/// let receiving = rx.recv();
/// tx.send(7).unwrap();
/// assert_eq!(receiving.await, Ok(7));
/// # })
/// ```
#[derive(Debug)]
#[must_use = "nothing is received before the future is polled"]
pub struct Receiving<'a, T>(&'a mut Receiver<T>);

impl<T> Future for Receiving<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_recv(cx)
    }
}
