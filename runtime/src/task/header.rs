//! The part of a task that does not depend on its future, and who counts references to it.

use std::alloc::Layout;
use std::panic::Location;
use std::ptr::{NonNull, null, null_mut};
use std::task::{Context, Waker};

use futures::task::AtomicWaker;
use multikernel_channels::sync::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, Cell, Ordering, UnsafeCell, fence,
};

use crate::machine::mailbox::{Arrival, Envelope, Mailbox};
use crate::task::hand_over::Moves;
use crate::task::home::{self, Home};
use crate::task::id::LazyId;
use crate::task::notes::Notes;
use crate::task::quietly;
use crate::task::share::Share;

/// Where a task is in its life. Written and read by the home alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// On its way to its home. Its handle may come there before it does.
    Newborn,
    /// Waiting to be woken.
    Idle,
    /// In the run queue.
    Queued,
    /// Being polled.
    Running,
    /// Being polled, and woken meanwhile.
    RunningWoken,
    /// The future is gone; the output is there, or has been taken.
    Complete,
}

/// What another thread asks of the home: the low bits of [`Header::remote`].
pub(crate) mod ask {
    /// The envelope is in an inbox and will look at the other bits.
    pub(crate) const POSTED: usize = 1;
    /// The home's inbox was found closed: the core has ended and every task of it is complete.
    pub(crate) const CLOSED: usize = 1 << 1;
    /// Adopt a newborn task.
    pub(crate) const ADOPT: usize = 1 << 2;
    pub(crate) const WAKE: usize = 1 << 3;
    pub(crate) const ABORT: usize = 1 << 4;
    /// A join handle waits elsewhere: wake it through `remote_joiner`.
    pub(crate) const JOIN: usize = 1 << 5;
    /// The join handle was dropped elsewhere: nobody will take the output.
    pub(crate) const DETACH: usize = 1 << 6;
    /// The bits above count the references that came with the message: each asker gives its own.
    pub(crate) const GIVEN_SHIFT: u32 = 8;
    pub(crate) const GIVEN: usize = 1 << GIVEN_SHIFT;
}

/// The functions that know the future's type.
pub(crate) struct VTable {
    /// Polls the future; true when the task has completed (the output is stored, the future dropped).
    pub(crate) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and stores "cancelled" as the output. A blocking call that has begun refuses, and goes on,
    /// unless it is `forced`: false then.
    pub(crate) cancel: unsafe fn(NonNull<Header>, forced: bool) -> bool,
    /// Drops a stored output.
    pub(crate) drop_output: unsafe fn(NonNull<Header>),
    /// Moves a stored output into `*mut Result<T, JoinError>`.
    pub(crate) take_output: unsafe fn(NonNull<Header>, *mut ()),
    pub(crate) layout: Layout,
}

/// One reference in [`Header::shared_refs`]; the lowest bit says that the home's count is in it.
const ONE: isize = 2;
const MERGED: isize = 1;

#[repr(C)]
pub(crate) struct Header {
    envelope: Envelope,
    pub(crate) vtable: &'static VTable,
    /// The home's mailbox; null for a newborn that was refused because its core had ended. It changes when the
    /// task is handed over.
    pub(super) mailbox: AtomicPtr<Mailbox>,
    pub(crate) spawned_at: &'static Location<'static>,

    // The home's fields: plain.
    pub(crate) run_next: Cell<*const Header>,
    pub(crate) list_next: Cell<*const Header>,
    pub(crate) list_prev: Cell<*const Header>,
    pub(crate) joiner: UnsafeCell<Option<Waker>>,
    /// References made at home less those dropped at home. Sinks without end in a task that lives for ever: a wake by
    /// reference from elsewhere adds one to `shared_refs` and takes one here, hence the width.
    local_refs: Cell<isize>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) notes: Notes,
    pub(crate) share: Share,
    /// A join handle exists that may still take the output.
    pub(crate) wanted: Cell<bool>,
    /// A `JOIN` has arrived.
    joined_elsewhere: Cell<bool>,
    /// The home's count is in `shared_refs`.
    merged: Cell<bool>,
    /// Counts as a connection in the home's published load.
    pub(crate) connection: Cell<bool>,
    pub(crate) moves: Cell<Moves>,

    // Everyone's fields: atomic.
    pub(crate) done: AtomicBool, // in what the flags leave of their word
    pub(crate) id: LazyId,
    pub(super) remote: AtomicUsize,
    shared_refs: AtomicIsize,
    pub(crate) remote_joiner: AtomicWaker,
}

