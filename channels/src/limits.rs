//! Every bound of the channels, in one place.

/// Channels that a core watches, or remembers to knock at, by itself. Those beyond go through wakers.
pub(crate) const HUB_PORTS: usize = 16;

/// A channel has two ends that can wait.
pub(crate) const HUB_SIDES: usize = 2;

const _: () = assert!(HUB_PORTS * HUB_SIDES <= 32, "a bit of a word for each");
