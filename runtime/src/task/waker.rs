//! A task's waker: at home a flag and a push, elsewhere a message.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::task::header::{Header, TaskRef, ask};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// The waker lent to a poll: counts nothing.
pub(super) fn borrowed(task: TaskRef) -> impl Deref<Target = Waker> {
    // SAFETY: the functions below keep the waker contract for a live header. The task lives while it is polled, and
    // this waker, which has no reference of its own, is never dropped.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(task)) })
}

fn raw(task: TaskRef) -> RawWaker {
    RawWaker::new(task.as_ptr().as_ptr().cast_const().cast(), &VTABLE)
}

unsafe fn task_of(data: *const ()) -> TaskRef {
    // SAFETY: `raw` made the pointer from a live task, and the waker calling us has a reference to it.
    unsafe { TaskRef::new(NonNull::new_unchecked(data.cast_mut().cast::<Header>())) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: called by a waker of ours.
    let task = unsafe { task_of(data) };
    task.retain();
    raw(task)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: called by a waker of ours, which ends here: its reference is ours to give.
    let task = unsafe { task_of(data) };
    match task.home() {
        Some(home) => {
            home.wake(task);
            task.release();
        }
        None => task.wake_elsewhere(),
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: called by a waker of ours.
    let task = unsafe { task_of(data) };
    match task.home() {
        Some(home) => home.wake(task),
        None => task.ask_by_ref(ask::WAKE),
    }
}

unsafe fn drop(data: *const ()) {
    // SAFETY: called by a waker of ours, which ends here: its reference is ours to give up.
    unsafe { task_of(data) }.release();
}
