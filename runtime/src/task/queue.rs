//! A home's run queue and its list of live tasks, both linked through the tasks, so that nothing here allocates.

use std::ptr::{NonNull, null};

use multikernel_channels::sync::Cell;

use crate::task::header::{Header, TaskRef};

/// The run queue: first in, first out, linked through the tasks, so that a wake never allocates.
pub(super) struct Queue {
    head: Cell<*const Header>,
    tail: Cell<*const Header>,
    /// How many there have ever been, and how many of them have left.
    pub(super) pushed: Cell<u64>,
    pub(super) popped: Cell<u64>,
}

pub(super) fn task_ref(header: *const Header) -> Option<TaskRef> {
    // SAFETY: callers pass what is in the queue or list of this home: alive until it completes, which takes it out.
    NonNull::new(header.cast_mut()).map(|header| unsafe { TaskRef::new(header) })
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { head: Cell::new(null()), tail: Cell::new(null()), pushed: Cell::new(0), popped: Cell::new(0) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.get().is_null()
    }

    pub(super) fn head(&self) -> Option<TaskRef> {
        task_ref(self.head.get())
    }

    pub(super) fn push(&self, task: TaskRef) {
        self.pushed.set(self.pushed.get() + 1);
        self.link(task);
    }

    /// As [`push`](Self::push), and counts nothing.
    pub(super) fn link(&self, task: TaskRef) {
        let header: *const Header = task.as_ptr().as_ptr();
        task.header().run_next.set(null());
        match task_ref(self.tail.replace(header)) {
            Some(last) => last.header().run_next.set(header),
            None => self.head.set(header),
        }
    }

    /// Takes the head out, and counts nothing.
    pub(super) fn unlink(&self) -> Option<TaskRef> {
        let task = self.head()?;
        self.unlink_head(task);
        Some(task)
    }

    /// Takes the head out, which `task` is, and counts it.
    pub(super) fn pop_head(&self, task: TaskRef) {
        self.unlink_head(task);
        self.popped.set(self.popped.get() + 1);
    }

    fn unlink_head(&self, task: TaskRef) {
        let next = task.header().run_next.get();
        self.head.set(next);
        if next.is_null() {
            self.tail.set(null());
        }
    }

    /// Puts a task back that was [taken out](Self::unlink), before all others.
    pub(super) fn link_first(&self, task: TaskRef) {
        let header: *const Header = task.as_ptr().as_ptr();
        let next = self.head.replace(header);
        task.header().run_next.set(next);
        if next.is_null() {
            self.tail.set(header);
        }
    }
}

/// All tasks of the core that have not completed.
pub(super) struct List {
    head: Cell<*const Header>,
}

impl List {
    pub(super) fn new() -> Self {
        Self { head: Cell::new(null()) }
    }

    pub(super) fn first(&self) -> Option<TaskRef> {
        task_ref(self.head.get())
    }

    pub(super) fn push(&self, task: TaskRef) {
        let header: *const Header = task.as_ptr().as_ptr();
        let next = self.head.replace(header);
        task.header().list_next.set(next);
        task.header().list_prev.set(null());
        if let Some(next) = task_ref(next) {
            next.header().list_prev.set(header);
        }
    }

    pub(super) fn remove(&self, task: TaskRef) {
        let (prev, next) = (task.header().list_prev.get(), task.header().list_next.get());
        match task_ref(prev) {
            Some(prev) => prev.header().list_next.set(next),
            None => self.head.set(next),
        }
        if let Some(next) = task_ref(next) {
            next.header().list_prev.set(prev);
        }
    }
}
