//! An operation at work on a core's ring, as its future sees it.

use std::fs::File;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::mailbox::Mailbox;
use super::slots::Key;
use super::uring::Progress;
use super::{Driver, Reactor, is_forked_child};
use crate::context::{self, CoreUid};

/// That core has ended, and may not have let go of the buffer.
pub(super) struct Lost;

pub(super) struct Running {
    home: CoreUid,
    key: Key,
    mailbox: Option<Arc<Mailbox>>,
}

impl Running {
    pub(super) fn new(home: CoreUid, key: Key) -> Self {
        Running { home, key, mailbox: None }
    }

    /// The result, as the ring gives it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<i32, Lost>> {
        context::with_core(|core| {
            if let Some(mailbox) = &self.mailbox {
                let waker = cx.waker().clone();
                return mailbox.take(waker).map_or(Poll::Pending, |result| Poll::Ready(Ok(result)));
            }
            match core {
                Some(core) if core.uid == self.home => {
                    // Mostly it is done, and then nobody needs a waker. One is made outside of the borrow.
                    let result = core.reactor.borrow_mut().take_op(self.key);
                    if let Some(result) = result {
                        return Poll::Ready(Ok(result));
                    }
                    let waker = cx.waker().clone();
                    let progress = core.reactor.borrow_mut().poll_op(self.key, waker);
                    match progress {
                        Progress::Done(result) => Poll::Ready(Ok(result)),
                        Progress::Pending(surplus) => {
                            drop(surplus);
                            Poll::Pending
                        }
                    }
                }
                _ => {
                    let (mailbox, key) = (Arc::new(Mailbox::default()), self.key);
                    mailbox.take(cx.waker().clone());
                    self.mailbox = Some(mailbox.clone());
                    let asked = context::post(self.home, move |core| {
                        let waker = core.reactor.borrow_mut().redirect_op(key, mailbox);
                        // Its own waker from before, or the one the mailbox held: both are due.
                        waker.into_iter().for_each(Waker::wake);
                    });
                    if asked.is_ok() { Poll::Pending } else { Poll::Ready(Err(Lost)) }
                }
            }
        })
    }

    /// Its future goes away: cancels the operation, unless it `goes_on`, and leaves the parcel with it until the ring has
    /// let go. The same for a file of its own, which the future has kept open until now.
    pub(super) fn abandon(self, parcel: Waker, goes_on: bool, file: Option<Arc<File>>) {
        if is_forked_child() {
            return std::mem::forget((parcel, file)); // the parent's future waits for it
        }
        context::with_core(|core| match core {
            Some(core) if core.uid == self.home => {
                let surplus = core.reactor.borrow_mut().abandon_op(self.key, parcel, goes_on, file);
                drop(surplus);
            }
            _ => {
                let kept = parcel.clone();
                let key = self.key;
                let asked = context::post(self.home, move |core| {
                    let surplus = core.reactor.borrow_mut().abandon_op(key, parcel, goes_on, file);
                    drop(surplus);
                });
                match asked {
                    Ok(()) => drop(kept),
                    // That core's ring may not be through with it.
                    Err(_) => std::mem::forget(kept),
                }
            }
        });
    }
}

impl Reactor {
    pub(super) fn take_op(&mut self, key: Key) -> Option<i32> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ops.take(key),
            Driver::Epoll(_) => unreachable!("operations run on rings only"),
        }
    }

    pub(super) fn poll_op(&mut self, key: Key, waker: Waker) -> Progress {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ops.poll(key, waker),
            Driver::Epoll(_) => unreachable!("operations run on rings only"),
        }
    }

    #[cfg(test)]
    pub(super) fn interrupt_failed_ops(&mut self) -> usize {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ops.interrupt_failed(),
            Driver::Epoll(_) => 0,
        }
    }

    pub(super) fn redirect_op(&mut self, key: Key, mailbox: Arc<Mailbox>) -> Option<Waker> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.ops.redirect(key, mailbox),
            Driver::Epoll(_) => unreachable!("operations run on rings only"),
        }
    }

    pub(super) fn abandon_op(
        &mut self,
        key: Key,
        buffer: Waker,
        goes_on: bool,
        file: Option<Arc<File>>,
    ) -> Option<Waker> {
        match &mut self.driver {
            Driver::Uring(uring) => uring.abandon(key, buffer, goes_on, file),
            Driver::Epoll(_) => unreachable!("operations run on rings only"),
        }
    }
}

/// A buffer in the shape of a waker that wakes nobody; see `State::Abandoned`.
struct Parcel<B>(B);

impl<B: Send + Sync + 'static> Wake for Parcel<B> {
    fn wake(self: Arc<Self>) {
        // Nobody waits; the last reference frees the buffer.
        let Parcel(_buffer) = &*self;
    }
}

/// Wraps a buffer so that it can be left with an operation.
pub(crate) fn parcel<B: Send + Sync + 'static>(buffer: B) -> Waker {
    Waker::from(Arc::new(Parcel(buffer)))
}
