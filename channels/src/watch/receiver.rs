//! The end to look from.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::error::RecvError;
use super::{Held, Ref, Shared, Versions};
use crate::budget::poll_proceed;
use crate::epoch;
use crate::hub::{Look, Side, poll_port};
use crate::lanes::{LanePort, LaneReader};
use crate::sync::{Arc, SharedArc};

/// The end of a [`channel`](super::channel) to look from.
///
/// It may move between threads but is for one task at a time: clone it for more.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::watch::channel(0);
/// let sender = std::thread::spawn(move || (1..=10).try_for_each(|number| tx.send(number)));
/// while rx.changed().await.is_ok() {
///     println!("now {}", *rx.borrow_and_update());
/// }
/// assert_eq!(*rx.borrow(), 10);
/// # sender.join().unwrap().unwrap();
/// # })
/// ```
pub struct Receiver<T> {
    /// A cell, because `borrow` goes on to a newer version. While somebody looks, it does not.
    kept: RefCell<Kept<T>>,
    port: SharedArc<LanePort>,
    versions: Arc<Versions<T>>,
}

struct Kept<T> {
    reader: LaneReader<Shared<T>>,
    version: Shared<T>,
    /// The version that was last counted as seen, if any.
    seen: Option<u64>,
}

impl<T> Kept<T> {
    /// Goes on to the latest version that may be seen. Returns the one before, if there is a newer one.
    #[inline]
    #[must_use = "to drop it is code of users"]
    fn refresh(&mut self) -> Look<Shared<T>> {
        self.reader.take_latest().map(|newer| std::mem::replace(&mut self.version, newer))
    }

    /// Goes on to the latest version that may be seen, and counts it as seen. `Done` if it was not.
    #[inline]
    fn update(&mut self) -> Look<()> {
        let before = self.refresh();
        let latest = Some(self.version.number);
        if std::mem::replace(&mut self.seen, latest) != latest { Look::Done(()) } else { before.map(drop) }
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(versions: Arc<Versions<T>>) -> Self {
        let mut turn = versions.turn();
        let (reader, version) = (turn.subscribe(), Arc::clone(&turn.common));
        drop(turn);
        let port = SharedArc::clone(reader.port());
        let seen = Some(version.number);
        Self { kept: RefCell::new(Kept { reader, version, seen }), port, versions }
    }

    /// A look at the latest value, which does not count as seen by it: [`changed`](Self::changed) still tells of it.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*rx.borrow(), 2);
    /// assert_eq!(rx.has_changed(), Ok(true));
    /// ```
    #[must_use]
    #[inline]
    pub fn borrow(&self) -> Ref<'_, T> {
        let before = self.kept.try_borrow_mut().ok().map(|mut kept| kept.refresh());
        drop(before); // not in the line above, in which the cell is borrowed
        let kept = self.kept.borrow();
        let has_changed = kept.seen != Some(kept.version.number);
        self.look(has_changed)
    }

    /// A look at the latest value, which counts as seen from now on.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert_eq!(*rx.borrow_and_update(), 2);
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// ```
    #[inline]
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let has_changed = self.kept.get_mut().update() == Look::Done(());
        self.look(has_changed)
    }

    /// A look at the version that is kept.
    fn look(&self, has_changed: bool) -> Ref<'_, T> {
        let version = std::cell::Ref::map(self.kept.borrow(), |kept| &kept.version);
        Ref { version: Held::Receiver(version), has_changed }
    }

    /// Whether there is a value that has not been seen.
    ///
    /// # Errors
    ///
    /// [`RecvError`] when no sender is left, also if the last value has not been seen.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// tx.send(2).unwrap();
    /// assert_eq!(rx.has_changed(), Ok(true));
    /// rx.borrow_and_update();
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// drop(tx);
    /// assert!(rx.has_changed().is_err());
    /// ```
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        let counts = self.versions.counts();
        if counts.is_closed() {
            return Err(RecvError(()));
        }
        // Not `!=`: while a sender is at its turn, what is seen may be ahead of its count.
        Ok(self.kept.borrow().seen.is_none_or(|seen| seen < counts.posted() && !epoch::holds()))
    }

    /// Counts the latest value as not seen: the next [`changed`](Self::changed) tells of it.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (_tx, mut rx) = multikernel_channels::watch::channel("first");
    /// rx.mark_changed();
    /// rx.changed().await.unwrap();
    /// assert_eq!(*rx.borrow(), "first");
    /// # })
    /// ```
    pub fn mark_changed(&mut self) {
        self.kept.get_mut().seen = None;
    }

    /// Counts the latest value as seen.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// rx.mark_unchanged();
    /// assert_eq!(rx.has_changed(), Ok(false));
    /// ```
    pub fn mark_unchanged(&mut self) {
        let _ = self.kept.get_mut().update();
    }

    /// Waits until there is a value that has not been seen, and counts it as seen.
    ///
    /// # Errors
    ///
    /// [`RecvError`] when no sender is left and the last value has been seen.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, no value has been counted as seen.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// drop(tx);
    /// assert!(rx.changed().await.is_ok());
    /// assert_eq!(*rx.borrow(), 2);
    /// assert!(rx.changed().await.is_err());
    /// # })
    /// ```
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    #[inline]
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let progress = ready!(poll_proceed(cx));
        let (kept, counts) = (self.kept.get_mut(), self.versions.counts());
        let attempt = || {
            // Before the look into the lane: then what was sent before the channel was closed is there (R46).
            let closed = counts.is_closed();
            match kept.update() {
                Look::Nothing if closed && epoch::holds() => Look::Held,
                Look::Nothing if closed => Look::Done(Err(RecvError(()))),
                found => found.map(Ok),
            }
        };
        let done = ready!(poll_port(&self.port, Side::Receiver, cx, attempt));
        progress.made();
        Poll::Ready(done)
    }

    /// Waits for a value of which `is_wanted` returns true, beginning with the latest. Each value that it is asked
    /// about counts as seen.
    ///
    /// # Errors
    ///
    /// [`RecvError`] when no sender is left and the last value was not the one.
    ///
    /// # Panics
    ///
    /// When `is_wanted` does.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the values that `is_wanted` has been asked about count as seen.
    ///
    /// # Example
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// tx.send(4).unwrap();
    /// assert_eq!(*rx.wait_for(|number| number % 2 == 0).await.unwrap(), 4);
    /// drop(tx);
    /// assert!(rx.wait_for(|number| *number > 4).await.is_err());
    /// # })
    /// ```
    pub async fn wait_for(&mut self, mut is_wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        let mut has_changed = self.kept.get_mut().update() == Look::Done(());
        while !is_wanted(&self.kept.get_mut().version.value) {
            self.changed().await?;
            has_changed = true;
        }
        Ok(self.look(has_changed))
    }

    /// Whether no sender is left. The last value may not have been seen.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, rx) = multikernel_channels::watch::channel(1);
    /// assert!(!rx.is_closed());
    /// drop(tx);
    /// assert!(rx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.versions.counts().is_closed()
    }
}

/// The clone has seen what the original has.
impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::new(Arc::clone(&self.versions));
        clone.kept.get_mut().seen = self.kept.borrow().seen;
        clone
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.versions.remove_receiver(&self.port);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("has_changed", &self.has_changed()).finish_non_exhaustive()
    }
}
