//! A bounded channel that gives each message to every receiver.
//!
//! A receiver has a lane of its own, from which it takes its own copy of each message; nothing is shared by all, and no
//! receiver waits for a sender, nor a sender for a receiver. A lane that is full loses its oldest message for the
//! newest, and its receiver is told how many it has lost. The names are those of `tokio::sync::broadcast`.
//!
//! What differs: copies are made by the sender, on its thread, and given to receivers as they are. A message that is
//! expensive to clone is best sent in an [`Arc`](std::sync::Arc).
//!
//! Senders take turns: one that sends at the same moment as another waits until that one has put its message into all
//! lanes. All receivers see all messages in the same order.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::broadcast;
//! # use futures::executor::block_on;
//!
//! let (tx, mut first) = broadcast::channel(16);
//! let mut second = tx.subscribe();
//! let listener = std::thread::spawn(move || {
//!     block_on(async { (second.recv().await, second.recv().await, second.recv().await) })
//! });
//!
//! assert_eq!(tx.send("hello"), Ok(2));
//! assert_eq!(tx.send("world"), Ok(2));
//! drop(tx);
//!
//! let closed = Err(broadcast::error::RecvError::Closed);
//! assert_eq!(listener.join().unwrap(), (Ok("hello"), Ok("world"), closed));
//! assert_eq!(block_on(first.recv()), Ok("hello"));
//! ```

pub mod error;
mod receiver;
mod sender;

pub use self::receiver::{Receiver, Receiving};
pub use self::sender::Sender;

/// A channel whose receivers may each be `capacity` messages behind.
///
/// Each receiver's lane takes memory for `capacity` messages and two more, allocated when it is made.
///
/// # Panics
///
/// When `capacity` is zero. When the messages would take more than `isize::MAX` bytes.
///
/// # Example
///
/// A receiver that is too slow is told how many messages it has missed, and goes on with the oldest there is:
///
/// ```
/// use multikernel_channels::broadcast::{self, error::TryRecvError};
///
/// let (tx, mut rx) = broadcast::channel(2);
/// for number in 1..=5 {
///     tx.send(number).unwrap();
/// }
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Lagged(3)));
/// assert_eq!(rx.try_recv(), Ok(4));
/// assert_eq!(rx.try_recv(), Ok(5));
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// ```
///
/// What is sent must be `Send`, and need not be `Sync`:
///
/// ```
/// let (tx, mut rx) = multikernel_channels::broadcast::channel(2);
/// std::thread::spawn(move || tx.send(std::cell::Cell::new(1))).join().unwrap().unwrap();
/// assert_eq!(rx.try_recv().unwrap().get(), 1);
/// ```
///
/// ```compile_fail,E0277
/// let (tx, rx) = multikernel_channels::broadcast::channel(1);
/// std::thread::spawn(move || tx.send(std::rc::Rc::new(1)));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel has room for at least one message");
    let sender = Sender::new(capacity);
    let receiver = sender.subscribe();
    (sender, receiver)
}