impl Header {
    /// A task with two references: the home's list (or, until adoption, the message) and the join handle.
    pub(crate) fn new(
        mailbox: *const Mailbox,
        vtable: &'static VTable,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            envelope: Envelope::new(deliver),
            vtable,
            mailbox: AtomicPtr::new(mailbox.cast_mut()),
            spawned_at: at,
            run_next: Cell::new(null()),
            list_next: Cell::new(null()),
            list_prev: Cell::new(null()),
            joiner: UnsafeCell::new(None),
            local_refs: Cell::new(2),
            phase: Cell::new(Phase::Newborn),
            notes: Notes::nothing(),
            share: Share::new(),
            wanted: Cell::new(true),
            joined_elsewhere: Cell::new(false),
            merged: Cell::new(false),
            connection: Cell::new(false),
            moves: Cell::new(Moves::NEVER),
            id: LazyId::new(),
            done: AtomicBool::new(false),
            remote: AtomicUsize::new(0),
            shared_refs: AtomicIsize::new(0),
            remote_joiner: AtomicWaker::new(),
        }
    }
}

/// The core that a message was for has closed its inbox.
struct HomeEnded;

/// A pointer to a live task. Copying it counts nothing; `retain` and `release` do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskRef(NonNull<Header>);

impl TaskRef {
    /// # Safety
    /// The task is alive for as long as the `TaskRef`, and what is done through it is what a holder of one of its
    /// references may do on this thread.
    pub(crate) unsafe fn new(header: NonNull<Header>) -> Self {
        Self(header)
    }

    pub(crate) fn as_ptr(self) -> NonNull<Header> {
        self.0
    }

    pub(crate) fn header<'a>(self) -> &'a Header {
        // SAFETY: alive by the contract of `new`; the header is never borrowed mutably as a whole.
        unsafe { self.0.as_ref() }
    }

    /// The thread's home, if this task lives there.
    pub(crate) fn home<'a>(self) -> Option<&'a Home> {
        // Acquire pairs with `TaskRef::send_on`: who finds itself the home sees the plain fields as the former home left them.
        home::if_current(self.header().mailbox.load(Ordering::Acquire))
    }

    // --- references -------------------------------------------------------------------------------------------

    pub(crate) fn retain(self) {
        let header = self.header();
        if self.home().is_some() && !header.merged.get() {
            header.local_refs.set(header.local_refs.get() + 1);
        } else {
            // Relaxed: made from a reference that exists, as in `Arc`.
            header.shared_refs.fetch_add(ONE, Ordering::Relaxed);
        }
    }

    /// Gives up one reference; frees the task if it was the last.
    pub(crate) fn release(self) {
        let header = self.header();
        match self.home() {
            Some(home) if !header.merged.get() => {
                header.local_refs.set(header.local_refs.get() - 1);
                if header.phase.get() == Phase::Complete && header.local_refs.get() <= 0 {
                    self.end_local_count(home);
                }
            }
            _ => self.release_elsewhere(),
        }
    }

    /// The home has no reference of its own left, and the task is complete.
    fn end_local_count(self, home: &Home) {
        let header = self.header();
        let local = header.local_refs.get();
        // Acquire pairs with the Release of `release_elsewhere`. Zero and zero: no reference exists. Whoever held one
        // elsewhere gave it up, or passed it here, before what this load sees; so nobody is left to change it.
        if local == 0 && header.shared_refs.load(Ordering::Acquire) == 0 {
            return self.free(Some(home));
        }
        header.merged.set(true);
        self.merge_count(local);
    }

