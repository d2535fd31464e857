//! A channel that holds one value, of which receivers see the latest.
//!
//! A receiver that is slower than the senders skips values, but never the last one. Each receiver keeps the value it
//! saw last and has a lane with room for one that is newer, so [`borrow`](Receiver::borrow) takes no lock and holds
//! nobody up, however long the reference is kept: values are replaced, not changed. The names are those of
//! `tokio::sync::watch`.
//!
//! What differs:
//! - The senders' calls that change a value change a clone of it, and those that give the old value back may clone it.
//! - A [`Receiver`] is not `Sync`. Each task has its own: clone it.
//! - While one [`Ref`] of a receiver is alive, others of the same receiver see the same value as it does.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::watch;
//! # use futures::executor::block_on;
//!
//! let (tx, mut rx) = watch::channel("starting");
//! let watcher = std::thread::spawn(move || {
//!     block_on(async {
//!         while *rx.borrow_and_update() != "ready" {
//!             rx.changed().await.expect("the sender stays until we are done");
//!         }
//!     });
//! });
//!
//! tx.send("loading").unwrap();
//! tx.send("ready").unwrap();
//! watcher.join().unwrap();
//! ```

pub mod error;
mod receiver;
mod sender;

use std::fmt;
use std::ops::Deref;

pub use self::receiver::Receiver;
pub use self::sender::Sender;
use crate::lanes::Lanes;
use crate::sync::Arc;

/// What is sent to receivers: the value, and how many there were before it.
struct Version<T> {
    number: u64,
    value: T,
}

/// A version that several ends may have. It never changes.
type Shared<T> = Arc<Version<T>>;

/// The lanes, and beside them the latest version, for senders and for receivers to begin with.
type Versions<T> = Lanes<Shared<T>, Shared<T>>;

/// A channel that holds `init`, which its receiver counts as seen.
///
/// # Example
///
/// ```
/// let (tx, rx) = multikernel_channels::watch::channel(1);
/// assert_eq!(*rx.borrow(), 1);
/// tx.send(2).unwrap();
/// tx.send(3).unwrap();
/// assert_eq!(*rx.borrow(), 3);
/// ```
///
/// Receivers on different threads look at the same value, so it must be `Sync` to go to another:
///
/// ```compile_fail,E0277
/// let (tx, rx) = multikernel_channels::watch::channel(std::cell::Cell::new(1));
/// std::thread::spawn(move || tx.send(std::cell::Cell::new(2)));
/// ```
#[must_use]
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(init);
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// A look at a value: what the `borrow` calls of both ends return. It holds nobody up.
///
/// # Example
///
/// ```
/// let (tx, rx) = multikernel_channels::watch::channel(String::from("one"));
/// let before = tx.borrow();
/// tx.send("two".into()).unwrap();
/// assert_eq!(*before, "one");
/// assert_eq!(rx.borrow().len(), 3);
/// ```
pub struct Ref<'a, T> {
    version: Held<'a, T>,
    has_changed: bool,
}

enum Held<'a, T> {
    /// By the receiver.
    Receiver(std::cell::Ref<'a, Shared<T>>),
    /// By the reference itself.
    Own(Shared<T>),
}

impl<T> Ref<'_, T> {
    /// Whether the receiver that was asked had not seen this value before. Never for the reference of a sender.
    ///
    /// # Example
    ///
    /// ```
    /// let (tx, mut rx) = multikernel_channels::watch::channel(1);
    /// tx.send(2).unwrap();
    /// assert!(rx.borrow().has_changed());
    /// assert!(rx.borrow_and_update().has_changed());
    /// assert!(!rx.borrow().has_changed());
    /// ```
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.version {
            Held::Receiver(version) => &version.value,
            Held::Own(version) => &version.value,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ref").field("value", &**self).field("has_changed", &self.has_changed).finish()
    }
}
