//! The layout that [`multikernel_channels::ring`] does not use, so that the two can be compared: a sequence word in
//! each slot, beside the message (after Barrelfish's UMP).
//!
//! The sender writes the message and then the sequence word, which is the message's number plus one; the receiver
//! looks at nothing but the slot that is next. A message that fits into one line with its sequence word crosses with
//! that one line. The receiver's progress is on a line of its own, which it writes twice a wrap and when it finds
//! nothing; the sender reads it when it thinks the ring full.
//!
//! Slots are packed, so that several small messages share a line, or have a line each.
//!
//! | line | written by | when | read by |
//! |---|---|---|---|
//! | slot | sender | each push | receiver, each pop |
//! | acknowledgement | receiver | half a wrap after the last time, or on finding nothing | sender, when it thinks the ring full |

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// A message and its sequence word.
pub(super) struct Slot<T> {
    /// The number of the message in it plus one; zero before the first.
    sequence: AtomicUsize,
    message: UnsafeCell<MaybeUninit<T>>,
}

/// A slot on a line of its own, or on lines.
#[repr(align(64))]
pub(super) struct Lined<T>(Slot<T>);

/// A slot beside the next.
pub(super) struct Packed<T>(Slot<T>);

/// How slots lie.
pub(super) trait Spacing<T>: Deref<Target = Slot<T>> + From<Slot<T>> {}

macro_rules! spacing {
    ($name:ident) => {
        impl<T> Deref for $name<T> {
            type Target = Slot<T>;

            #[inline]
            fn deref(&self) -> &Slot<T> {
                &self.0
            }
        }

        impl<T> From<Slot<T>> for $name<T> {
            fn from(slot: Slot<T>) -> Self {
                Self(slot)
            }
        }

        impl<T> Spacing<T> for $name<T> {}
    };
}

spacing!(Lined);
spacing!(Packed);

struct Shared<S> {
    /// How many messages the receiver has taken, at least. Written by it alone.
    acknowledged: CachePadded<AtomicUsize>,
    slots: Box<[S]>,
}

/// What an end has: a copy of it is a mistake, so there is none.
struct End<S> {
    /// The number of the next message.
    next: usize,
    /// Sender: the acknowledgement as last seen. Receiver: as last written.
    acknowledged: usize,
    shared: Arc<Shared<S>>,
}

// SAFETY: two threads use a ring, one through each end, which cannot be copied and takes `&mut self`. The sender
// touches a slot from when its message is acknowledged until it stores the sequence word, the receiver from when it
// sees that until it acknowledges; both hand over with Release and Acquire. So no two accesses to a message are
// concurrent, and messages move between threads, as `T: Send` (in the bounds of the ends' methods) allows.
unsafe impl<S> Send for End<S> {}

impl<S> End<S> {
    fn place(&self) -> &S {
        // The number of slots is a power of two.
        &self.shared.slots[self.next & (self.shared.slots.len() - 1)]
    }
}

/// The end that sends.
pub(super) struct Tx<S>(End<S>);

/// The end that receives.
pub(super) struct Rx<S>(End<S>);

/// A ring of `room` slots. Messages that nobody takes are forgotten, which for what is `Copy` is all there is to do.
///
/// # Panics
/// When `room` is not a power of two.
#[must_use]
pub(super) fn ring<T: Copy + Send, S: Spacing<T>>(room: usize) -> (Tx<S>, Rx<S>) {
    assert!(room.is_power_of_two(), "a slot is found by masking");
    let slot = || Slot { sequence: AtomicUsize::new(0), message: UnsafeCell::new(MaybeUninit::uninit()) };
    let shared = Arc::new(Shared {
        acknowledged: CachePadded::new(AtomicUsize::new(0)),
        slots: (0..room).map(|_| S::from(slot())).collect(),
    });
    let end = |shared| End { next: 0, acknowledged: 0, shared };
    (Tx(end(Arc::clone(&shared))), Rx(end(shared)))
}

