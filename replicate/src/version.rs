//! Where a core stands in the agreed order, and who leads.

use std::fmt;

use crate::CoreId;

/// A position in the agreed order: the number of the last round that is decided here.
///
/// ```
/// use multikernel_replicate::Version;
///
/// let version = Version::START.next().next();
/// assert_eq!(version.stamp(), 2);
/// assert!(!version.is_before_stamp(2) && version.is_before_stamp(3));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Before the first round.
    pub const START: Self = Self(0);

    /// The next round.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The round before this.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// What travels on messages. It wraps around after four thousand million rounds.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a stamp is the lower half")]
    pub const fn stamp(self) -> u32 {
        self.0 as u32
    }

    /// Whether a message with that stamp was sent after a round that is not decided here. Right as long as fewer than two
    /// thousand million rounds lie between.
    #[must_use]
    pub const fn is_before_stamp(self, stamp: u32) -> bool {
        stamp.wrapping_sub(self.stamp()).cast_signed() > 0
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One takeover: a number and the core that takes over. Of two with one number the higher core's is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Higher than that of every takeover its taker has heard of.
    pub number: u32,
    /// Who takes over.
    pub taker: CoreId,
}

/// For how long one core is home: since a takeover, and within it since the round in which its predecessor left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reign {
    /// The last takeover.
    pub term: Term,
    /// The first version under this home.
    pub since: Version,
}

/// Who is home, and for which reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// The reign; later ones are greater.
    pub reign: Reign,
    /// The home.
    pub home: CoreId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_wrap() {
        let last = Version(u64::from(u32::MAX));
        assert!(last.is_before_stamp(last.next().stamp()), "the stamp after the last is zero, and newer");
        assert!(!last.next().is_before_stamp(last.stamp()));
        assert!(!last.is_before_stamp(last.stamp()));
    }
}
