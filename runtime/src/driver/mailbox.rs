//! Where an operation leaves its result for a future that is polled on another thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Made only when a future is polled away from the core that runs its operation.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Content>);

#[derive(Default)]
struct Content {
    result: Option<i32>,
    waker: Option<Waker>,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves the result and says whom to wake.
    pub(super) fn put(&self, result: i32) -> Option<Waker> {
        let mut content = self.lock();
        content.result = Some(result);
        content.waker.take()
    }

    /// Takes the result, or waits for it with `waker`.
    pub(super) fn take(&self, waker: Waker) -> Option<i32> {
        let mut content = self.lock();
        let result = content.result.take();
        let surplus = if result.is_some() { Some(waker) } else { content.waker.replace(waker) };
        // Foreign code is not run under the lock.
        drop(content);
        drop(surplus);
        result
    }
}
