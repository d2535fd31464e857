//! A bounded channel from any number of tasks, on any cores, to one.
//!
//! [`channel`] makes a [`Sender`], which is cloned for each task that sends, and the [`Receiver`]. Each core that sends
//! has a *lane* of its own in the channel, made when it sends first, so that no two cores write to the same queue; the
//! receiver takes a few messages from one lane, then from the next. Lanes from which nothing comes cost nothing. What
//! senders share is one word, in which they agree on how many messages the channel holds.
//!
//! Both ends work on every executor and on threads that have none. Threads that are no cores of a multikernel Machine
//! share one lane, behind a lock.
//!
//! # Order
//!
//! What is sent through one `Sender` is received in that order, whether the sender stays on one core, moves between
//! cores, or is shared by several threads that agree on who comes first. What is sent through a clone comes after what
//! had been sent through the original before it was cloned. Nothing is promised between senders otherwise.
//!
//! # Example
//!
//! ```
//! use multikernel_channels::mpsc;
//!
//! let (tx, mut rx) = mpsc::channel(16);
//! let senders: Vec<_> = (0..3)
//!     .map(|_| {
//!         let tx = tx.clone();
//!         std::thread::spawn(move || {
//!             for number in 1..=100 {
//!                 tx.blocking_send(number).expect("the receiver stays until we are done");
//!             }
//!         })
//!     })
//!     .collect();
//! drop(tx);
//!
//! let sum = futures::executor::block_on(async {
//!     let mut sum = 0;
//!     while let Some(number) = rx.recv().await {
//!         sum += number;
//!     }
//!     sum
//! });
//! assert_eq!(sum, 3 * 5050);
//! # senders.into_iter().for_each(|sender| sender.join().unwrap());
//! ```

mod credits;
mod lane;
mod receiver;
mod sender;
mod shared;
mod table;

pub use self::receiver::{Receiver, Receiving};
pub use self::sender::{Sender, Sending};
use self::shared::Shared;
use crate::limits::MPSC_CAPACITY;
use crate::sync::Arc;

/// A channel that holds at most `capacity` messages, whoever sends them.
///
/// Memory follows use: a lane begins with room for 256 bytes of messages, less if there are more than 90 cores, or for one
/// message, and doubles while its core has more messages in it than it holds. The lanes of all channels of a process, and
/// the rings in which cores speak for themselves, together take at most 128 MiB; cores that would need more send through
/// the lane that the threads without a core share, which takes what it needs.
///
/// # Panics
///
/// When `capacity` is zero, or more than 2^30 - 1.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::mpsc::channel(8);
/// let second = tx.clone();
/// tx.send("hello").await.unwrap();
/// second.send("world").await.unwrap();
/// assert_eq!(rx.recv().await, Some("hello"));
/// assert_eq!(rx.recv().await, Some("world"));
/// # })
/// ```
///
/// There is one receiver, and what is sent must be `Send`:
///
/// ```compile_fail,E0599
/// let (tx, rx) = multikernel_channels::mpsc::channel::<u8>(1);
/// let second = rx.clone();
/// ```
///
/// ```compile_fail,E0277
/// let (tx, rx) = multikernel_channels::mpsc::channel(1);
/// std::thread::spawn(move || tx.try_send(std::rc::Rc::new(1)));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a channel has room for at least one message");
    assert!(capacity <= MPSC_CAPACITY, "a channel holds at most {MPSC_CAPACITY} messages");
    let shared = Arc::new(Shared::new(capacity as u32));
    (Sender::new(Arc::clone(&shared)), Receiver::new(shared))
}
