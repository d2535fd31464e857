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
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// As many messages as the ring may hold wait to be popped.
    Full(T),
    /// The consumer is gone: no later push can succeed either.
    Closed(T),
}

impl<T> PushError<T> {
    /// The message that was not pushed.
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
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a count; no slot is touched on the strength of it.
        self.tail.wrapping_sub(self.shared.head.load(Ordering::Relaxed))
    }

    /// Whether the consumer has popped everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that may wait: what [`ring`](ring()) was called with.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the consumer is gone. It does not come back.
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
    #[must_use]
    pub fn len(&self) -> usize {
        // Relaxed: a count; no slot is touched on the strength of it. As the check before parking it comes after the
        // fence of `prepare_park` (R12).
        self.shared.tail.load(Ordering::Relaxed).wrapping_sub(self.head)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that may wait: what [`ring`](ring()) was called with.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether the producer is gone. Messages may still wait.
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
mod tests {
    use super::*;

    fn ring_at_the_end_of_indices(capacity: usize) -> (Producer<usize>, Consumer<usize>) {
        starting_at(usize::MAX - 2, NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn indices_wrap_with_messages_in_the_ring() {
        for capacity in 1..=5 {
            let (mut tx, mut rx) = ring_at_the_end_of_indices(capacity);
            for round in 0..3 * capacity {
                for message in 0..capacity {
                    assert_eq!(tx.len(), message);
                    tx.try_push(round + message).unwrap();
                    assert_eq!(rx.len(), message + 1);
                }
                assert_eq!(tx.try_push(99), Err(PushError::Full(99)));
                for message in 0..capacity {
                    assert_eq!(rx.peek(), Ok(&(round + message)));
                    assert_eq!(rx.try_pop(), Ok(round + message));
                }
                assert_eq!(rx.try_pop(), Err(PopError::Empty));
            }
        }
    }

    #[test]
    fn messages_are_dropped_across_the_wrap() {
        let token = std::rc::Rc::new(());
        let (mut tx, rx) = starting_at(usize::MAX, NonZeroUsize::new(3).unwrap());
        for _ in 0..3 {
            tx.try_push(std::rc::Rc::clone(&token)).unwrap();
        }
        drop(rx);
        assert_eq!(std::rc::Rc::strong_count(&token), 4);
        drop(tx);
        assert_eq!(std::rc::Rc::strong_count(&token), 1);
    }

    #[test]
    #[should_panic(expected = "at least one message")]
    fn a_ring_without_room_is_refused() {
        let _ = ring::<()>(0);
    }

    #[test]
    fn holds_what_was_asked_for_and_no_more() {
        let (mut tx, rx) = ring(5);
        for message in 0..5 {
            tx.try_push(message).unwrap();
        }
        assert_eq!(tx.try_push(5), Err(PushError::Full(5)));
        assert_eq!((tx.capacity(), rx.capacity(), rx.len()), (5, 5, 5));
    }

    #[test]
    fn errors_speak_and_give_the_message_back() {
        let (mut tx, mut rx) = ring(1);
        tx.try_push(Box::new(1)).unwrap();
        let full = tx.try_push(Box::new(2)).unwrap_err();
        assert_eq!(full.to_string(), "the ring is full");
        assert_eq!(format!("{full:?}"), "Full(..)");
        assert_eq!(*full.into_inner(), 2);
        assert_eq!(rx.try_pop(), Ok(Box::new(1)));
        assert_eq!(rx.try_pop().unwrap_err().to_string(), "the ring is empty");
        drop(rx);
        let closed = tx.try_push(Box::new(3)).unwrap_err();
        assert_eq!(closed.to_string(), "the consumer of the ring is gone");
        assert_eq!(*closed.into_inner(), 3);
    }

    #[test]
    fn ends_move_between_threads_if_messages_do() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Producer<std::cell::Cell<u8>>>();
        crosses::<Consumer<std::cell::Cell<u8>>>();
    }
}
