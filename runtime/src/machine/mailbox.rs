//! A core as the others see it: the inbox they post to and the doorbell they ring.
//!
//! A mailbox outlives its core. The Machine holds it, and so do the tasks that were born on the core: a waker may be
//! kept for ever, and waking it must find an inbox, if only a closed one. Tasks do not hold an `Arc` each, which
//! would cost two atomic operations a spawn; they are counted, the core's share of the count without atomics.

use std::io;
use std::num::NonZeroU64;
use std::panic::Location;
use std::ptr::{NonNull, null_mut};

use crossbeam_utils::CachePadded;
use futures::task::AtomicWaker;
use multikernel_channels::doorbell::Doorbell;
use multikernel_channels::inbox::{Batch, Closed, Inbox, Link, Linked};
use multikernel_channels::sync::{
    Arc, AtomicBool, AtomicI32, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, Ordering, fence,
};

use crate::machine::figures::Figures;
use crate::machine::seat::SeatWord;

/// Names one core of one Machine; never reused within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CoreUid(pub(crate) NonZeroU64);

/// How an envelope left its inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The core takes it.
    Open,
    /// The core has closed the inbox and is no home any more: as if the post had been refused.
    Closed,
}

/// What an inbox carries: the first field of everything that can be posted.
#[repr(C)]
pub(crate) struct Envelope {
    link: Link,
    /// Called once, on the core that took the envelope from its inbox. From then on that core owns the object.
    deliver: Deliver,
}

type Deliver = unsafe fn(NonNull<Envelope>, Arrival);

// SAFETY: `repr(C)` and `link` comes first.
unsafe impl Linked for Envelope {}

impl Envelope {
    pub(crate) fn new(deliver: Deliver) -> Self {
        Self { link: Link::new(), deliver }
    }

    /// # Safety
    /// `envelope` came out of an inbox of the calling core just now.
    pub(crate) unsafe fn deliver(envelope: NonNull<Envelope>, arrival: Arrival) {
        // SAFETY: what is in an inbox is alive, and this core has become its owner.
        let deliver = unsafe { envelope.as_ref().deliver };
        // SAFETY: `deliver` was paired with this very object when the envelope was made.
        unsafe { deliver(envelope, arrival) }
    }
}

/// What a core publishes about itself; written by that core (connections: by whoever places one), read by the rest.
#[derive(Default)]
pub(crate) struct Load {
    /// Live tasks, as of the last turn.
    pub(crate) tasks: AtomicU32,
    /// How long a task that is queued now waits for its poll, in nanoseconds, as of the last turn.
    pub(crate) delay: AtomicU32,
    /// Tasks that were placed because they serve an accepted connection.
    pub(crate) connections: AtomicU32,
    /// What the core is to the others: a [`Standing`].
    standing: AtomicU8,
    /// The core runs a call that blocks: it gets no tasks meanwhile, unless they are for it.
    blocks: AtomicBool,
    /// When the core parked, no task of it waited for a round of the agreement.
    sleeps_over_rounds: AtomicBool,
    /// Where the task was spawned that is being polled, or was last.
    polled: AtomicPtr<Location<'static>>,
    /// The polls that the core has begun, modulo 2^32.
    polls: AtomicU32,
    /// The core is in that part of its turn in which it polls tasks.
    is_in_polls: AtomicBool,
    /// Written by who watches: the core has been in one poll for too long, and still is.
    is_stalled: AtomicBool,
    /// The core has sent its other tasks away, to make long polls.
    is_reserved: AtomicBool,
    /// The CPU that it is pinned to. Written by who pins cores.
    pub(crate) seat: SeatWord,
}

/// What a core is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// It gets tasks, and votes.
    Member,
    /// It gets no new tasks, and leaves when its last has ended.
    Leaving,
    /// It runs nothing, and has no part in the agreement. Its thread sleeps.
    Retired,
    /// It waits until it is a member again.
    Joining,
    /// Its thread has ended by a panic.
    Dead,
}

impl Standing {
    /// Whether its thread runs, if only to sleep.
    pub(crate) fn lives(self) -> bool {
        self != Self::Dead
    }

