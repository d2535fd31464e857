//! A bounded queue from one end to one other end.
//!
//! [`ring`] makes the two ends. Each may move between threads, but there is only one of each and its calls take
//! `&mut self`, so the ends agree with two indices and no read-modify-write (rules R6 to R11). Nothing here waits:
//! a full ring gives the message back, an empty one says so.

use std::error::Error;
use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};

/// Why a message could not be pushed. Holds the message.
///
/// ```
/// use multikernel_channels::ring::{PushError, ring};
///
/// let (mut tx, rx) = ring(1);
/// tx.try_push("first").unwrap();
/// assert_eq!(tx.try_push("second"), Err(PushError::Full("second")));
/// drop(rx);
/// assert_eq!(tx.try_push("second"), Err(PushError::Closed("second")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// As many messages as the ring may hold wait to be popped.
    Full(T),
    /// The consumer is gone: no later push can succeed either.
    Closed(T),
}

impl<T> PushError<T> {
    /// The message that was not pushed.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::ring::ring(1);
    /// # drop(rx);
    /// let error = tx.try_push("for somebody".to_owned()).unwrap_err();
    /// let for_another: String = error.into_inner();
    /// # assert_eq!(for_another, "for somebody");
    /// ```
    pub fn into_inner(self) -> T {
        let (Self::Full(message) | Self::Closed(message)) = self;
        message
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the ring is full",
            Self::Closed(_) => "the consumer of the ring is gone",
        })
    }
}

impl<T> Error for PushError<T> {}

/// Why there was no message to pop.
///
/// ```
/// use multikernel_channels::ring::{PopError, ring};
///
/// let (tx, mut rx) = ring::<u8>(1);
/// assert_eq!(rx.try_pop(), Err(PopError::Empty)); // look again later
/// drop(tx);
/// assert_eq!(rx.try_pop(), Err(PopError::Closed)); // nothing will come
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// Nothing waits now; the producer may still push.
    Empty,
    /// The producer is gone and every message it pushed has been popped.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the ring is empty",
            Self::Closed => "the ring is empty and its producer is gone",
        })
    }
}

impl Error for PopError {}

/// A ring that holds at most `capacity` messages: the end to push into and the end to pop from.
///
/// The memory for `capacity` messages, rounded up to a power of two, is allocated here and once.
///
/// # Panics
///
/// When `capacity` is zero: such a ring could never pass a message on. When the slots would take more than
/// `isize::MAX` bytes.
///
/// # Example
///
/// ```
/// use multikernel_channels::ring::{PopError, PushError, ring};
///
/// let (mut tx, mut rx) = ring(2);
/// tx.try_push('a').unwrap();
/// tx.try_push('b').unwrap();
/// assert_eq!(tx.try_push('c'), Err(PushError::Full('c')));
///
/// assert_eq!(rx.try_pop(), Ok('a'));
/// drop(tx);
/// assert_eq!(rx.try_pop(), Ok('b'));
/// assert_eq!(rx.try_pop(), Err(PopError::Closed));
/// ```
///
/// There is one producer and one consumer:
///
/// ```compile_fail,E0599
/// let (tx, rx) = multikernel_channels::ring::ring::<u8>(1);
/// let second = tx.clone();
/// ```
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = NonZeroUsize::new(capacity).expect("a ring has room for at least one message");
    starting_at(0, capacity)
}

/// A ring whose indices begin at `start`.
fn starting_at<T>(start: usize, capacity: NonZeroUsize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.get();
    let slots = capacity.checked_next_power_of_two().expect("capacity overflow");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(start)),
        tail: CachePadded::new(AtomicUsize::new(start)),
        closed: AtomicBool::new(false),
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let producer = Producer { tail: start, seen_head: start, capacity, shared: Arc::clone(&shared) };
    (producer, Consumer { head: start, seen_tail: start, capacity, shared })
}

