//! Where a core stands in the agreed order, and who leads.

use std::fmt;

use crate::CoreId;

/// A position in the agreed order: the number of the last round that is decided here.
///
/// ```
/// use multikernel_replicate::Version;
///
/// let version = Version::START.next().next();
/// assert_eq!(version, Version(2));
/// assert!(version.previous() < version);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Before the first round.
    pub const START: Self = Self(0);

    /// The next round.
    ///
    /// ```
    /// use multikernel_replicate::Version;
    ///
    /// assert_eq!(Version::START.next(), Version(1));
    /// ```
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The round before this.
    ///
    /// ```
    /// use multikernel_replicate::Version;
    ///
    /// assert_eq!(Version(7).previous(), Version(6));
    /// ```
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
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
///
/// ```
/// use multikernel_replicate::{CoreId, Term};
///
/// let term = |number, taker| Term { number, taker: CoreId::new(taker) };
/// assert!(term(1, 5) < term(2, 0) && term(2, 0) < term(2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Higher than that of every takeover its taker has heard of.
    pub number: u32,
    /// Who takes over.
    pub taker: CoreId,
}

/// For how long one core is home: since a takeover, and within it since the round in which its predecessor left.
///
/// ```
/// use multikernel_replicate::{CoreId, Reign, Term, Version};
///
/// let term = Term { number: 1, taker: CoreId::new(2) };
/// let (first, later) = (Reign { term, since: Version(3) }, Reign { term, since: Version(9) });
/// assert!(first < later);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reign {
    /// The last takeover.
    pub term: Term,
    /// The first version under this home.
    pub since: Version,
}

/// Who is home, and for which reign.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// assert_eq!(part.lead().home, a); // the lowest founder
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lead {
    /// The reign; later ones are greater.
    pub reign: Reign,
    /// The home.
    pub home: CoreId,
}
