use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::{fmt, time};

use super::Duration;

/// A point in time that never goes back, as the runtime's timers see it.
///
/// It wraps [`std::time::Instant`] and converts from and to it without loss. Use it rather than the one in `std` for
/// what is compared with the deadlines of this module.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let deadline = start + Duration::from_secs(1);
/// assert_eq!(deadline - start, Duration::from_secs(1));
/// assert_eq!(start.saturating_duration_since(deadline), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(time::Instant);

impl Instant {
    /// The present.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::Instant;
    ///
    /// let first = Instant::now();
    /// assert!(Instant::now() >= first);
    /// ```
    #[must_use]
    pub fn now() -> Instant {
        // The one place in this module that reads a clock.
        Instant(time::Instant::now())
    }

    /// Later than any program runs, yet far from where arithmetic overflows: what a deadline that does not fit becomes.
    pub(super) fn far_future() -> Instant {
        Instant::now() + Duration::from_secs(30 * 365 * 24 * 60 * 60)
    }

    /// Wraps the instant of the standard library.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::Instant;
    ///
    /// let std = std::time::Instant::now();
    /// assert_eq!(Instant::from_std(std).into_std(), std);
    /// ```
    #[must_use]
    pub fn from_std(std: time::Instant) -> Instant {
        Instant(std)
    }

    /// The same point in time for the standard library.
    #[must_use]
    pub fn into_std(self) -> time::Instant {
        self.0
    }

    /// The time from `earlier` to this instant, or zero when `earlier` is the later one.
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time from `earlier` to this instant, or `None` when `earlier` is the later one.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_duration_since(earlier.0)
    }

    /// The time from `earlier` to this instant, or zero when `earlier` is the later one.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time since this instant, or zero when it is still to come.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant};
    ///
    /// let tomorrow = Instant::now() + Duration::from_secs(86_400);
    /// assert_eq!(tomorrow.elapsed(), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    /// The instant `duration` after this one, or `None` when that cannot be represented.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }

    /// The instant `duration` before this one, or `None` when that cannot be represented.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }

    /// The instant `duration` after this one; about 30 years from now when that cannot be represented.
    pub(super) fn saturating_add(self, duration: Duration) -> Instant {
        self.checked_add(duration).unwrap_or_else(Instant::far_future)
    }
}

impl From<time::Instant> for Instant {
    fn from(std: time::Instant) -> Instant {
        Instant::from_std(std)
    }
}

impl From<Instant> for time::Instant {
    fn from(instant: Instant) -> time::Instant {
        instant.into_std()
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0 + duration)
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

/// Zero when the right-hand side is the later one.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0 - duration)
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        self.0 -= duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