    /// Adds the home's count to the shared one; frees the task if the sum is zero.
    fn merge_count(self, local: isize) {
        let add = local * ONE + MERGED;
        // AcqRel: as the last decrement of an `Arc`; pairs with the other decrements.
        let before = self.header().shared_refs.fetch_add(add, Ordering::AcqRel);
        if before + add == MERGED {
            self.free(self.home());
        }
    }

    fn subtract_shared(self) {
        // Release: our use of the task comes before its end, which acquires.
        let before = self.header().shared_refs.fetch_sub(ONE, Ordering::Release);
        if before - ONE == MERGED {
            fence(Ordering::Acquire); // pairs with the Release of every earlier decrement
            self.free(self.home());
        }
    }

    /// Gives up a reference on a thread that is not the home (or after the merge).
    fn release_elsewhere(self) {
        let shared = &self.header().shared_refs;
        let mut count = shared.load(Ordering::Relaxed);
        loop {
            if count & MERGED != 0 {
                return self.subtract_shared();
            }
            if count <= 0 {
                // This reference is one that the home counted, and may be the last. Only the home can tell.
                return self.give(0);
            }
            // Release: as in `subtract_shared`; a failure only tells the newer count.
            match shared.compare_exchange_weak(count, count - ONE, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => count = newer,
            }
        }
    }

    fn free(self, home: Option<&Home>) {
        let header = self.header();
        let mailbox = header.mailbox.load(Ordering::Relaxed); // nobody else is left
        // Taken, not read: a write here is what lets loom see that every other use comes before.
        let joiner = self.take_joiner();
        // SAFETY: read out once, for nobody is left; unlike `take`, this costs no atomic operation.
        let remote = unsafe { std::ptr::read(&raw const header.remote_joiner) };
        let layout = header.vtable.layout;
        // SAFETY: the future and its output were dropped or moved out at completion, detachment or joining; the
        // fields left in the header need no drop. The layout is the one it was allocated with.
        unsafe { crate::task::recycle::free(home::recycler(), self.0.cast(), layout) };
        match home {
            Some(home) => home.task_freed(),
            None if mailbox.is_null() => {} // refused at birth: never counted
            // SAFETY: a task keeps its mailbox (see there) until this call.
            None => unsafe { Mailbox::task_freed_elsewhere(mailbox) },
        }
        quietly(|| drop(joiner));
        quietly(|| drop(remote));
    }

    /// Takes the waker of a join handle at home. Only the home, or whoever frees the task.
    pub(super) fn take_joiner(self) -> Option<Waker> {
        // SAFETY: nobody else looks at the waker, and no borrow of it lasts across a call.
        self.header().joiner.with_mut(|joiner| unsafe { (*joiner).take() })
    }

    /// Leaves a waker of a join handle at home, in the empty place.
    pub(super) fn put_joiner(self, waker: Waker) {
        // SAFETY: as in `take_joiner`; nothing is dropped here, which could be code of users.
        self.header().joiner.with_mut(|joiner| unsafe { joiner.write(Some(waker)) });
    }

    // --- asking the home --------------------------------------------------------------------------------------

