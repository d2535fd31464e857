//! How much the ways between cores take together: the rings of a [`mesh`](crate::mesh), and the lanes of all `mpsc` channels.

use crate::limits::{FIRST_SLOTS_BYTES, FIRST_SLOTS_TOGETHER, WAYS_BYTES};
use crate::sync::Ordering;

/// Not through the door, both: numbers, and nothing else hangs on them.
static USED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
static CORES: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Takes `bytes`, if there are as many left or they are `needed` in any case.
pub(crate) fn take(bytes: usize, needed: bool) -> bool {
    let within = |used: usize| (needed || used + bytes <= WAYS_BYTES).then(|| used + bytes);
    USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
}

pub(crate) fn give_back(bytes: usize) {
    USED.fetch_sub(bytes, Ordering::Relaxed);
}

/// Bytes that were taken, until they are dropped.
pub(crate) struct Charge(usize);

impl Charge {
    /// As [`take`].
    pub(crate) fn new(bytes: usize, needed: bool) -> Option<Self> {
        take(bytes, needed).then(|| Self(bytes))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

/// How many threads are cores now.
pub(crate) fn cores() -> usize {
    CORES.load(Ordering::Relaxed)
}

pub(crate) fn core_begins() {
    CORES.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn core_ends() {
    CORES.fetch_sub(1, Ordering::Relaxed);
}

/// For how many messages of `size` bytes there is room at first on the way from one of so many cores to another: a power of
/// two, and the fewer the more cores there are, since there are as many ways as pairs of them.
pub(crate) fn first_slots(cores: usize, size: usize) -> usize {
    let ways = cores.saturating_mul(cores).max(1);
    let bytes = FIRST_SLOTS_BYTES.min(FIRST_SLOTS_TOGETHER / ways);
    1 << (bytes / size.max(1)).max(1).ilog2()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ways_begin_smaller_where_there_are_more_cores() {
        let by_cores = |size| [0, 1, 2, 64, 128, 256, 1024].map(|cores| first_slots(cores, size));
        assert_eq!(by_cores(8), [32, 32, 32, 32, 16, 4, 1]);
        assert_eq!(by_cores(64), [4, 4, 4, 4, 2, 1, 1]);
        assert_eq!(by_cores(1 << 20), [1; 7]);
        assert_eq!(first_slots(2, 0), FIRST_SLOTS_BYTES);
        for cores in 2..2048 {
            let together = cores * cores * first_slots(cores, 1);
            assert!(together <= FIRST_SLOTS_TOGETHER.max(cores * cores), "{cores} cores: {together} bytes");
        }
    }
}
