//! Which tasks of a set have ended: each wakes a bell of its own.

use std::collections::VecDeque;
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;
use multikernel_channels::sync::{AtomicBool, Mutex, MutexGuard, Ordering, SharedArc};

/// The keys of those that have ended, as far as anybody has been told, in that order.
#[derive(Default)]
pub(super) struct Ended {
    keys: Mutex<VecDeque<usize>>,
    /// Who waits for the next.
    waiting: AtomicWaker,
}

impl Ended {
    fn keys(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.keys.lock().expect("nothing panics with it")
    }

    pub(super) fn count(&self) -> usize {
        self.keys().len()
    }

    pub(super) fn pop(&self) -> Option<usize> {
        self.keys().pop_front()
    }

    /// Has `waker` woken by the next bell.
    pub(super) fn register(&self, waker: &Waker) {
        self.waiting.register(waker);
    }
}

/// What a task wakes when it ends. It has one place among those that have ended, however often it rings.
pub(super) struct Bell {
    key: usize,
    /// The key has been put there.
    rung: AtomicBool,
    ended: SharedArc<Ended>,
}

impl Bell {
    pub(super) fn new(key: usize, ended: SharedArc<Ended>) -> SharedArc<Self> {
        SharedArc::new(Self { key, rung: AtomicBool::new(false), ended })
    }

    /// The key has been taken, and its task is about to be looked at.
    pub(super) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel); // pairs with `wake_by_ref`
    }
}

impl Wake for Bell {
    fn wake(self: SharedArc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &SharedArc<Self>) {
        // AcqRel pairs with `answer`: who looks at the task after that sees what came before each ring that it answers.
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ended.keys().push_back(self.key);
            self.ended.waiting.wake();
        }
    }
}