impl<S> Tx<S> {
    /// Puts a message in; gives it back when the ring is full, which may be said as long as half of it is empty.
    ///
    /// # Errors
    /// Exactly then.
    #[inline]
    pub(super) fn push<T: Copy + Send>(&mut self, message: T) -> Result<(), T>
    where
        S: Spacing<T>,
    {
        let end = &mut self.0;
        if end.next - end.acknowledged == end.shared.slots.len() {
            // Acquire: pairs with the Release in `acknowledge`; those messages have been read out.
            end.acknowledged = end.shared.acknowledged.load(Ordering::Acquire);
            if end.next - end.acknowledged == end.shared.slots.len() {
                return Err(message);
            }
        }
        let slot = end.place();
        // SAFETY: the last message of this slot is acknowledged, so the receiver has read it and looks at the slot
        // again only through the sequence word, which is not the one it waits for until the store below. There is no
        // other sender.
        unsafe { (*slot.message.get()).write(message) };
        // Release: pairs with the Acquire in `pop`, which then finds the message.
        slot.sequence.store(end.next + 1, Ordering::Release);
        end.next += 1;
        Ok(())
    }
}

impl<S> Rx<S> {
    /// Takes the next message, if it is there.
    #[inline]
    pub(super) fn pop<T: Copy + Send>(&mut self) -> Option<T>
    where
        S: Spacing<T>,
    {
        let end = &mut self.0;
        let slot = end.place();
        // Acquire: pairs with the Release in `push`; the message is written.
        if slot.sequence.load(Ordering::Acquire) != end.next + 1 {
            // A sender that waits for room must not wait for half a wrap that is not to come.
            if end.next != end.acknowledged {
                self.acknowledge();
            }
            return None;
        }
        // SAFETY: the sequence word says that this message is written, and the sender leaves it alone until it is
        // acknowledged, below. There is no other receiver; a second read is made impossible by counting on.
        let message = unsafe { (*slot.message.get()).assume_init_read() };
        end.next += 1;
        if end.next - end.acknowledged >= end.shared.slots.len() / 2 {
            self.acknowledge();
        }
        Some(message)
    }

    fn acknowledge(&mut self) {
        self.0.acknowledged = self.0.next;
        // Release: pairs with the Acquire in `push`, which may then write these slots again.
        self.0.shared.acknowledged.store(self.0.next, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn in_order<S: Spacing<[u64; 3]> + 'static>(room: usize) {
        const COUNT: u64 = 100_000;
        let (mut tx, mut rx) = ring::<_, S>(room);
        let sender = thread::spawn(move || {
            for number in 0..COUNT {
                while tx.push([number, !number, number]).is_err() {
                    thread::yield_now();
                }
            }
        });
        for number in 0..COUNT {
            let message = loop {
                match rx.pop() {
                    Some(message) => break message,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(message, [number, !number, number]);
        }
        assert_eq!(rx.pop(), None);
        sender.join().unwrap();
    }

    #[test]
    fn messages_cross_threads_whole_and_in_order() {
        for room in [1, 2, 64] {
            in_order::<Packed<_>>(room);
            in_order::<Lined<_>>(room);
        }
    }

    #[test]
    fn a_full_ring_gives_the_message_back() {
        let (mut tx, mut rx) = ring::<u8, Packed<u8>>(4);
        for wrap in 0..3 {
            for number in 0..4 {
                assert_eq!(tx.push(wrap + number), Ok(()));
            }
            assert_eq!(tx.push(9), Err(9));
            for number in 0..4 {
                assert_eq!(rx.pop(), Some(wrap + number));
            }
            assert_eq!(rx.pop(), None);
        }
    }

    #[test]
    fn progress_is_acknowledged_twice_a_wrap_and_at_the_end() {
        let (mut tx, mut rx) = ring::<u8, Lined<u8>>(4);
        (0..4).for_each(|number| tx.push(number).unwrap());
        assert_eq!(rx.pop(), Some(0));
        assert_eq!(tx.push(4), Err(4), "one of four is taken, and nothing said");
        assert_eq!(rx.pop(), Some(1));
        (4..6).for_each(|number| tx.push(number).unwrap());
        assert_eq!(tx.push(6), Err(6));
        (2..6).for_each(|number| assert_eq!(rx.pop(), Some(number)));
        tx.push(6).unwrap();
        assert_eq!(rx.pop(), Some(6));
        assert_eq!(rx.pop(), None, "and that is the moment to say so");
        (7..11).for_each(|number| tx.push(number).unwrap());
    }

    #[test]
    fn a_lined_slot_shares_no_line() {
        assert_eq!(size_of::<Lined<u64>>(), 64);
        assert_eq!(size_of::<Lined<[u64; 7]>>(), 64);
        assert_eq!(size_of::<Packed<u64>>(), 16);
    }
}
