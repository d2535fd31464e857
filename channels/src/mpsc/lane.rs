//! One core's way into a channel.
//!
//! A lane is a ring that grows: messages have indices, which only grow, and lie in slots, a power of two of them. When
//! the slots are full the writer goes on in twice as many new ones. Where it does so there is a *seam*, between two
//! messages, at which the reader does as the writer did. A message that must wait for another lane has a seam before
//! it as well (R24). So the reader goes from message to message as in a [`ring`](mod@crate::ring), and pays for seams
//! only where there are some.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crossbeam_utils::CachePadded;

use crate::memory;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, UnsafeCell};

/// How far a lane has come. Apart from the lane, so that whoever watches a channel need not know what it carries.
pub(super) struct Tally {
    /// Where the next message will be. Written by the lane's writer only.
    tail: CachePadded<AtomicUsize>,
    /// The next message to take. Written by the receiver only.
    head: CachePadded<AtomicUsize>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { tail: CachePadded::new(AtomicUsize::new(0)), head: CachePadded::new(AtomicUsize::new(0)) }
    }

    /// Whether messages wait. Both ends may be at work, so it is a hint, unless a rule (R17, R22) makes it more.
    #[inline]
    pub(super) fn waits(&self) -> bool {
        // Relaxed, both: no slot is touched on the strength of it.
        self.head.load(Ordering::Relaxed) != self.tail.load(Ordering::Relaxed)
    }

    /// The end of what has been sent here, if some of it waits: what a message elsewhere has to wait for that was sent
    /// after all that.
    pub(super) fn unread(&self) -> Option<usize> {
        // Relaxed, both: the sender who asks has seen its own messages happen (R24), and they need not be exact.
        let tail = self.tail.load(Ordering::Relaxed);
        (self.head.load(Ordering::Relaxed) != tail).then_some(tail)
    }

    /// For the receiver: whether everything before `index` has been taken.
    fn has_passed(&self, index: usize) -> bool {
        // Relaxed: the receiver wrote it. The difference is small, whichever side of zero it is on.
        self.head.load(Ordering::Relaxed).wrapping_sub(index).cast_signed() >= 0
    }
}

/// What must be received before the next message of a lane: all that comes before `until` in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct After {
    pub(super) lane: usize,
    pub(super) until: usize,
}

impl After {
    /// For the receiver: whether that is so, by the tally of that lane.
    pub(super) fn has_passed(self, tally: &Tally) -> bool {
        tally.has_passed(self.until)
    }
}

/// Room for messages, whose number is a power of two. Owned by the reader, used by the writer until it goes on.
struct Slots<T>(NonNull<[UnsafeCell<MaybeUninit<T>>]>);

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slots<T> {}

impl<T> Slots<T> {
    fn bytes(count: usize) -> usize {
        count * size_of::<T>()
    }

    fn new(count: usize) -> Self {
        let slots: Box<[_]> = (0..count).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        Self(NonNull::from(Box::leak(slots)))
    }

    fn len(self) -> usize {
        self.0.len()
    }

    /// # Safety
    /// They have not been freed, and are not while the reference lives.
    #[inline]
    unsafe fn at<'a>(self, index: usize) -> &'a UnsafeCell<MaybeUninit<T>> {
        // SAFETY: of the caller. Slots are only reached through shared references and the cells in them.
        unsafe { &self.0.as_ref()[index & (self.len() - 1)] }
    }

    /// # Safety
    /// Nobody uses them any more.
    unsafe fn free(self) {
        memory::give_back(Self::bytes(self.len()));
        // SAFETY: they came from a box; of the caller.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Something that the reader does before it takes the message `at`.
struct Seam<T> {
    at: usize,
    what: What<T>,
    /// Written once, by the writer.
    next: AtomicPtr<Seam<T>>,
}

enum What<T> {
    /// Nothing: the first one.
    Begin,
    /// From here on messages are in these slots.
    Slots(Slots<T>),
    /// All this has to be taken first.
    Wait(After),
}

impl<T> Seam<T> {
    fn leak(at: usize, what: What<T>) -> NonNull<Self> {
        NonNull::from(Box::leak(Box::new(Self { at, what, next: AtomicPtr::new(ptr::null_mut()) })))
    }
}

/// A lane of a channel, apart from its tally, which outlives it.
pub(super) struct Lane<T> {
    writer: CachePadded<UnsafeCell<Writer<T>>>,
    reader: CachePadded<UnsafeCell<Reader<T>>>,
}

struct Writer<T> {
    tally: NonNull<Tally>,
    /// The truth about the tally's `tail`, which nobody else writes.
    tail: usize,
    /// The tally's `head` as last seen, or the first message in `slots` if that is later: all before does not take
    /// room in `slots`.
    floor: usize,
    slots: Slots<T>,
    /// The last one. The reader does not free it before it has another.
    seam: NonNull<Seam<T>>,
}

struct Reader<T> {
    tally: NonNull<Tally>,
    /// The truth about the tally's `head`, which nobody else writes.
    head: usize,
    /// Up to here messages are there, and in `slots`.
    limit: usize,
    slots: Slots<T>,
    /// The last one that has been passed.
    seam: NonNull<Seam<T>>,
    /// Looks in vain since the last message.
    misses: u8,
}

/// Why no message was taken from a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// None waits. How often that has been so since the last one.
    Empty(u8),
    /// The next message has to wait for one in this lane, and there is one.
    After(usize),
    /// There is one, which is not to be handed out yet.
    Held,
}

// SAFETY: two threads at most use a lane at a time: one writes, as whoever calls `push` has promised, and one is the
// receiver, as whoever calls `pop` has. A slot is touched by the writer while it is free and by the reader while it is
// filled; slots, seams and messages change hands through `tail`, `head` and `next` with Release and Acquire (R20).
// Messages move between the threads, which is what `T: Send` allows; no `&T` is ever seen by both.
unsafe impl<T: Send> Sync for Lane<T> {}
// SAFETY: it owns what its pointers lead to, as above.
unsafe impl<T: Send> Send for Lane<T> {}

impl<T> Lane<T> {
    /// What a new lane takes, beside its first slots.
    const BYTES: usize = size_of::<Self>() + size_of::<Tally>() + size_of::<Seam<T>>();

