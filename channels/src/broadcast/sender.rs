//! The end to send into.

use std::fmt;

use super::Receiver;
use crate::error::SendError;
use crate::lanes::Lanes;
use crate::sync::Arc;

/// The end of a [`channel`](super::channel) to send into. There may be many, and any thread may send. When the last is
/// dropped the channel is closed: the receivers get the rest and are told.
///
/// # Example
///
/// ```
/// let (tx, mut rx) = multikernel_channels::broadcast::channel(4);
/// let other = tx.clone();
/// std::thread::spawn(move || other.send("from there")).join().unwrap().unwrap();
/// tx.send("from here").unwrap();
/// assert_eq!([rx.try_recv(), rx.try_recv()], [Ok("from there"), Ok("from here")]);
/// ```
pub struct Sender<T> {
    lanes: Arc<Lanes<T, ()>>,
}

impl<T> Sender<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { lanes: Arc::new(Lanes::new(capacity, ())) }
    }

    /// Gives `message` to every receiver there is now, and says how many there are. Waits for no receiver: one that is
    /// as far behind as the channel allows loses its oldest message.
    ///
    /// The message is cloned for each receiver but one, while other senders wait. `Clone` must not use this channel,
    /// or it waits for ever.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, when there is no receiver. Later sends may succeed: see
    /// [`subscribe`](Self::subscribe).
    ///
    /// # Panics
    ///
    /// When `Clone` does. Then nobody gets the message.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::broadcast::channel(4);
    /// assert_eq!(tx.send("to one"), Ok(1));
    /// let other = tx.subscribe();
    /// assert_eq!(tx.send("to two"), Ok(2));
    /// drop((rx, other));
    /// assert_eq!(tx.send("given back").unwrap_err().0, "given back");
    /// ```
    pub fn send(&self, message: T) -> Result<usize, SendError<T>>
    where
        T: Clone,
    {
        let mut turn = self.lanes.turn();
        let receivers = turn.receivers();
        if receivers == 0 {
            return Err(SendError(message));
        }
        let posted = turn.post(message);
        drop(turn);
        posted.announce();
        Ok(receivers)
    }

    /// One more receiver, for what is sent from now on.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::broadcast::channel(4);
    /// tx.send(1).unwrap();
    /// let mut late = tx.subscribe();
    /// tx.send(2).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// assert_eq!(late.try_recv(), Ok(2));
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(Arc::clone(&self.lanes))
    }

    /// How many receivers there are.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::broadcast::channel::<u8>(4);
    /// let other = tx.subscribe();
    /// assert_eq!(tx.receiver_count(), 2);
    /// drop(rx);
    /// assert_eq!(tx.receiver_count(), 1);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.lanes.counts().receivers()
    }

    /// Waits until there is no receiver. There may be new ones by the time of return.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, rx) = multikernel_channels::broadcast::channel::<u8>(4);
    /// drop(rx);
    /// tx.closed().await;
    /// assert!(tx.send(1).is_err());
    /// # })
    /// ```
    pub async fn closed(&self) {
        self.lanes.all_gone().await;
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.lanes.add_sender();
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.lanes.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receiver_count", &self.receiver_count()).finish_non_exhaustive()
    }
}