/// What both ends see. Indices count messages since the start and wrap round at `usize::MAX`; their low bits say the
/// slot. The messages from `head` up to `tail` are in the ring.
struct Shared<T> {
    /// The next message to pop. Written by the consumer only (R6).
    head: CachePadded<AtomicUsize>,
    /// Where the next message will be. Written by the producer only (R6).
    tail: CachePadded<AtomicUsize>,
    /// Whether an end is gone. Written once, on a line that nobody writes otherwise, so reading it is cheap.
    closed: AtomicBool,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: two threads at most use a `Shared`, one through the producer and one through the consumer. A slot is
// touched by the producer while it is free and by the consumer while it is filled, and changes hands through the
// indices with Release and Acquire (R7), so no access is concurrent. Messages move between the threads, which is what
// `T: Send` allows; no `&T` is ever seen by both.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // The number of slots is a power of two.
        &self.slots[index & (self.slots.len() - 1)]
    }

    fn close(&self) {
        // Release (R10): pairs with the Acquire fence of the end that sees it. All this end wrote comes before.
        self.closed.store(true, Ordering::Release);
    }

    #[inline]
    fn is_closed(&self) -> bool {
        // Relaxed for the usual answer; only the other one has something to see.
        let closed = self.closed.load(Ordering::Relaxed);
        if closed {
            // Acquire (R10): pairs with the Release in `close`.
            fence(Ordering::Acquire);
        }
        closed
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed, both: both ends are gone, and the count of references ordered all they did before this (R11).
        let mut head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        while head != tail {
            // SAFETY: slots from head to tail hold messages that nobody popped, each is visited once, and nobody
            // else is left.
            self.slot(head).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
    }
}

/// The end of a [`ring`](ring()) to push into. Dropping it closes the ring: the consumer pops the rest and is told.
///
/// One core makes what another uses:
///
/// ```
/// # use multikernel_channels::ring::ring;
/// let (mut tx, mut rx) = ring(8);
/// let maker = std::thread::spawn(move || (1..=8).try_for_each(|n| tx.try_push(n)));
/// maker.join().unwrap().expect("there is room for eight");
/// assert_eq!(std::iter::from_fn(|| rx.try_pop().ok()).sum::<i32>(), 36);
/// ```
pub struct Producer<T> {
    /// The truth about `shared.tail`, which nobody else writes.
    tail: usize,
    /// `shared.head` as last seen: never ahead of it, so we may think the ring fuller than it is, not emptier (R8).
    seen_head: usize,
    capacity: usize,
    shared: Arc<Shared<T>>,
}

impl<T> Producer<T> {
    /// Puts `message` at the end. Never waits.
    ///
    /// `Ok` says that the message is in the ring, not that it will be popped: if the consumer goes first, it is
    /// dropped with the ring.
    ///
    /// # Errors
    ///
    /// [`PushError::Full`] when [`capacity`](Self::capacity) messages wait, [`PushError::Closed`] when the consumer is
    /// gone. Both give the message back.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::{PushError, ring};
    /// # let (mut tx, _rx) = ring(1);
    /// tx.try_push("now").unwrap();
    /// assert_eq!(tx.try_push("later"), Err(PushError::Full("later")));
    /// ```
    #[inline]
    pub fn try_push(&mut self, message: T) -> Result<(), PushError<T>> {
        if self.shared.is_closed() {
            return Err(PushError::Closed(message));
        }
        if self.tail.wrapping_sub(self.seen_head) == self.capacity {
            // Acquire (R7): pairs with the Release in `try_pop`; the slots before the new head have been read out.
            self.seen_head = self.shared.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.seen_head) == self.capacity {
                return Err(PushError::Full(message));
            }
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: at most `capacity` <= `slots` messages lie between head and tail, so the slot at `tail` is
            // free: its last message was moved out before the head that we acquired. The consumer does not touch it
            // until the store below, and there is no other producer.
            unsafe { (*slot).write(message) };
        });
        self.tail = self.tail.wrapping_add(1);
        // Release (R7): pairs with the Acquire loads of `tail` by the consumer, which then finds the message.
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// How many messages wait. The consumer may be popping, so there may be fewer by the time of return.
    ///
    /// ```
    /// # let (mut tx, _rx) = multikernel_channels::ring::ring(4);
    /// tx.try_push('a').unwrap();
    /// assert_eq!((tx.len(), tx.capacity()), (1, 4));
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a count; no slot is touched on the strength of it.
        self.tail.wrapping_sub(self.shared.head.load(Ordering::Relaxed))
    }

    /// Whether the consumer has popped everything.
    ///
    /// ```
    /// # let (mut tx, mut rx) = multikernel_channels::ring::ring(4);
    /// tx.try_push('a').unwrap();
    /// assert!(!tx.is_empty());
    /// rx.try_pop().unwrap();
    /// assert!(tx.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that may wait: what [`ring`](ring()) was called with.
    ///
    /// ```
    /// # let (tx, _rx) = multikernel_channels::ring::ring::<u8>(3);
    /// assert_eq!(tx.capacity(), 3); // in four slots
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the consumer is gone. It does not come back.
    ///
    /// ```
    /// # let (tx, rx) = multikernel_channels::ring::ring::<u8>(1);
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// The end of a [`ring`](ring()) to pop from. Dropping it closes the ring: the producer gets its messages back.
///
/// Messages that wait when the consumer is dropped are dropped when the producer is, too.
///
/// ```
/// # let (mut tx, mut rx) = multikernel_channels::ring::ring(4);
/// # tx.try_push("hello").unwrap();
/// while let Ok(message) = rx.try_pop() {
///     println!("{message}");
/// }
/// # assert!(rx.is_empty());
/// ```
pub struct Consumer<T> {
    /// The truth about `shared.head`, which nobody else writes.
    head: usize,
    /// `shared.tail` as last seen: never ahead of it, so we may think the ring emptier than it is, not fuller (R8).
    seen_tail: usize,
    capacity: usize,
    shared: Arc<Shared<T>>,
}