    /// Whether it has a part in the agreement.
    pub(crate) fn is_part(self) -> bool {
        matches!(self, Self::Member | Self::Leaving)
    }

    /// Whether others may have to do with it in the agreement.
    pub(crate) fn is_there(self) -> bool {
        self.is_part() || self == Self::Joining
    }

    fn from_word(word: u8) -> Self {
        use Standing::{Dead, Joining, Leaving, Member, Retired};
        [Member, Leaving, Retired, Joining, Dead][usize::from(word)]
    }
}

impl Load {
    pub(crate) fn standing(&self) -> Standing {
        // SeqCst: a core that joins reads this after it has opened its ends, a core that goes closes its ends after it has
        // written this; one of them sees the other.
        Standing::from_word(self.standing.load(Ordering::SeqCst))
    }

    /// SeqCst: see [`standing`](Self::standing).
    pub(crate) fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::SeqCst);
    }

    /// Makes one standing of another. Says whether it was the first.
    pub(crate) fn change_standing(&self, from: Standing, to: Standing) -> bool {
        // SeqCst: see `standing`. Relaxed: nothing was changed.
        let (from, to) = (from as u8, to as u8);
        self.standing.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// The core is about to park; rounds of the agreement may be decided without waking it, or not.
    pub(crate) fn set_sleeps_over_rounds(&self, may: bool) {
        self.sleeps_over_rounds.store(may, Ordering::Relaxed); // published with the state word, by the fence
        fence(Ordering::Release); // pairs with the Acquire in `sleeps_over_rounds`
    }

    /// After the core's state word was seen to say that it is parked.
    pub(crate) fn sleeps_over_rounds(&self) -> bool {
        fence(Ordering::Acquire); // pairs with the Release in `set_sleeps_over_rounds`, by way of the state word
        self.sleeps_over_rounds.load(Ordering::Relaxed)
    }

    /// Whether new tasks may be placed here.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.would_take_tasks() && !self.is_reserved()
    }

    /// Whether tasks are served here that have to go somewhere: a core that is reserved is better than one that leaves, or blocks.
    pub(crate) fn would_take_tasks(&self) -> bool {
        // Figures, both.
        let is_member = Standing::from_word(self.standing.load(Ordering::Relaxed)) == Standing::Member;
        is_member && !self.is_held_up()
    }

    /// Whether what is sent to the core has to wait for a call that blocks, or for a poll that has taken long already.
    pub(crate) fn is_held_up(&self) -> bool {
        self.blocks() || self.is_stalled.load(Ordering::Relaxed) // a figure
    }

    /// Whether the core keeps itself free for tasks whose polls are long.
    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved.load(Ordering::Relaxed) // a figure
    }

    /// For the core itself.
    pub(crate) fn set_reserved(&self, is_reserved: bool) {
        self.is_reserved.store(is_reserved, Ordering::Relaxed); // a figure
    }

    /// For who watches: the core is stuck, or not any more. It publishes no delay meanwhile, so that is done for it.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed); // a figure, as are the delays
        if is_stalled {
            self.delay.store(u32::MAX, Ordering::Relaxed);
        } else if !self.blocks() {
            // Unless the core has told since.
            let _ = self.delay.compare_exchange(u32::MAX, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether the core runs a call that blocks.
    pub(crate) fn blocks(&self) -> bool {
        self.blocks.load(Ordering::Relaxed) // a figure
    }

    /// The core begins or ends a call that blocks. Says what it did before.
    pub(crate) fn set_blocks(&self, blocks: bool) -> bool {
        self.blocks.swap(blocks, Ordering::Relaxed) // a figure
    }

    /// The core polls a task that was spawned there. `count` is another one for each poll.
    pub(crate) fn note_poll(&self, at: &'static Location<'static>, count: u64) {
        self.polled.store(std::ptr::from_ref(at).cast_mut(), Ordering::Relaxed); // a figure
        self.polls.store(count as u32, Ordering::Relaxed); // as is this; cut off on purpose
    }

    /// The core begins, or ends, to poll tasks.
    pub(crate) fn note_polls(&self, begin: bool) {
        self.is_in_polls.store(begin, Ordering::Relaxed); // a figure
    }

    /// Changes with each poll.
    pub(crate) fn polls(&self) -> u32 {
        self.polls.load(Ordering::Relaxed) // a figure
    }

    /// Whether the core polls tasks. Not so while it turns its driver, or does what others have asked for.
    pub(crate) fn is_in_polls(&self) -> bool {
        self.is_in_polls.load(Ordering::Relaxed) // a figure
    }

    /// Where the task was spawned that the core polls, or has polled last.
    pub(crate) fn polled(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or what `note_poll` has stored, which is never freed and never changes.
        unsafe { self.polled.load(Ordering::Relaxed).as_ref() }
    }
}

/// A count that the core has not yet merged never reaches zero.
const UNMERGED: isize = isize::MAX / 2;

pub(crate) struct Mailbox {
    inbox: CachePadded<Inbox<Envelope>>,
    pub(crate) doorbell: Doorbell,
    pub(crate) load: CachePadded<Load>,
    /// The core's own lines: nobody else writes them.
    pub(crate) figures: CachePadded<Figures>,
    pub(crate) uid: CoreUid,
    /// The Machine's number. It keeps the mailboxes of all its cores until the last of them has ended.
    pub(crate) machine: NonZeroU64,
    /// The core's number within its Machine.
    pub(crate) index: u32,
    /// The descriptor of the core's io_uring, or -1: without one the doorbell's eventfd is rung.
    pub(crate) ring_fd: AtomicI32,
    /// The number of the core's thread, or zero before it runs.
    pub(crate) thread: AtomicI32,
    /// What `Arc` would call `this`: the address with the right to reach the counts beside the mailbox.
    this: AtomicPtr<Mailbox>,
    /// Tasks of this core freed elsewhere, subtracted from [`UNMERGED`] until the core adds its own count.
    outstanding: AtomicIsize,
    /// Wakes the parked owner; the runtime's knows about io_uring, the models' does not.
    ring: fn(&Mailbox),
    /// Who polls the owner, if that is no core but a set of tasks within one.
    pub(crate) poller: AtomicWaker,
}

impl Mailbox {
    pub(crate) fn new(
        uid: CoreUid,
        machine: NonZeroU64,
        index: u32,
        ring: fn(&Mailbox),
    ) -> io::Result<Arc<Self>> {
        Ok(Self::with(Doorbell::new()?, uid, machine, index, ring))
    }

    /// The mailbox of a set of tasks within a core, or on a thread that is none.
    pub(crate) fn of_set(uid: CoreUid) -> Arc<Self> {
        Self::with(Doorbell::silent(), uid, uid.0, 0, |mailbox| mailbox.poller.wake())
    }

    fn with(
        doorbell: Doorbell,
        uid: CoreUid,
        machine: NonZeroU64,
        index: u32,
        ring: fn(&Mailbox),
    ) -> Arc<Self> {
        let mailbox = Arc::new(Self {
            inbox: CachePadded::new(Inbox::new()),
            doorbell,
            load: CachePadded::new(Load::default()),
            figures: CachePadded::new(Figures::default()),
            uid,
            machine,
            this: AtomicPtr::new(null_mut()),
            index,
            ring_fd: AtomicI32::new(-1),
            thread: AtomicI32::new(0),
            outstanding: AtomicIsize::new(UNMERGED),
            ring,
            poller: AtomicWaker::new(),
        });
        mailbox.this.store(Arc::as_ptr(&mailbox).cast_mut(), Ordering::Relaxed); // published with the `Arc`
        mailbox
    }

    /// The address by which tasks know their mailbox.
    pub(crate) fn this(&self) -> *const Self {
        self.this.load(Ordering::Relaxed) // never changes after `new`
    }

    /// Posts `envelope` and wakes the core if it is parked. The caller holds the mailbox by other means than the
    /// message: see [`post_unheld`](Self::post_unheld).
    ///
    /// # Safety
    /// The object is in no inbox, stays valid until it is delivered, and may be handed to the owner's thread. The
    /// caller gives up the reference that the message owns, except on `Closed`, which gives it back.
    pub(crate) unsafe fn post(&self, envelope: NonNull<Envelope>) -> Result<(), Closed> {
        // SAFETY: passed on to the caller.
        unsafe { self.inbox.push(envelope)? };
        if self.doorbell.must_ring() {
            self.ring();
        }
        Ok(())
    }

    /// As [`post`](Self::post), for a caller that has no hold on the mailbox but the reference that goes with the
    /// message. Once that is pushed the core may take it, end, and let go of the mailbox before we have rung.
    ///
    /// # Safety
    /// As for `post`; `this` is a mailbox that a task of its core keeps until the message is pushed.
    pub(crate) unsafe fn post_unheld(this: *const Self, envelope: NonNull<Envelope>) -> Result<(), Closed> {
        // SAFETY: kept by the task, then by our own count.
        unsafe {
            // Relaxed: the task's count exists, as in `Arc::clone`; the push orders it before that count can go.
            (*this).outstanding.fetch_add(1, Ordering::Relaxed);
            let posted = (*this).post(envelope);
            Self::subtract(this, 1);
            posted
        }
    }

    /// Wakes the core, whose doorbell has said that we must.
    pub(crate) fn ring(&self) {
        (self.ring)(self);
    }

    /// A hint, without a read-modify-write: false positives and negatives last one turn.
    pub(crate) fn has_mail(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// # Safety
    /// Only the core's own thread.
    pub(crate) unsafe fn take(&self) -> Batch<Envelope> {
        // SAFETY: the caller is the owner.
        unsafe { self.inbox.take() }
    }

    /// Takes what is left; every later [`post`](Self::post) fails.
    ///
    /// # Safety
    /// Only the core's own thread.
    pub(crate) unsafe fn close(&self) -> Batch<Envelope> {
        // SAFETY: the caller is the owner.
        unsafe { self.inbox.close() }
    }

    /// Another handle on this mailbox.
    pub(crate) fn to_arc(&self) -> Arc<Self> {
        // SAFETY: `new` is the only constructor, so `this` came from an `Arc`, and `&self` keeps it alive.
        unsafe {
            Arc::increment_strong_count(self.this());
            Arc::from_raw(self.this())
        }
    }

    /// The core begins: from here its tasks, together, keep the mailbox.
    pub(crate) fn begin_tasks(&self) {
        std::mem::forget(self.to_arc());
    }

    /// A task was found in the closed inbox: it keeps the mailbox, though the core has not counted it.
    ///
    /// # Safety
    /// Only the core's own thread, before [`end_tasks`](Self::end_tasks).
    pub(crate) unsafe fn task_came_late(&self) {
        self.outstanding.fetch_add(1, Ordering::Relaxed); // the core's own count keeps the sum above zero
    }

    /// A task of this core was freed on another thread, or after the core had ended.
    ///
    /// # Safety
    /// `this` is the mailbox that the task kept until now.
    pub(crate) unsafe fn task_freed_elsewhere(this: *const Self) {
        // SAFETY: passed on to the caller.
        unsafe { Self::subtract(this, 1) }
    }

    /// The core ends: `live` of its tasks are still referenced somewhere.
    ///
    /// # Safety
    /// Only the core's own thread, once, after [`begin_tasks`](Self::begin_tasks).
    pub(crate) unsafe fn end_tasks(&self, live: isize) {
        // SAFETY: what `begin_tasks` forgot keeps the mailbox until the sum is zero.
        unsafe { Self::subtract(self.this(), UNMERGED - live) }
    }

    /// # Safety
    /// The caller has `count` of what is outstanding, and gives it up.
    unsafe fn subtract(this: *const Self, count: isize) {
        // SAFETY: alive by what the caller has. Not through a reference that would have to last until the return:
        // another thread may free the mailbox as soon as we have subtracted.
        // AcqRel: the last one to subtract frees what all the others (their Release) have used.
        if unsafe { (*this).outstanding.fetch_sub(count, Ordering::AcqRel) } == count {
            // SAFETY: this is the count that `begin_tasks` forgot; the sum reaches zero once.
            unsafe { Arc::decrement_strong_count(this) }
        }
    }
}
