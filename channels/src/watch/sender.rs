//! The end to send into.

use std::fmt;
use std::mem;

use super::{Held, Receiver, Ref, Shared, Version, Versions};
use crate::error::SendError;
use crate::lanes::{Lanes, Turn};
use crate::sync::{Arc, MutexGuard};

/// The end of a [`channel`](super::channel) to send into. There may be many, and any thread may send. When the last is
/// dropped the channel is closed: the receivers keep the latest value and are told.
///
/// Senders take turns, which are short, but for [`send_modify`](Self::send_modify) and
/// [`send_if_modified`](Self::send_if_modified), whose turn lasts as long as what they are given to run. Meanwhile
/// other senders wait, [`borrow`](Self::borrow) and [`subscribe`](Self::subscribe) among them, and so does
/// [`Receiver::clone`]; no other call of a receiver does.
///
/// # Example
///
/// ```
/// let (tx, rx) = multikernel_channels::watch::channel(0);
/// let other = tx.clone();
/// let counter = std::thread::spawn(move || (0..100).for_each(|_| other.send_modify(|count| *count += 1)));
/// (0..100).for_each(|_| tx.send_modify(|count| *count += 1));
/// counter.join().unwrap();
/// assert_eq!(*rx.borrow(), 200);
/// ```
pub struct Sender<T> {
    versions: Arc<Versions<T>>,
}

impl<T> Sender<T> {
    /// A channel that holds `init` and has no receiver yet.
    ///
    /// # Example
    ///
    /// ```
    /// let tx = multikernel_channels::watch::Sender::new(1);
    /// assert!(tx.is_closed());
    /// let rx = tx.subscribe();
    /// assert_eq!(*rx.borrow(), 1);
    /// ```
    #[must_use]
    pub fn new(init: T) -> Self {
        let first = Arc::new(Version { number: 0, value: init });
        Self { versions: Arc::new(Lanes::new(1, first)) }
    }

    /// Puts `value` in the place of the latest and tells the receivers.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the value, when there is no receiver. The latest value is as before; to change it all the
    /// same, see [`send_replace`](Self::send_replace).
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*rx.borrow(), 2);
    /// drop(rx);
    /// assert_eq!(tx.send(3).unwrap_err().0, 3);
    /// assert_eq!(*tx.borrow(), 2);
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut turn = self.versions.turn();
        if turn.receivers() == 0 {
            return Err(SendError(value));
        }
        drop(publish(turn, value));
        Ok(())
    }

    /// Changes a clone of the latest value, which takes its place, and tells the receivers. Works without receivers
    /// too.
    ///
    /// `modify` must not use a sender of this channel, nor clone a receiver, or it waits for ever. Nor must `Clone`.
    ///
    /// # Panics
    ///
    /// When `modify` or `Clone` does. The latest value is as before.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(vec![1]);
    /// tx.send_modify(|list| list.push(2));
    /// assert_eq!(*rx.borrow(), [1, 2]);
    /// ```
    pub fn send_modify(&self, modify: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// As [`send_modify`](Self::send_modify) if `modify` returns true. If not, the changed clone is dropped. Returns
    /// what `modify` did.
    ///
    /// # Panics
    ///
    /// When `modify` or `Clone` does. The latest value is as before.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(5);
    /// let highest = |new: i32| move |old: &mut i32| new > std::mem::replace(old, new);
    /// assert!(!tx.send_if_modified(highest(4)));
    /// assert!(tx.send_if_modified(highest(6)));
    /// assert_eq!(*rx.borrow(), 6);
    /// ```
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        let turn = self.versions.turn();
        let mut value = turn.common.value.clone();
        let modified = modify(&mut value);
        if modified {
            drop(publish(turn, value));
        } else {
            drop(turn); // before the value: to drop it is code of users
        }
        modified
    }

    /// Puts `value` in the place of the latest, tells the receivers, and returns the value before, or a clone of it
    /// if somebody can still see it. Works without receivers too.
    ///
    /// # Panics
    ///
    /// When `Clone` does. `value` is the latest all the same.
    ///
    /// # Example
    ///
    /// ```
    /// let tx = multikernel_channels::watch::Sender::new(1);
    /// assert_eq!(tx.send_replace(2), 1);
    /// assert_eq!(*tx.borrow(), 2);
    /// ```
    pub fn send_replace(&self, value: T) -> T
    where
        T: Clone,
    {
        let before = publish(self.versions.turn(), value);
        Arc::try_unwrap(before).map_or_else(|before| before.value.clone(), |before| before.value)
    }

    /// A look at the latest value.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, _rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*tx.borrow(), 2);
    /// ```
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        let latest = Arc::clone(&self.versions.turn().common);
        Ref { version: Held::Own(latest), has_changed: false }
    }

    /// One more receiver, which counts the latest value as seen.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, _rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// let late = tx.subscribe();
    /// assert_eq!((*late.borrow(), late.has_changed()), (2, Ok(false)));
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver::new(Arc::clone(&self.versions))
    }

    /// How many receivers there are.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// let other = rx.clone();
    /// assert_eq!(tx.receiver_count(), 2);
    /// drop((rx, other));
    /// assert_eq!(tx.receiver_count(), 0);
    /// ```
    #[must_use]
    pub fn receiver_count(&self) -> usize {
        self.versions.counts().receivers()
    }

    /// Whether there is no receiver now.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// assert!(!tx.is_closed());
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
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
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// drop(rx);
    /// tx.closed().await;
    /// assert!(tx.is_closed());
    /// # })
    /// ```
    pub async fn closed(&self) {
        self.versions.all_gone().await;
    }
}

/// Makes `value` the latest, ends the turn, tells the receivers, and returns the version before.
fn publish<T>(mut turn: MutexGuard<'_, Turn<Shared<T>, Shared<T>>>, value: T) -> Shared<T> {
    let fresh = Arc::new(Version { number: turn.posted() + 1, value });
    let before = mem::replace(&mut turn.common, Arc::clone(&fresh));
    let posted = turn.post(fresh);
    drop(turn);
    posted.announce();
    before
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.versions.add_sender();
        Self { versions: Arc::clone(&self.versions) }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.versions.remove_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receiver_count", &self.receiver_count()).finish_non_exhaustive()
    }
}