    /// Asks the home for `bits` and gives it the caller's reference with the message. `HomeEnded` leaves the
    /// reference with the caller.
    fn ask(self, bits: usize) -> Result<(), HomeEnded> {
        let header = self.header();
        let mut before = header.remote.load(Ordering::Acquire); // pairs as the exchange below
        loop {
            if before & ask::CLOSED != 0 {
                return Err(HomeEnded);
            }
            let after = (before | bits | ask::POSTED) + ask::GIVEN;
            // AcqRel. Release: what we wrote before asking (a waker to join with) is for the home, which takes the
            // bits with Acquire. Acquire: if POSTED is clear because the home took the envelope, it has read the link
            // that our post is about to write (the Release of `deliver`). On failure, Acquire: after CLOSED we see
            // what the home has left.
            match header.remote.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(newer) => before = newer,
            }
        }
        if before & ask::POSTED != 0 {
            return Ok(()); // the message under way carries our bits and our reference
        }
        // Relaxed: it does not change while POSTED is set, and the Acquire above sees what it was when POSTED was clear.
        let mailbox = header.mailbox.load(Ordering::Relaxed).cast_const();
        let envelope = self.0.cast();
        // SAFETY: POSTED was clear, so the envelope is in no inbox; our reference goes with it. The task keeps the
        // mailbox until it is pushed; afterwards the thread's own Machine does, or we must.
        let posted = unsafe {
            if home::is_of_machine((*mailbox).machine) {
                (*mailbox).post(envelope)
            } else {
                Mailbox::post_unheld(mailbox, envelope)
            }
        };
        match posted {
            Ok(()) => home::note_post(),
            Err(_) => self.home_has_ended(),
        }
        Ok(())
    }

    /// Asks with the caller's reference, which is gone afterwards either way.
    fn give(self, bits: usize) {
        if self.ask(bits).is_err() {
            self.subtract_shared();
        }
    }

    /// Asks, keeping the caller's reference.
    pub(super) fn ask_by_ref(self, bits: usize) {
        self.header().shared_refs.fetch_add(ONE, Ordering::Relaxed); // as in `retain`
        self.give(bits);
    }

    /// A waker elsewhere wakes the task with its own reference.
    pub(super) fn wake_elsewhere(self) {
        self.give(ask::WAKE);
    }

    /// A join handle elsewhere lets go of a task that was not complete when it looked.
    pub(super) fn detach_elsewhere(self) {
        if self.ask(ask::DETACH).is_err() {
            // SAFETY: the home has ended, so the task is complete; the claim to the output is the caller's.
            unsafe { (self.header().vtable.drop_output)(self.0) };
            self.subtract_shared();
        }
    }

    /// A post was refused, or came out of the inbox when it closed: nobody is the task's home any more. Only one thread
    /// comes here for a task, since POSTED is never cleared again; it answers for all whose bits it carried.
    ///
    /// The plain fields are ours to read: their last change comes before the close, which we have acquired.
    fn home_has_ended(self) {
        let header = self.header();
        // Relaxed: the bit is there from before the post on.
        let newborn = header.remote.load(Ordering::Relaxed) & ask::ADOPT != 0;
        if newborn {
            // SAFETY: not adopted, so nobody polls the future; it came with the message, and so is ours.
            unsafe { (header.vtable.cancel)(self.0, true) };
            header.done.store(true, Ordering::Release); // pairs with the Acquire in the join handle
            self.answer_at_home();
        }
        // AcqRel: Acquire pairs with those who added their bits to our post, Release with those who see CLOSED.
        let bits = header.remote.swap(ask::CLOSED, Ordering::AcqRel);
        if bits & ask::JOIN != 0 {
            quietly(|| header.remote_joiner.wake());
        }
        if bits & ask::DETACH != 0 {
            // SAFETY: the home completed the task before it closed, or we did; the handle has gone and left us its
            // claim to the output. A handle leaves its home's thread only if the output is `Send`.
            unsafe { (header.vtable.drop_output)(self.0) };
        }
        // A newborn's message has the list's reference.
        let given = (bits >> ask::GIVEN_SHIFT) as isize + isize::from(newborn);
        if header.merged.get() {
            (0..given).for_each(|_| self.subtract_shared());
        } else {
            self.merge_count(header.local_refs.get() - given);
        }
    }

    /// Posts a newborn to its core. If that has ended, the task is cancelled here and now.
    ///
    /// # Safety
    /// Freshly made for another core's mailbox; what it holds may be sent there.
    pub(crate) unsafe fn post_newborn(self) {
        let header = self.header();
        header.remote.store(ask::ADOPT | ask::POSTED, Ordering::Relaxed); // the post publishes it
        // SAFETY: in no inbox; the message takes the list's reference. The spawner holds the Machine and so the
        // mailbox.
        let posted = unsafe { (*header.mailbox.load(Ordering::Relaxed)).post(self.0.cast()) }; // it was set just now
        if posted.is_ok() {
            home::note_post();
        } else {
            header.mailbox.store(null_mut(), Ordering::Relaxed); // nobody has seen the task, and the mailbox has not counted it
            self.home_has_ended();
        }
    }
}

