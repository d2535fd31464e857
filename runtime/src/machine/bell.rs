//! How a core's driver rings another core.

use multikernel_channels::sync::Ordering;

use crate::driver::{Bell, Peer};
use crate::machine::mailbox::Mailbox;

impl Bell for Mailbox {
    fn ring(&self) {
        self.doorbell.ring();
    }
}

impl Mailbox {
    /// How a core's driver reaches this one's.
    pub(crate) fn ring_peer(&self) -> Option<Peer> {
        let ring_fd = self.ring_fd.load(Ordering::Relaxed); // a hint: a stale one fails over to the eventfd
        (ring_fd >= 0).then(|| Peer::new(Some(ring_fd), self.to_arc()))
    }
}
