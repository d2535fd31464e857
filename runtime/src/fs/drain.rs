//! Waiting until no core has anything in flight on a file that is closed.
//!
//! Every core that votes to close a file takes a share, and keeps it until its last operation on the file is through. When
//! the close is committed all cores have theirs, and then no more are taken; the last one to go is the answer. A core that
//! dies or leaves drops its share with everything else it has.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};

use futures::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct Drain {
    shares: AtomicUsize,
    closer: AtomicWaker,
}

struct Share(Arc<Drain>);

impl Drop for Share {
    fn drop(&mut self) {
        // AcqRel: whoever finds none left sees what all cores did before. Pairs with the load in `is_over`.
        if self.0.shares.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.closer.wake();
        }
    }
}

/// In the shape of a waker a share can be handed out with those, and so is dropped when nothing is borrowed.
impl Wake for Share {
    fn wake(self: Arc<Self>) {
        // The last reference does it.
        let Share(_drain) = &*self;
    }
}

impl Drain {
    /// One core's share.
    pub(super) fn share(self: &Arc<Self>) -> Waker {
        // Relaxed: the agreement orders it before the commit, and so before `over`.
        self.shares.fetch_add(1, Ordering::Relaxed);
        Waker::from(Arc::new(Share(self.clone())))
    }

    /// Whether all shares are gone. Not before all have been taken.
    pub(super) fn is_over(&self) -> bool {
        self.shares.load(Ordering::Acquire) == 0 // pairs with the drop of the last share
    }

    /// Waits for the last share to go. Not before all have been taken.
    pub(super) async fn over(&self) {
        poll_fn(|cx| {
            self.closer.register(cx.waker());
            if self.is_over() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