/// An envelope has come out of the inbox: does what the bits ask for.
pub(super) unsafe fn deliver(envelope: NonNull<Envelope>, arrival: Arrival) {
    // SAFETY: the envelope is a header's first field, and the message owns a reference.
    let task = unsafe { TaskRef::new(envelope.cast()) };
    let header = task.header();
    if arrival == Arrival::Closed {
        // Relaxed: as in `home_has_ended`.
        if header.remote.load(Ordering::Relaxed) & ask::ADOPT != 0 {
            // SAFETY: the core's thread, which has not ended its tasks: it is emptying its inbox. The mailbox lives.
            unsafe { (*header.mailbox.load(Ordering::Relaxed)).task_came_late() }; // the message came after it
        }
        return task.home_has_ended();
    }
    let home = task.home().expect("delivered by the home");
    // AcqRel. Acquire pairs with the Release of whoever asked. Release: from here the envelope may be posted again, by
    // someone who acquires this, after we have read its link. (Loom, where no load is late, does not miss this one.)
    let bits = header.remote.swap(0, Ordering::AcqRel);
    if bits & ask::ADOPT != 0 {
        home.adopt(task); // the message's reference becomes the list's
    }
    if header.phase.get() == Phase::Complete {
        if bits & ask::DETACH != 0 && header.wanted.replace(false) {
            // SAFETY: complete, the handle is gone, and the output was kept for it.
            unsafe { (header.vtable.drop_output)(task.0) };
        }
    } else {
        if bits & ask::DETACH != 0 {
            header.wanted.set(false);
        }
        if bits & ask::ABORT != 0 {
            header.notes.set_aborted(true);
        }
        if bits & (ask::WAKE | ask::ABORT) != 0 {
            home.wake(task);
        }
    }
    if bits & ask::JOIN != 0 {
        header.joined_elsewhere.set(true);
        if header.phase.get() == Phase::Complete {
            quietly(|| header.remote_joiner.wake());
        }
    }
    task.take_given((bits >> ask::GIVEN_SHIFT) as isize, home);
}

impl TaskRef {
    /// Drops the references that came with a message.
    fn take_given(self, given: isize, home: &Home) {
        let header = self.header();
        if header.merged.get() {
            (0..given).for_each(|_| self.subtract_shared());
        } else if given > 0 {
            header.local_refs.set(header.local_refs.get() - given);
            if header.phase.get() == Phase::Complete && header.local_refs.get() <= 0 {
                self.end_local_count(home);
            }
        }
    }

    /// The output is stored: for a join handle that has been here.
    fn answer_at_home(self) {
        let header = self.header();
        if !header.wanted.get() {
            // SAFETY: the handle was dropped here before the task completed, so nobody will ask for the output.
            unsafe { (header.vtable.drop_output)(self.0) };
        }
        if let Some(joiner) = self.take_joiner() {
            quietly(|| joiner.wake());
        }
    }

    /// The home has stored the output: tells whoever waits, and gives up the list's reference.
    pub(crate) fn complete(self) {
        let header = self.header();
        header.phase.set(Phase::Complete);
        // Release pairs with the Acquire of a join handle elsewhere, which reads the output after it.
        header.done.store(true, Ordering::Release);
        self.answer_at_home();
        if header.joined_elsewhere.get() {
            quietly(|| header.remote_joiner.wake());
        }
        self.release();
    }
}