    /// A lane for at most about `capacity` messages at once, with the tally that `tally` makes. `None` if there is no
    /// memory for another lane and it is not `needed`.
    ///
    /// # Safety
    /// The tally is there for as long as the lane is used.
    pub(super) unsafe fn new<'a>(
        capacity: usize,
        needed: bool,
        tally: impl FnOnce() -> &'a Tally,
    ) -> Option<Self> {
        let first = memory::first_slots(memory::cores(), size_of::<T>()).min(capacity).next_power_of_two();
        let take =
            |count, needed| memory::take(Self::BYTES + Slots::<T>::bytes(count), needed).then_some(count);
        let slots = Slots::new(take(first, false).or_else(|| take(1, needed))?);
        let seam = Seam::leak(0, What::Begin);
        let tally = NonNull::from(tally());
        let writer = Writer { tally, tail: 0, floor: 0, slots, seam };
        let reader = Reader { tally, head: 0, limit: 0, slots, seam, misses: 0 };
        Some(Self {
            writer: CachePadded::new(UnsafeCell::new(writer)),
            reader: CachePadded::new(UnsafeCell::new(reader)),
        })
    }

    /// Puts `message` at the end, to be taken only when what `after` says has been. `Err` if it would need memory that
    /// is not to be had and is not `needed`.
    ///
    /// # Safety
    /// No other thread writes to this lane: what any wrote before happened before this.
    #[inline]
    pub(super) unsafe fn push(&self, message: T, after: Option<After>, needed: bool) -> Result<(), T> {
        self.writer.with_mut(|writer| {
            // SAFETY: of the caller; and nothing in here runs code of users, which could come back.
            let writer = unsafe { &mut *writer };
            if !writer.has_room() && !writer.grow(needed) {
                return Err(message);
            }
            if let Some(after) = after {
                writer.add_seam(What::Wait(after));
            }
            // SAFETY: `slots` are the last ones, which the reader does not free before it has others. There is room:
            // fewer messages than there are slots lie between `floor` and `tail`, so that what was in this one has
            // been moved out before the `head` that we acquired, or it is new. The reader does not touch it before it
            // is published.
            unsafe { writer.slots.at(writer.tail).with_mut(|slot| (*slot).write(message)) };
            writer.tail = writer.tail.wrapping_add(1);
            // Release (R20): pairs with the Acquire in `Reader::advance`; slots, seams and message are there.
            writer.tally().tail.store(writer.tail, Ordering::Release);
            Ok(())
        })
    }

    /// Takes the next message. `has_passed` says whether what a message waits for has been taken; `holds`, asked when
    /// there is a message, whether it is to stay.
    ///
    /// # Safety
    /// The caller is the channel's receiver, or there is none any more and the caller has the lane to itself.
    #[inline]
    pub(super) unsafe fn pop(
        &self,
        has_passed: impl FnMut(After) -> bool,
        holds: impl FnOnce() -> bool,
    ) -> Result<T, Stop> {
        self.reader.with_mut(|reader| {
            // SAFETY: of the caller; the closures are ours and do not come back.
            let reader = unsafe { &mut *reader };
            if reader.head == reader.limit {
                reader.advance(has_passed)?;
            }
            if holds() {
                return Err(Stop::Held);
            }
            // SAFETY: the message at `head` lies before a tail that we acquired and in `slots`, which only we free. It
            // is moved out once, because `head` goes on.
            let message = unsafe { reader.slots.at(reader.head).with(|slot| (*slot).assume_init_read()) };
            reader.head = reader.head.wrapping_add(1);
            // Release (R20): pairs with the Acquire in `Writer::has_room`; the slot has been read out.
            reader.tally().head.store(reader.head, Ordering::Release);
            Ok(message)
        })
    }
}

