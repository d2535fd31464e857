//! The end to send into.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Sink;
use futures::executor::block_on;

use crate::budget::poll_proceed;
use crate::error::{SendError, TrySendError};
use crate::hub::{self, Side};
use crate::mpsc::credits::{Credits, Place, Refused, Ticket};
use crate::mpsc::shared::{Shared, Trail};
use crate::sync::{Arc, Ordering};

/// An end of a [`channel`](crate::mpsc::channel) to send into. When the last one is dropped the channel closes: the
/// receiver gets the rest and is told.
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::mpsc::channel(4);
/// let second = tx.clone();
/// drop(tx);
/// second.send("the last").await.unwrap();
/// drop(second);
/// assert_eq!(rx.recv().await, Some("the last"));
/// assert_eq!(rx.recv().await, None);
/// # })
/// ```
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    trail: Trail,
    /// What this sender holds as a sink.
    ready: Ready,
}

/// How far a sink has come to being ready.
#[derive(Debug)]
enum Ready {
    No,
    /// It stands in line, or is about to.
    Waiting(Option<Ticket>),
    /// It has a place.
    Yes,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared, trail: Trail::new(), ready: Ready::No }
    }

    fn credits(&self) -> &Credits {
        &self.shared.ends.credits
    }

    #[inline]
    fn push(&self, place: Place, message: T) {
        self.shared.push(&self.trail, place, message);
        hub::notify(&self.shared.ends, Side::Receiver);
    }

    /// Sends `message` if there is room and nobody has waited for it longer.
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
    /// let (tx, rx) = multikernel_channels::mpsc::channel(1);
    /// tx.try_send(1).unwrap();
    /// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    /// drop(rx);
    /// assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.credits().try_take() {
            Ok(place) => {
                self.push(place, message);
                Ok(())
            }
            Err(Refused::Full) => {
                hub::hurry();
                Err(TrySendError::Full(message))
            }
            Err(Refused::Closed) => Err(TrySendError::Closed(message)),
        }
    }

    /// Waits for room and sends `message`. Senders that wait are served in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when the receiver is gone.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the message has not been sent, and is dropped with it. Who waits
    /// next takes its turn.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, rx) = multikernel_channels::mpsc::channel(8);
    /// tx.send("kept").await.unwrap();
    /// drop(rx);
    /// assert_eq!(tx.send("given back").await.unwrap_err().0, "given back");
    /// # })
    /// ```
    #[inline]
    pub fn send(&self, message: T) -> Sending<'_, T> {
        Sending { sender: self, unsent: Some(message), ticket: None }
    }

    /// As [`send`](Self::send), for threads that may block.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when the receiver is gone.
    ///
    /// # Panics
    ///
    /// On a core, which would do nothing else meanwhile.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::mpsc::channel(1);
    /// let sender = std::thread::spawn(move || {
    ///     for number in 1..=3 {
    ///         tx.blocking_send(number).unwrap();
    ///     }
    /// });
    /// assert_eq!([(); 3].map(|()| rx.blocking_recv()), [Some(1), Some(2), Some(3)]);
    /// # sender.join().unwrap();
    /// ```
    pub fn blocking_send(&self, message: T) -> Result<(), SendError<T>> {
        assert!(!hub::is_core(), "blocking_send on a core would stop all its tasks; use send there");
        block_on(self.send(message))
    }

    /// Waits until the receiver is gone or has [closed](crate::mpsc::Receiver::close) the channel.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, rx) = multikernel_channels::mpsc::channel::<u8>(8);
    /// drop(rx);
    /// tx.closed().await;
    /// assert!(tx.is_closed());
    /// # })
    /// ```
    pub async fn closed(&self) {
        struct Waiting<'a>(&'a Credits, Option<Ticket>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.1.take().into_iter().for_each(|ticket| self.0.leave_closed(ticket));
            }
        }
        let mut waiting = Waiting(self.credits(), None);
        poll_fn(|cx| waiting.0.poll_closed(cx, &mut waiting.1)).await;
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
        self.credits().len()
    }

    /// Whether the receiver has taken everything.
    ///
    /// ```
    /// # let (tx, mut rx) = multikernel_channels::mpsc::channel(4);
    /// tx.try_send('a').unwrap();
    /// assert!(!tx.is_empty());
    /// rx.try_recv().unwrap();
    /// assert!(tx.is_empty() && rx.is_empty());
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
        self.credits().capacity()
    }

    /// Whether the receiver is gone or has closed the channel. That does not change again.
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::mpsc::channel::<u8>(1);
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.credits().is_closed()
    }

    /// Whether both send into one channel.
    ///
    /// ```
    /// let (tx, _rx) = multikernel_channels::mpsc::channel::<u8>(1);
    /// let (other, _rx) = multikernel_channels::mpsc::channel::<u8>(1);
    /// assert!(tx.same_channel(&tx.clone()));
    /// assert!(!tx.same_channel(&other));
    /// ```
    #[must_use]
    pub fn same_channel(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Gives back what this sender holds as a sink.
    fn unready(&mut self) {
        match std::mem::replace(&mut self.ready, Ready::No) {
            Ready::No | Ready::Waiting(None) => {}
            Ready::Waiting(Some(ticket)) => self.credits().leave(ticket),
            Ready::Yes => self.credits().give_back(),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: the one that we have keeps the count from reaching zero.
        self.shared.ends.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), trail: self.trail.fork(), ready: Ready::No }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.unready();
        // Release and Acquire: the last one closes after all that the others have done.
        if self.shared.ends.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.credits().close();
            hub::notify(&self.shared.ends, Side::Receiver);
        }
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
/// let (tx, _rx) = multikernel_channels::mpsc::channel(1);
/// let sending = tx.send("a message"); // nothing has happened yet
/// assert_eq!(sending.await, Ok(()));
/// # })
/// ```
#[must_use = "nothing is sent before the future is polled"]
pub struct Sending<'a, T> {
    // Not an async block: the state machine of one costs more than the message.
    sender: &'a Sender<T>,
    unsent: Option<T>,
    ticket: Option<Ticket>,
}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { sender, unsent, ticket } = self.get_mut();
        let progress = ready!(poll_proceed(cx));
        let place = ready!(sender.credits().poll_take(cx, ticket));
        progress.made();
        let message = unsent.take().expect("a future is not polled after it was ready");
        Poll::Ready(match place {
            Ok(place) => {
                sender.push(place, message);
                Ok(())
            }
            Err(()) => Err(SendError(message)),
        })
    }
}

