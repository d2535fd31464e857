//! A bounded queue from one end to one other end.
//!
//! [`ring`] makes the two ends. Each may move between threads, but there is only one of each and its calls take
//! `&mut self`, so the ends agree with two indices and no read-modify-write (rules R6 to R11). Nothing here waits:
//! a full ring gives the message back, an empty one says so.

mod consumer;
mod error;
mod producer;

use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use crossbeam_utils::CachePadded;

pub use self::consumer::{Chunk, Consumer};
pub use self::error::{PopError, PushError};
pub use self::producer::Producer;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};

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
///
/// ```compile_fail,E0599
/// let (tx, rx) = multikernel_channels::ring::ring::<u8>(1);
/// let second = rx.clone();
/// ```
///
/// What goes to another thread must be `Send`:
///
/// ```compile_fail,E0277
/// let (mut tx, rx) = multikernel_channels::ring::ring(1);
/// std::thread::spawn(move || tx.try_push(std::rc::Rc::new(1)));
/// ```
#[must_use]
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = NonZeroUsize::new(capacity).expect("a ring has room for at least one message");
    starting_at(0, capacity)
}

/// What a ring for so many messages takes, in bytes.
pub(crate) const fn bytes<T>(capacity: usize) -> usize {
    // With two counts each; those of the indices have a line of their own.
    let counts = 2 * size_of::<usize>();
    let ends = size_of::<CachePadded<usize>>() + size_of::<Indices>() + counts + size_of::<Slots<T>>();
    ends + capacity.next_power_of_two() * size_of::<T>()
}

/// A ring whose indices begin at `start`.
fn starting_at<T>(start: usize, capacity: NonZeroUsize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.get();
    let slots = capacity.checked_next_power_of_two().expect("capacity overflow");
    let indices = Arc::new(Indices {
        head: CachePadded::new(AtomicUsize::new(start)),
        tail: CachePadded::new(AtomicUsize::new(start)),
        closed: AtomicBool::new(false),
        capacity,
    });
    let slots = Arc::new(Slots {
        indices: Arc::clone(&indices),
        slots: (0..slots).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        mask: slots - 1,
    });
    let producer = Producer::new(start, Arc::clone(&indices), Arc::clone(&slots));
    (producer, Consumer::new(start, indices, slots))
}

/// Where both ends are. Indices count messages since the start and wrap round at `usize::MAX`; their low bits say the
/// slot. The messages from `head` up to `tail` are in the ring.
///
/// Apart from the messages, so that whoever watches a ring need not know what is in it, nor keep it.
#[derive(Debug)]
pub(crate) struct Indices {
    /// The next message to pop. Written by the consumer only (R6).
    head: CachePadded<AtomicUsize>,
    /// Where the next message will be. Written by the producer only (R6).
    tail: CachePadded<AtomicUsize>,
    /// Whether an end is gone. Written once, on a line that nobody writes otherwise, so reading it is cheap.
    closed: AtomicBool,
    capacity: usize,
}

impl Indices {
    /// How many messages wait. Both ends may be at work, so it is a hint, unless the rule about waiting (R17) makes it
    /// more.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Relaxed, both: a count; no slot is touched on the strength of it. `head` first: it only follows `tail`.
        let head = self.head.load(Ordering::Relaxed);
        self.tail.load(Ordering::Relaxed).wrapping_sub(head)
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn close(&self) {
        // Release (R10): pairs with the Acquire fence of the end that sees it. All this end wrote comes before.
        self.closed.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed for the usual answer; only the other one has something to see.
        let closed = self.closed.load(Ordering::Relaxed);
        if closed {
            // Acquire (R10): pairs with the Release in `close`.
            fence(Ordering::Acquire);
        }
        closed
    }
}

/// The messages themselves.
struct Slots<T> {
    indices: Arc<Indices>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// One less than their number, which is a power of two.
    mask: usize,
}

// SAFETY: two threads at most use a `Slots`, one through the producer and one through the consumer. A slot is
// touched by the producer while it is free and by the consumer while it is filled, and changes hands through the
// indices with Release and Acquire (R7), so no access is concurrent. Messages move between the threads, which is what
// `T: Send` allows; no `&T` is ever seen by both.
unsafe impl<T: Send> Sync for Slots<T> {}

impl<T> Slots<T> {
    #[inline]
    fn at(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        // SAFETY: neither is changed after `starting_at`, which makes one slot more than the mask; what is masked is less.
        unsafe { self.slots.get_unchecked(index & self.mask) }
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        // Relaxed, both: both ends are gone, and the count of references ordered all they did before this (R11).
        let mut head = self.indices.head.load(Ordering::Relaxed);
        let tail = self.indices.tail.load(Ordering::Relaxed);
        while head != tail {
            // SAFETY: slots from head to tail hold messages that nobody popped, each is visited once, and nobody
            // else is left.
            self.at(head).with_mut(|slot| unsafe { (*slot).assume_init_drop() });
            head = head.wrapping_add(1);
        }
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
        assert_eq!(std::rc::Rc::strong_count(&token), 1, "the messages go with the consumer");
        drop(tx);
    }

    #[test]
    fn what_an_iterator_gave_before_it_panicked_is_in_the_ring() {
        let token = std::rc::Rc::new(());
        let (mut tx, mut rx) = ring(4);
        let mut messages = (0..4).map(|number| {
            assert!(number < 2, "the third is bad");
            (number, std::rc::Rc::clone(&token))
        });
        let push = std::panic::AssertUnwindSafe(|| tx.push_from(&mut messages));
        assert!(std::panic::catch_unwind(push).is_err());
        assert_eq!((tx.len(), rx.len()), (2, 2));
        assert_eq!(rx.try_pop().map(|message| message.0), Ok(0));
        tx.try_push((2, std::rc::Rc::clone(&token))).unwrap();
        assert_eq!(std::rc::Rc::strong_count(&token), 3);
        assert!(rx.pop_chunk(4).map(|message| message.0).eq([1, 2]));
        assert_eq!(std::rc::Rc::strong_count(&token), 1);
    }

    #[test]
    fn a_leaked_chunk_has_taken_what_it_was_asked_for() {
        let token = std::rc::Rc::new(());
        let (mut tx, mut rx) = ring(4);
        assert_eq!(tx.push_from(&mut (0..4).map(|_| std::rc::Rc::clone(&token))), Ok(4));
        let mut chunk = rx.pop_chunk(3);
        assert!(chunk.next().is_some() && chunk.next().is_some());
        std::mem::forget(chunk);
        assert_eq!(std::rc::Rc::strong_count(&token), 3);
        drop(rx);
        assert_eq!(std::rc::Rc::strong_count(&token), 1, "the other two, once");
        drop(tx);
        assert_eq!(std::rc::Rc::strong_count(&token), 1, "and none again");
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
