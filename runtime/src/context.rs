//! What the calling thread is: a core, a guest of a Machine, or neither.
//!
//! Everything that needs "this core" comes through here, so that sockets and timers own no thread-locals.

use std::cell::{Cell, RefCell};

use crate::driver::Reactor;
use crate::limits::BUDGET_PER_POLL;
pub(crate) use crate::machine::mailbox::CoreUid;
use crate::machine::{self, Machine, registry};
use crate::time::Timers;
use multikernel_channels::budget::{self, FIRST_SLICE};
pub(crate) use multikernel_channels::budget::{poll_finish, poll_proceed};
use multikernel_channels::sync::Arc;

/// The per-core state that sockets and sleeps use. Lives on its core's thread and never leaves it.
pub(crate) struct Resources {
    pub(crate) uid: CoreUid,
    pub(crate) reactor: RefCell<Reactor>,
    pub(crate) timers: RefCell<Timers>,
}

thread_local! {
    static CORE: Cell<*const Resources> = const { Cell::new(std::ptr::null()) };
    static ACCEPTED: Cell<bool> = const { Cell::new(false) };
    static GUEST: RefCell<Vec<Arc<Machine>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with this thread's core, or with `None` on a thread that is not a core.
pub(crate) fn with_core<R>(f: impl FnOnce(Option<&Resources>) -> R) -> R {
    let core = CORE.get();
    // SAFETY: `enter` set the pointer and clears it before the `Resources` it borrows can go away; both happen on
    // this thread, and the reference does not outlive `f`.
    f(unsafe { core.as_ref() })
}

/// Makes `core` the current core while `f` runs.
pub(crate) fn enter<R>(core: &Resources, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Resources);
    impl Drop for Restore {
        fn drop(&mut self) {
            CORE.set(self.0);
        }
    }
    let _restore = Restore(CORE.replace(core));
    f()
}

/// Makes the calling thread, which is no core, a guest of `machine` while `f` runs or the guard lives.
pub(crate) fn enter_as_guest(machine: &Arc<Machine>) -> GuestGuard {
    GUEST.with(|guest| guest.borrow_mut().push(machine.clone()));
    GuestGuard { _not_send: std::marker::PhantomData }
}

/// Ends the visit when dropped.
pub(crate) struct GuestGuard {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for GuestGuard {
    fn drop(&mut self) {
        // The thread may be ending, and its list of visits gone before this guard.
        let _ = GUEST.try_with(|guest| guest.borrow_mut().pop());
    }
}

/// The Machine the calling thread is a guest of.
pub(crate) fn guest_machine() -> Option<Arc<Machine>> {
    GUEST.try_with(|guest| guest.borrow().last().cloned()).ok().flatten()
}

/// On a thread that polls futures without being a core (`block_on`): the core that registers on its behalf.
pub(crate) fn delegate() -> Option<CoreUid> {
    guest_machine().map(|machine| machine::placement::delegate(&machine).uid)
}

/// Runs `f` on the core `uid`, soon, between two polls. `Err` gives `f` back when that core has ended.
pub(crate) fn post<F>(uid: CoreUid, f: F) -> Result<(), F>
where
    F: FnOnce(&Resources) + Send + 'static,
{
    match registry::find(uid) {
        Some(mailbox) => machine::call::post(&mailbox, f),
        None => Err(f),
    }
}

/// Whether the core `uid` has closed its timers and its driver, or is about to.
pub(crate) fn has_ended(uid: CoreUid) -> bool {
    registry::find(uid).is_none()
}

/// A listener of this core has just accepted: a task spawned before this poll ends serves that connection.
pub(crate) fn note_accept() {
    ACCEPTED.set(true);
}

/// Whether a connection was accepted in this poll and no task has been spawned for it.
pub(crate) fn take_accept() -> bool {
    ACCEPTED.replace(false)
}

/// The executor is about to poll a task.
pub(crate) fn begin_poll() {
    budget::refill(BUDGET_PER_POLL, FIRST_SLICE);
    ACCEPTED.set(false);
}

/// As [`begin_poll`], but where polls are long: whether the task may go on is asked after each unit or two.
pub(crate) fn begin_long_poll() {
    budget::refill(BUDGET_PER_POLL, 1);
    ACCEPTED.set(false);
}