impl<T> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.sender.credits().leave(ticket);
        }
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").field("is_done", &self.unsent.is_none()).finish_non_exhaustive()
    }
}

/// Sending through a sink waits in `poll_ready` for a place, which is kept for this sender until it sends or is
/// dropped; nothing else is kept back, so flushing has nothing to do. Closing gives the place back; the channel closes
/// when all senders are gone.
///
/// The error of `start_send` holds the message. That of `poll_ready`, which has been given none, holds `None`.
impl<T> Sink<T> for Sender<T> {
    type Error = SendError<Option<T>>;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        if let Ready::No = this.ready {
            this.ready = Ready::Waiting(None);
        }
        if let Ready::Waiting(ticket) = &mut this.ready {
            let progress = ready!(poll_proceed(cx));
            let kept = ready!(this.shared.ends.credits.poll_keep(cx, ticket));
            progress.made();
            this.ready = if kept.is_ok() { Ready::Yes } else { Ready::No };
        }
        Poll::Ready(if this.is_closed() { Err(SendError(None)) } else { Ok(()) })
    }

    fn start_send(self: Pin<&mut Self>, message: T) -> Result<(), Self::Error> {
        let this = self.get_mut();
        assert!(
            matches!(this.ready, Ready::Yes),
            "start_send without poll_ready having said that there is room"
        );
        this.ready = Ready::No;
        match this.credits().use_kept() {
            Ok(place) => {
                this.push(place, message);
                Ok(())
            }
            Err(()) => Err(SendError(Some(message))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.get_mut().unready();
        Poll::Ready(Ok(()))
    }
}

// Nothing here is pinned: a message is moved when it is sent, never before.
impl<T> Unpin for Sender<T> {}
impl<T> Unpin for Sending<'_, T> {}
