//! A core as the others see it: the inbox they post to and the doorbell they ring.
//!
//! A mailbox outlives its core. The Machine holds it, and so do the tasks that were born on the core: a waker may be
//! kept for ever, and waking it must find an inbox, if only a closed one. Tasks do not hold an `Arc` each, which
//! would cost two atomic operations a spawn; they are counted, the core's share of the count without atomics.

use std::io;
use std::ptr::NonNull;

use crossbeam_utils::CachePadded;
use multikernel_channels::doorbell::Doorbell;
use multikernel_channels::inbox::{Batch, Closed, Inbox, Link, Linked};
use multikernel_channels::sync::{Arc, AtomicI32, AtomicIsize, AtomicU32, Ordering};

use crate::context::CoreUid;
use crate::driver::{Bell, Peer};

/// What an inbox carries: the first field of everything that can be posted.
#[repr(C)]
pub(crate) struct Envelope {
    link: Link,
    /// Called once, on the core that took the envelope from its inbox. From then on that core owns the object.
    deliver: unsafe fn(NonNull<Envelope>),
}

// SAFETY: `repr(C)` and `link` comes first.
unsafe impl Linked for Envelope {}

impl Envelope {
    pub(crate) fn new(deliver: unsafe fn(NonNull<Envelope>)) -> Self {
        Self { link: Link::new(), deliver }
    }

    /// # Safety
    /// `envelope` came out of an inbox of the calling core just now.
    pub(crate) unsafe fn deliver(envelope: NonNull<Envelope>) {
        // SAFETY: what is in an inbox is alive, and this core has become its owner.
        let deliver = unsafe { envelope.as_ref().deliver };
        // SAFETY: `deliver` was paired with this very object when the envelope was made.
        unsafe { deliver(envelope) }
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
}

impl Bell for Mailbox {
    fn ring(&self) {
        self.doorbell.ring();
    }
}

/// A count that the core has not yet merged never reaches zero.
const UNMERGED: isize = isize::MAX / 2;

pub(crate) struct Mailbox {
    inbox: CachePadded<Inbox<Envelope>>,
    pub(crate) doorbell: Doorbell,
    pub(crate) load: CachePadded<Load>,
    pub(crate) uid: CoreUid,
    /// The core's number within its Machine.
    pub(crate) index: u32,
    /// The descriptor of the core's io_uring, or -1: without one the doorbell's eventfd is rung.
    pub(crate) ring_fd: AtomicI32,
    /// Tasks of this core freed elsewhere, subtracted from [`UNMERGED`] until the core adds its own count.
    outstanding: AtomicIsize,
    /// Wakes the parked owner; the runtime's knows about io_uring, the models' does not.
    ring: fn(&Mailbox),
}

impl Mailbox {
    pub(crate) fn new(uid: CoreUid, index: u32, ring: fn(&Mailbox)) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            inbox: CachePadded::new(Inbox::new()),
            doorbell: Doorbell::new()?,
            load: CachePadded::new(Load::default()),
            uid,
            index,
            ring_fd: AtomicI32::new(-1),
            outstanding: AtomicIsize::new(UNMERGED),
            ring,
        }))
    }

    /// Posts `envelope` and wakes the core if it is parked.
    ///
    /// # Safety
    /// The object is in no inbox, stays valid until it is delivered, and may be handed to the owner's thread. The
    /// caller gives up the reference that the message owns, except on `Closed`, which gives it back.
    pub(crate) unsafe fn post(&self, envelope: NonNull<Envelope>) -> Result<(), Closed> {
        // SAFETY: passed on to the caller.
        unsafe { self.inbox.push(envelope)? };
        if self.doorbell.must_ring() {
            (self.ring)(self);
        }
        Ok(())
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
        // SAFETY: `new` is the only constructor, so every mailbox lives in an `Arc`, and `&self` keeps it alive.
        unsafe {
            Arc::increment_strong_count(self);
            Arc::from_raw(self)
        }
    }

    /// How a core's driver reaches this one's.
    pub(crate) fn ring_peer(&self) -> Option<Peer> {
        let ring_fd = self.ring_fd.load(Ordering::Relaxed); // a hint: a stale one fails over to the eventfd
        (ring_fd >= 0).then(|| Peer::new(Some(ring_fd), self.to_arc()))
    }

    /// The core begins: from here its tasks, together, keep the mailbox.
    pub(crate) fn begin_tasks(self: &Arc<Self>) {
        std::mem::forget(self.clone());
    }

    /// A task of this core was freed on another thread, or after the core had ended.
    pub(crate) fn task_freed_elsewhere(&self) {
        self.subtract(1);
    }

    /// The core ends: `live` of its tasks are still referenced somewhere.
    pub(crate) fn end_tasks(&self, live: isize) {
        self.subtract(UNMERGED - live);
    }

    fn subtract(&self, count: isize) {
        // AcqRel: the last one to subtract frees what all the others (their Release) have used.
        if self.outstanding.fetch_sub(count, Ordering::AcqRel) == count {
            // SAFETY: this is the count that `begin_tasks` forgot; the sum reaches zero once.
            unsafe { Arc::decrement_strong_count(self) }
        }
    }
}