impl<T> Consumer<T> {
    /// Takes the oldest message. Never waits.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] when nothing waits, [`PopError::Closed`] when nothing waits and the producer is gone.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::{PopError, ring};
    /// # let (mut tx, mut rx) = ring(4);
    /// tx.try_push(7).unwrap();
    /// assert_eq!(rx.try_pop(), Ok(7));
    /// assert_eq!(rx.try_pop(), Err(PopError::Empty));
    /// ```
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        self.find()?;
        // SAFETY: `find` saw a message at `head` (R7), we are the only consumer, and the store below makes sure that
        // it is read out once.
        let message = self.shared.slot(self.head).with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        // Release (R7): pairs with the Acquire load of `head` by the producer, which may then reuse the slot.
        self.shared.head.store(self.head, Ordering::Release);
        Ok(message)
    }

    /// Looks at the oldest message, which stays in the ring.
    ///
    /// # Errors
    ///
    /// Those of [`try_pop`](Self::try_pop).
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::{PopError, ring};
    /// let (mut tx, mut rx) = ring(1);
    /// assert_eq!(rx.peek(), Err(PopError::Empty));
    /// tx.try_push(7).unwrap();
    /// assert_eq!(rx.peek(), Ok(&7));
    /// assert_eq!(rx.try_pop(), Ok(7));
    /// ```
    pub fn peek(&mut self) -> Result<&T, PopError> {
        self.find()?;
        // SAFETY: `find` saw a message at `head` (R7). Only this consumer can take it out, and it is borrowed, by
        // `&mut`, for as long as the reference lives.
        Ok(self.shared.slot(self.head).with(|slot| unsafe { (*slot).assume_init_ref() }))
    }

    /// Makes sure that there is a message at `head`.
    #[inline]
    fn find(&mut self) -> Result<(), PopError> {
        if self.head != self.seen_tail || self.reload() {
            return Ok(());
        }
        if !self.shared.is_closed() {
            return Err(PopError::Empty);
        }
        // The last messages may have come between the two looks; what the producer pushed, it pushed before it
        // closed (R9).
        if self.reload() { Ok(()) } else { Err(PopError::Closed) }
    }

    /// Looks how far the producer is. True if there is something to pop.
    #[inline]
    fn reload(&mut self) -> bool {
        // Acquire (R7): pairs with the Release in `try_push`; the messages before the new tail are written.
        self.seen_tail = self.shared.tail.load(Ordering::Acquire);
        self.head != self.seen_tail
    }

    /// How many messages wait. The producer may be pushing, so there may be more by the time of return.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::ring::ring(4);
    /// tx.try_push('a').unwrap();
    /// assert_eq!(rx.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a count; no slot is touched on the strength of it. As the check before parking it comes after the
        // fence of `prepare_park` (R12).
        self.shared.tail.load(Ordering::Relaxed).wrapping_sub(self.head)
    }

    /// Whether nothing waits.
    ///
    /// ```
    /// # let (tx, rx) = multikernel_channels::ring::ring::<u8>(4);
    /// drop(tx);
    /// assert!(rx.is_empty() && rx.is_closed()); // now nothing will come
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that may wait: what [`ring`](ring()) was called with.
    ///
    /// ```
    /// # let (_tx, rx) = multikernel_channels::ring::ring::<u8>(3);
    /// assert_eq!(rx.capacity(), 3);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the producer is gone. Messages may still wait.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::ring::ring(1);
    /// tx.try_push("last words").unwrap();
    /// drop(tx);
    /// assert!(rx.is_closed() && !rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
#[path = "ring_tests.rs"]
mod tests;
