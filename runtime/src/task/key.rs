//! What tasks that are to be on one core have in common.

/// One of some ten thousands, to which the keys of users are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u16);

impl Key {
    /// Two less than there are numbers: these mean something else in the header of a task.
    const KEYS: u64 = u16::MAX as u64 - 1;

    pub(crate) fn of(hash: u64) -> Self {
        Self((mix(hash) % Self::KEYS) as u16)
    }

    /// The core whose own hash with the key's is the highest: if a core goes, no other key moves.
    pub(crate) fn choose(self, cores: impl Iterator<Item = usize>) -> Option<usize> {
        cores.max_by_key(|core| mix(u64::from(self.0) ^ mix(*core as u64 + 1)))
    }
}

/// Spreads numbers that are alike: a finalizer of multiplications and shifts, as hash functions end with.
fn mix(mut bits: u64) -> u64 {
    for _ in 0..2 {
        bits = (bits ^ (bits >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    bits ^ (bits >> 29)
}
