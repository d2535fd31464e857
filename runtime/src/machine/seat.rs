//! The CPU that a core is pinned to, and what of it counts for those that run there.

use multikernel_channels::sync::{AtomicU64, Ordering};

/// A CPU that a core is pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) cpu: usize,
    /// The last level's cache, an index into `Topology::caches`.
    pub(crate) cache: Option<usize>,
    /// As `Cpu::capacity`.
    pub(crate) capacity: Option<u32>,
}

impl Seat {
    /// A CPU of which nothing is known but its number.
    pub(crate) fn unknown(cpu: usize) -> Self {
        Self { cpu, cache: None, capacity: None }
    }
}

/// Where all can read which one a core has. In one word, so that nobody sees parts of two.
#[derive(Default)]
pub(crate) struct SeatWord(AtomicU64);

const NUMBER: u32 = 24;

impl SeatWord {
    pub(crate) fn set(&self, seat: Option<Seat>) {
        // Each number is one more than it is, and 0 if there is none.
        let number = |value: usize| (value as u64 + 1).min((1 << NUMBER) - 1);
        let word = seat.map_or(0, |seat| {
            let capacity = u64::from(seat.capacity.map_or(0, |capacity| capacity.clamp(1, u16::MAX.into())));
            number(seat.cpu) | seat.cache.map_or(0, number) << NUMBER | capacity << (2 * NUMBER)
        });
        self.0.store(word, Ordering::Relaxed); // a figure
    }

    pub(crate) fn get(&self) -> Option<Seat> {
        let word = self.0.load(Ordering::Relaxed); // a figure
        let number = |at: u32| ((word >> at & ((1 << NUMBER) - 1)) as usize).checked_sub(1);
        let capacity = Some((word >> (2 * NUMBER)) as u32).filter(|capacity| *capacity > 0);
        number(0).map(|cpu| Seat { cpu, cache: number(NUMBER), capacity })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_what_is_read() {
        let word = SeatWord::default();
        assert_eq!(word.get(), None);
        for cpu in [0, 7, (1 << 16) - 1] {
            for cache in [None, Some(0), Some(70_000)] {
                for capacity in [None, Some(1), Some(1024), Some(65_535)] {
                    let seat = Some(Seat { cpu, cache, capacity });
                    word.set(seat);
                    assert_eq!(word.get(), seat);
                }
            }
        }
        word.set(None);
        assert_eq!(word.get(), None);
    }
}
