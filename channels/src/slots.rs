//! Small numbers for the threads that are cores, each held by one at a time: what finds a core's lane in a channel.

use crate::limits::{FOREIGN_LANE, LANES};
use crate::sync::{AtomicU64, Ordering, process_wide};

const WORDS: usize = LANES / 64;

process_wide! {
    /// A bit for each slot that is taken. That of the lane that is no core's is never given out.
    static TAKEN: [AtomicU64; WORDS] = std::array::from_fn(|word| {
        AtomicU64::new(if word == FOREIGN_LANE / 64 { 1 << (FOREIGN_LANE % 64) } else { 0 })
    })
}

/// The lowest slot that nobody has. `None` if all are taken.
#[cold]
pub(crate) fn take() -> Option<usize> {
    TAKEN.iter().enumerate().find_map(|(number, word)| {
        let mut taken = word.load(Ordering::Relaxed);
        while taken != u64::MAX {
            let free = (!taken).trailing_zeros();
            // Acquire: pairs with the Release in `give_back`. What the last holder did with what this slot stands for
            // comes before what the next does (R21).
            match word.compare_exchange(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(number * 64 + free as usize),
                Err(now) => taken = now,
            }
        }
        None
    })
}

/// Its holder does nothing more with what `slot` stands for.
pub(crate) fn give_back(slot: usize) {
    // Release: pairs with the Acquire in `take`, also if others change the word in between, all by read-modify-writes.
    TAKEN[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::Release);
}
