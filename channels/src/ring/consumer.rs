//! The end to pop from.

use std::fmt;
use std::iter::FusedIterator;

use crate::hub::Look;
use crate::ring::{Indices, PopError, Slots};
use crate::sync::{Arc, Ordering};

/// The end of a [`ring`](crate::ring::ring()) to pop from. Dropping it closes the ring: the producer gets its messages
/// back.
///
/// Messages that wait when the consumer is dropped are dropped with it. One that the producer pushes at that very
/// moment is dropped with the producer.
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
    /// The truth about `indices.head`, which nobody else writes.
    head: usize,
    /// `indices.tail` as last seen: never ahead of it, so we may think the ring emptier than it is, not fuller (R8).
    seen_tail: usize,
    indices: Arc<Indices>,
    slots: Arc<Slots<T>>,
}

impl<T> Consumer<T> {
    pub(super) fn new(start: usize, indices: Arc<Indices>, slots: Arc<Slots<T>>) -> Self {
        Self { head: start, seen_tail: start, indices, slots }
    }

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
        // SAFETY: `find` saw a message at `head`.
        let message = unsafe { self.read() };
        self.hand_back();
        Ok(message)
    }

    /// As [`try_pop`](Self::try_pop), but before it hands out what it has found, a message or the end, it asks `holds`;
    /// if that is so, all stays as it is.
    #[inline]
    pub(crate) fn look(&mut self, holds: impl FnOnce() -> bool) -> Look<Option<T>> {
        match self.find() {
            Err(PopError::Empty) => Look::Nothing,
            _ if holds() => Look::Held,
            Err(PopError::Closed) => Look::Done(None),
            Ok(()) => {
                // SAFETY: `find` saw a message at `head`.
                let message = unsafe { self.read() };
                self.hand_back();
                Look::Done(Some(message))
            }
        }
    }

    /// Takes the oldest messages, at most `most` of those that wait now, one by one as the iterator is asked. What it
    /// was not asked for stays in the ring. The producer gets the room back when the chunk is dropped.
    ///
    /// A chunk is empty when nothing waits; [`try_pop`](Self::try_pop) says why.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::{PopError, ring};
    /// let (mut tx, mut rx) = ring(8);
    /// tx.push_slice(&[1, 2, 3, 4, 5]).unwrap();
    /// assert_eq!(rx.pop_chunk(3).sum::<i32>(), 6);
    /// assert_eq!(rx.pop_chunk(usize::MAX).len(), 2);
    /// assert_eq!(rx.try_pop(), Ok(4), "the second chunk was not asked for anything");
    /// ```
    #[inline]
    pub fn pop_chunk(&mut self, most: usize) -> Chunk<'_, T> {
        let known = self.seen_tail.wrapping_sub(self.head);
        if known < most {
            self.reload();
        }
        let len = self.seen_tail.wrapping_sub(self.head).min(most);
        Chunk { consumer: self, len }
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
        Ok(self.slots.at(self.head).with(|slot| unsafe { (*slot).assume_init_ref() }))
    }

    /// Makes sure that there is a message at `head`.
    #[inline]
    fn find(&mut self) -> Result<(), PopError> {
        if self.head != self.seen_tail || self.reload() {
            return Ok(());
        }
        if !self.indices.is_closed() {
            return Err(PopError::Empty);
        }
        // The last messages may have come between the two looks; what the producer pushed, it pushed before it
        // closed (R9).
        if self.reload() { Ok(()) } else { Err(PopError::Closed) }
    }

    /// Looks how far the producer is. True if there is something to pop.
    #[inline]
    fn reload(&mut self) -> bool {
        // Acquire (R7): pairs with the Release in `Producer`; the messages before the new tail are written.
        self.seen_tail = self.indices.tail.load(Ordering::Acquire);
        self.head != self.seen_tail
    }

    /// Moves the oldest message out of its slot and goes on to the next.
    ///
    /// # Safety
    /// There is one: `head` lies before `seen_tail`.
    #[inline]
    unsafe fn read(&mut self) -> T {
        // SAFETY: the producer published it before the tail that we acquired (R7), it does not write the slot before
        // it gets it back, there is no other consumer, and this one never comes here again.
        let message = self.slots.at(self.head).with(|slot| unsafe { (*slot).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        message
    }

    /// Gives the slots that have been read out back to the producer.
    #[inline]
    fn hand_back(&mut self) {
        // Release (R7): pairs with the Acquire load of `head` by the producer, which may then reuse the slots.
        self.indices.head.store(self.head, Ordering::Release);
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
        self.indices.tail.load(Ordering::Relaxed).wrapping_sub(self.head)
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

    /// The most messages that may wait: what [`ring`](crate::ring::ring()) was called with.
    ///
    /// ```
    /// # let (_tx, rx) = multikernel_channels::ring::ring::<u8>(3);
    /// assert_eq!(rx.capacity(), 3);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.indices.capacity
    }

    /// Closes the ring from this end: the producer pushes nothing more. What waits can still be popped.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::{PopError, PushError, ring};
    /// let (mut tx, mut rx) = ring(2);
    /// tx.try_push('a').unwrap();
    /// rx.close();
    /// assert_eq!(tx.try_push('b'), Err(PushError::Closed('b')));
    /// assert_eq!(rx.try_pop(), Ok('a'));
    /// assert_eq!(rx.try_pop(), Err(PopError::Closed));
    /// ```
    pub fn close(&mut self) {
        self.indices.close();
    }

    /// Whether an end has closed the ring. Messages may still wait.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::ring::ring(1);
    /// tx.try_push("last words").unwrap();
    /// drop(tx);
    /// assert!(rx.is_closed() && !rx.is_empty());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.indices.is_closed()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.indices.close();
        // A message may hold what its sender waits for, such as the place of an answer. With its own slots this chunk
        // hands back those of one that was leaked: they are empty, and `Slots` must know.
        self.pop_chunk(usize::MAX).for_each(drop);
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

/// The oldest messages of a ring, taken one by one: what [`Consumer::pop_chunk`] returns.
///
/// ```
/// # let (mut tx, mut rx) = multikernel_channels::ring::ring(4);
/// tx.push_slice(b"abcd").unwrap();
/// let mut chunk = rx.pop_chunk(3);
/// assert_eq!((chunk.len(), chunk.next()), (3, Some(b'a')));
/// ```
pub struct Chunk<'a, T> {
    consumer: &'a mut Consumer<T>,
    /// How many are left.
    len: usize,
}

impl<T> Iterator for Chunk<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: this many messages were seen, and only we have taken some of them.
        Some(unsafe { self.consumer.read() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl<T> ExactSizeIterator for Chunk<'_, T> {}

impl<T> FusedIterator for Chunk<'_, T> {}

impl<T> Drop for Chunk<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.hand_back();
    }
}

impl<T> fmt::Debug for Chunk<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").field("len", &self.len()).finish_non_exhaustive()
    }
}