impl<T> Writer<T> {
    #[inline]
    fn tally(&self) -> &Tally {
        // SAFETY: it outlives the lane, and is only ever reached by reference.
        unsafe { self.tally.as_ref() }
    }

    #[inline]
    fn has_room(&mut self) -> bool {
        let is_free = |floor: usize| self.tail.wrapping_sub(floor) < self.slots.len();
        if is_free(self.floor) {
            return true;
        }
        // Acquire (R20): pairs with the Release in `pop`.
        let head = self.tally().head.load(Ordering::Acquire);
        if head.wrapping_sub(self.floor).cast_signed() > 0 {
            self.floor = head;
        }
        is_free(self.floor)
    }

    /// Goes on in twice as many slots. The channel's capacity bounds what is ever in them.
    #[cold]
    fn grow(&mut self, needed: bool) -> bool {
        let count = self.slots.len() * 2;
        let may = memory::take(Slots::<T>::bytes(count), needed);
        if may {
            self.slots = Slots::new(count);
            self.floor = self.tail;
            self.add_seam(What::Slots(self.slots));
        }
        may
    }

    #[cold]
    fn add_seam(&mut self, what: What<T>) {
        let seam = Seam::leak(self.tail, what);
        // Release: pairs with the Acquire in `Reader::advance`.
        // SAFETY: the reader frees a seam only when it has passed the next one, and there is none yet.
        unsafe { self.seam.as_ref() }.next.store(seam.as_ptr(), Ordering::Release);
        self.seam = seam;
    }
}

impl<T> Reader<T> {
    #[inline]
    fn tally(&self) -> &Tally {
        // SAFETY: it outlives the lane, and is only ever reached by reference.
        unsafe { self.tally.as_ref() }
    }

    /// Finds out how far messages go, and passes the seams before the next one. `Ok` if there is a message at `head`.
    #[inline]
    fn advance(&mut self, mut has_passed: impl FnMut(After) -> bool) -> Result<(), Stop> {
        // Acquire (R20): pairs with the Release in `push`. First this, then the seams: all before the tail are there.
        let tail = self.tally().tail.load(Ordering::Acquire);
        loop {
            // Acquire: pairs with the Release in `add_seam`, for a seam that comes after the tail.
            // SAFETY: only the reader frees seams, and this one is still to be freed.
            let next = NonNull::new(unsafe { self.seam.as_ref() }.next.load(Ordering::Acquire));
            // SAFETY: as above.
            let Some(seam) = next.map(|next| unsafe { next.as_ref() }) else {
                self.limit = tail;
                break;
            };
            let until = seam.at.wrapping_sub(self.head);
            if until > 0 {
                self.limit = self.head.wrapping_add(until.min(tail.wrapping_sub(self.head)));
                break;
            }
            if let What::Wait(after) = seam.what
                && !has_passed(after)
            {
                return Err(Stop::After(after.lane));
            }
            self.pass(NonNull::from(seam));
        }
        if self.head == self.limit {
            self.misses = self.misses.saturating_add(1);
            return Err(Stop::Empty(self.misses));
        }
        self.misses = 0;
        Ok(())
    }

    /// Goes on to the next seam, and to the slots that it may bring.
    #[cold]
    fn pass(&mut self, seam: NonNull<Seam<T>>) {
        // SAFETY: the writer has gone on to `seam`, or a later one, and the reader does it here.
        drop(unsafe { Box::from_raw(std::mem::replace(&mut self.seam, seam).as_ptr()) });
        // SAFETY: it is freed when the next one is passed.
        if let What::Slots(slots) = unsafe { seam.as_ref() }.what {
            // SAFETY: all messages in the old ones have been taken, and the writer has gone on before it published
            // the seam.
            unsafe { std::mem::replace(&mut self.slots, slots).free() };
        }
    }
}

impl<T> Lane<T> {
    /// Drops the messages that wait, and frees the rest with the lane.
    ///
    /// # Safety
    /// Nobody else uses the lane, now or later, and `drop` is all that is done with it next.
    pub(super) unsafe fn empty(&self) {
        // SAFETY: of the caller.
        while let Ok(message) = unsafe { self.pop(|_| true, || false) } {
            drop(message);
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        memory::give_back(Self::BYTES);
        self.reader.with_mut(|reader| {
            // SAFETY: the lane is ours alone.
            let reader = unsafe { &mut *reader };
            // SAFETY: the reader owns its slots and seam, and what follows, such as a seam whose message never came. Each
            // is freed here once, and nobody looks again. (Relaxed: ours alone, as above.)
            unsafe {
                reader.slots.free();
                let mut next = Box::from_raw(reader.seam.as_ptr()).next.load(Ordering::Relaxed);
                while !next.is_null() {
                    let seam = Box::from_raw(next);
                    if let What::Slots(slots) = seam.what {
                        slots.free();
                    }
                    next = seam.next.load(Ordering::Relaxed);
                }
            }
        });
    }
}
