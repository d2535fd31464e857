//! A bounded channel from one task to one other, which may be on another core.
//!
//! [`channel`] makes the two ends of a [`ring`](mod@crate::ring), with waiting added: [`send`](Sender::send) waits for
//! room, [`recv`](Receiver::recv) for a message. Both ends work on every executor. On a multikernel core a message
//! costs its sender no fence and no atomic read-modify-write, and the core of a receiver that waits looks at the ring by itself, so
//! that between two cores that are awake one cache line carries a message and nothing else has to.
//!
//! To send from many tasks, see [`mpsc`](crate::mpsc).
//!
//! # Example
//!
//! ```
//! use multikernel_channels::spsc;
//!
//! let (mut tx, mut rx) = spsc::channel(16);
//! let sender = std::thread::spawn(move || {
//!     futures::executor::block_on(async {
//!         for number in 1..=100 {
//!             tx.send(number).await.expect("the receiver stays until we are done");
//!         }
//!     })
//! });
//!
//! let sum = futures::executor::block_on(async {
//!     let mut sum = 0;
//!     while let Some(number) = rx.recv().await {
//!         sum += number;
//!     }
//!     sum
//! });
//! assert_eq!(sum, 5050);
//! # sender.join().unwrap();
//! ```

mod receiver;
mod sender;

use crossbeam_utils::CachePadded;

pub use self::receiver::{Receiver, Receiving};
pub use self::sender::{Sender, Sending};
use crate::gate::Gate;
use crate::hub::{Port, Side};
use crate::ring::{Indices, ring};
use crate::sync::{Arc, AtomicBool, Ordering, SharedArc};

/// What both ends share beside the ring.
struct Ends {
    indices: Arc<Indices>,
    /// On lines of their own: a gate is written when its end goes to sleep, the indices with every message.
    receiver: CachePadded<Gate>,
    sender: CachePadded<Gate>,
    /// The sender waits for the receiver to go, not for room.
    for_close_only: AtomicBool,
}

impl Port for Ends {
    fn gate(&self, side: Side) -> &Gate {
        match side {
            Side::Receiver => &self.receiver,
            Side::Sender => &self.sender,
        }
    }

    fn is_ready(&self, side: Side) -> bool {
        let len = self.indices.len();
        (match side {
            Side::Receiver => len != 0,
            // Relaxed: see `Sender::closed`.
            Side::Sender => len < self.indices.capacity() && !self.for_close_only.load(Ordering::Relaxed),
        }) || self.indices.is_closed()
    }
}

/// A channel that holds at most `capacity` messages.
///
/// The memory for them is allocated here and once.
///
/// # Panics
///
/// When `capacity` is zero. When the messages would take more than `isize::MAX` bytes.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut tx, mut rx) = multikernel_channels::spsc::channel(8);
/// tx.send("hello").await.unwrap();
/// assert_eq!(rx.recv().await, Some("hello"));
/// # })
/// ```
///
/// There is one sender and one receiver, and what goes to another thread must be `Send`:
///
/// ```compile_fail,E0599
/// let (tx, rx) = multikernel_channels::spsc::channel::<u8>(1);
/// let second = tx.clone();
/// ```
///
/// ```compile_fail,E0599
/// let (tx, rx) = multikernel_channels::spsc::channel::<u8>(1);
/// let second = rx.clone();
/// ```
///
/// ```compile_fail,E0277
/// let (mut tx, rx) = multikernel_channels::spsc::channel(1);
/// std::thread::spawn(move || tx.try_send(std::rc::Rc::new(1)));
/// ```
#[must_use]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = ring(capacity);
    let ends = SharedArc::new(Ends {
        indices: Arc::clone(producer.indices()),
        receiver: CachePadded::new(Gate::new()),
        sender: CachePadded::new(Gate::new()),
        for_close_only: AtomicBool::new(false),
    });
    (Sender::new(producer, SharedArc::clone(&ends)), Receiver::new(consumer, ends))
}
