//! The end to push into.

use std::fmt;

use crate::ring::{Indices, PushError, Slots};
use crate::sync::{Arc, Ordering};

/// The end of a [`ring`](crate::ring::ring()) to push into. Dropping it closes the ring: the consumer pops the rest and
/// is told.
///
/// ```
/// # use multikernel_channels::ring::ring;
/// let (mut tx, mut rx) = ring(8);
/// let maker = std::thread::spawn(move || (1..=8).try_for_each(|n| tx.try_push(n)));
/// maker.join().unwrap().expect("there is room for eight");
/// assert_eq!(std::iter::from_fn(|| rx.try_pop().ok()).sum::<i32>(), 36);
/// ```
pub struct Producer<T> {
    /// The truth about `indices.tail`, which nobody else writes.
    tail: usize,
    /// `indices.head` as last seen: never ahead of it, so we may think the ring fuller than it is, not emptier (R8).
    seen_head: usize,
    indices: Arc<Indices>,
    slots: Arc<Slots<T>>,
}

impl<T> Producer<T> {
    pub(super) fn new(start: usize, indices: Arc<Indices>, slots: Arc<Slots<T>>) -> Self {
        Self { tail: start, seen_head: start, indices, slots }
    }

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
        if self.indices.is_closed() {
            return Err(PushError::Closed(message));
        }
        if self.room(1) == 0 {
            return Err(PushError::Full(message));
        }
        // SAFETY: there is room.
        unsafe { self.write(0, message) };
        self.publish(1);
        Ok(())
    }

    /// Puts copies of the first messages of `messages` at the end, as many as there is room for, and says how many.
    /// The consumer sees all of them at once, which costs both ends less than one at a time.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] when the consumer is gone.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::ring;
    /// let (mut tx, mut rx) = ring(4);
    /// assert_eq!(tx.push_slice(b"number one"), Ok(4));
    /// assert_eq!(rx.pop_chunk(3).collect::<Vec<_>>(), b"num");
    /// assert_eq!(tx.push_slice(b"er one"), Ok(3));
    /// ```
    #[inline]
    pub fn push_slice(&mut self, messages: &[T]) -> Result<usize, PushError<()>>
    where
        T: Copy,
    {
        self.push_from(&mut messages.iter().copied())
    }

    /// Takes messages from `messages` and puts them at the end, for as long as there are any and there is room; says
    /// how many. What it did not take is still in the iterator.
    ///
    /// # Errors
    ///
    /// [`PushError::Closed`] when the consumer is gone; nothing has been taken.
    ///
    /// # Panics
    ///
    /// If the iterator does. What it gave before that is in the ring.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::ring::ring;
    /// let (mut tx, mut rx) = ring(2);
    /// let mut words = ["one", "two", "three"].map(String::from).into_iter();
    /// assert_eq!(tx.push_from(&mut words), Ok(2));
    /// assert_eq!(words.next().as_deref(), Some("three"));
    /// assert_eq!(rx.try_pop().as_deref(), Ok("one"));
    /// ```
    #[inline]
    pub fn push_from(&mut self, messages: &mut impl Iterator<Item = T>) -> Result<usize, PushError<()>> {
        /// Publishes what has been written also if the iterator panics.
        struct Written<'a, T>(&'a mut Producer<T>, usize);
        impl<T> Drop for Written<'_, T> {
            fn drop(&mut self) {
                if self.1 > 0 {
                    self.0.publish(self.1);
                }
            }
        }

        if self.indices.is_closed() {
            return Err(PushError::Closed(()));
        }
        let room = self.room(messages.size_hint().0.max(1));
        let mut written = Written(self, 0);
        while written.1 < room {
            let Some(message) = messages.next() else { break };
            // SAFETY: there is room for `room` messages, and fewer are written.
            unsafe { written.0.write(written.1, message) };
            written.1 += 1;
        }
        Ok(written.1)
    }

    /// For how many messages there is room; looks afresh if fewer than `wanted` are known of.
    #[inline]
    fn room(&mut self, wanted: usize) -> usize {
        let known = self.indices.capacity - self.tail.wrapping_sub(self.seen_head);
        if known >= wanted {
            return known;
        }
        // Acquire (R7): pairs with the Release in `Consumer`; the slots before the new head have been read out.
        self.seen_head = self.indices.head.load(Ordering::Acquire);
        self.indices.capacity - self.tail.wrapping_sub(self.seen_head)
    }

    /// Writes the message that comes `ahead` of the next one to publish.
    ///
    /// # Safety
    /// `ahead` is less than what `room` has said since the last publication.
    #[inline]
    unsafe fn write(&mut self, ahead: usize, message: T) {
        self.slots.at(self.tail.wrapping_add(ahead)).with_mut(|slot| {
            // SAFETY: at most `capacity` <= `slots` messages lie between head and tail, so the slot is free: its
            // last message was moved out before the head that we acquired. The consumer does not touch it before it
            // is published, and there is no other producer.
            unsafe { (*slot).write(message) };
        });
    }

    /// Hands the next `count` messages, which have been written, to the consumer.
    #[inline]
    fn publish(&mut self, count: usize) {
        self.tail = self.tail.wrapping_add(count);
        // Release (R7): pairs with the Acquire loads of `tail` by the consumer, which then finds the messages.
        self.indices.tail.store(self.tail, Ordering::Release);
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
        self.tail.wrapping_sub(self.indices.head.load(Ordering::Relaxed))
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

    /// The most messages that may wait: what [`ring`](crate::ring::ring()) was called with.
    ///
    /// ```
    /// # let (tx, _rx) = multikernel_channels::ring::ring::<u8>(3);
    /// assert_eq!(tx.capacity(), 3); // in four slots
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.indices.capacity
    }

    /// Closes the ring from this end: the consumer pops the rest and is told. Later pushes fail.
    ///
    /// ```
    /// # use multikernel_channels::ring::{PopError, ring};
    /// # let (mut tx, mut rx) = ring(4);
    /// tx.try_push("last").unwrap();
    /// tx.close();
    /// assert_eq!(rx.try_pop(), Ok("last"));
    /// assert_eq!(rx.try_pop(), Err(PopError::Closed));
    /// ```
    pub fn close(&mut self) {
        self.indices.close();
    }

    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.room(1) > 0
    }

    /// Whether an end has closed the ring. That does not change again.
    ///
    /// ```
    /// # let (tx, rx) = multikernel_channels::ring::ring::<u8>(1);
    /// drop(rx);
    /// assert!(tx.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.indices.is_closed()
    }

    pub(crate) fn indices(&self) -> &Arc<Indices> {
        &self.indices
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.indices.close();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}
