//! How much the lanes of all channels of this process take.

use crate::limits::LANE_BYTES;
use crate::sync::Ordering;

/// Not through the door: a number, and nothing else hangs on it.
static USED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Takes `bytes`, if there are as many left or they are `needed` in any case.
pub(super) fn take(bytes: usize, needed: bool) -> bool {
    let within = |used: usize| (needed || used + bytes <= LANE_BYTES).then(|| used + bytes);
    USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
}

pub(super) fn give_back(bytes: usize) {
    USED.fetch_sub(bytes, Ordering::Relaxed);
}
