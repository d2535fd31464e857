use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::sync::LazyLock;
use std::{fmt, time};

use super::{Duration, clock};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// A point in time that never goes back, as the runtime's timers see it.
///
/// The same clock as [`std::time::Instant`]'s, to which it converts, kept as one number, which deadlines are compared
/// and filed by. Use it for what is compared with the deadlines of this module.
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
pub struct Instant {
    /// Nanoseconds of the monotonic clock; five centuries from the start of the computer fit.
    nanos: u64,
}

/// One moment on both scales.
static ORIGIN: LazyLock<(time::Instant, Instant)> =
    LazyLock::new(|| (time::Instant::now(), Instant::system()));

impl Instant {
    /// The present. On a core and in a `block_on` of a runtime whose time is [paused](super::pause()), the time at which it
    /// stands.
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
    #[inline]
    pub fn now() -> Instant {
        clock::at(Instant::system())
    }

    /// The present by the system's clock, which no test stops.
    #[inline]
    pub(crate) fn system() -> Instant {
        // The one place in this module that reads a clock. Not through std, whose instants are two numbers: taking
        // them apart again costs a quarter of a sleep.
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a valid place for the answer; this clock always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        Instant { nanos: now.tv_sec as u64 * NANOS_PER_SEC + now.tv_nsec as u64 }
    }

    /// That many nanoseconds after the clock's own beginning.
    pub(crate) fn from_nanos(nanos: u64) -> Instant {
        Instant { nanos }
    }

    /// Nanoseconds since the clock's own beginning.
    pub(crate) fn as_nanos(self) -> u64 {
        self.nanos
    }

    /// The time since this instant, for instants of the system's clock.
    pub(crate) fn system_elapsed(self) -> Duration {
        Instant::system().saturating_duration_since(self)
    }

    pub(super) fn shifted(self, nanos: i64) -> Instant {
        Instant { nanos: self.nanos.saturating_add_signed(nanos) }
    }

    /// Later than any program runs, yet far from where arithmetic overflows: what a deadline that does not fit becomes.
    pub(super) fn far_future() -> Instant {
        Instant::now() + Duration::from_secs(30 * 365 * 24 * 60 * 60)
    }

    /// The same point in time as the standard library's.
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
        let (theirs, ours) = *ORIGIN;
        let since = ours.checked_add(std.saturating_duration_since(theirs));
        let nanos = since.map_or(u64::MAX, |instant| instant.nanos);
        Instant {
            nanos: nanos.saturating_sub(nanos_of(theirs.saturating_duration_since(std)).unwrap_or(u64::MAX)),
        }
    }

    /// The same point in time for the standard library.
    ///
    /// # Examples
    ///
    /// For a library that wants the standard library's:
    ///
    /// ```
    /// use multikernel::time::Instant;
    ///
    /// let deadline: std::time::Instant = Instant::now().into_std();
    /// assert!(deadline <= std::time::Instant::now());
    /// ```
    #[must_use]
    pub fn into_std(self) -> time::Instant {
        let (theirs, ours) = *ORIGIN;
        match self.checked_duration_since(ours) {
            Some(since) => theirs + since,
            None => theirs - ours.saturating_duration_since(self),
        }
    }

    /// Nanoseconds since `earlier`, or zero when it is the later one.
    #[inline]
    pub(super) fn nanos_since(self, earlier: Instant) -> u64 {
        self.nanos.saturating_sub(earlier.nanos)
    }

    /// The time from `earlier` to this instant, or zero when `earlier` is the later one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, Instant};
    /// let start = Instant::now();
    /// let end = start + Duration::from_millis(5);
    /// assert_eq!(end.duration_since(start), Duration::from_millis(5));
    /// ```
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// The time from `earlier` to this instant, or `None` when `earlier` is the later one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, Instant};
    /// let now = Instant::now();
    /// let deadline = now + Duration::from_secs(1);
    /// let left = deadline.checked_duration_since(now); // `None` would say that it has passed
    /// assert_eq!(left, Some(Duration::from_secs(1)));
    /// assert_eq!(now.checked_duration_since(deadline), None);
    /// ```
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.nanos.checked_sub(earlier.nanos).map(Duration::from_nanos)
    }

    /// The time from `earlier` to this instant, or zero when `earlier` is the later one. The same as
    /// [`duration_since`](Self::duration_since), by its full name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, Instant};
    /// let now = Instant::now();
    /// assert_eq!(now.saturating_duration_since(now + Duration::from_secs(1)), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
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
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, Instant};
    /// let now = Instant::now();
    /// assert!(now.checked_add(Duration::from_secs(60)).is_some());
    /// assert!(now.checked_add(Duration::MAX).is_none());
    /// ```
    #[must_use]
    #[inline]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.nanos.checked_add(nanos_of(duration)?).map(|nanos| Instant { nanos })
    }

    /// The instant `duration` before this one, or `None` when that cannot be represented.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, Instant};
    /// let now = Instant::now();
    /// assert_eq!(now.checked_sub(Duration::ZERO), Some(now));
    /// assert!(now.checked_sub(Duration::MAX).is_none()); // before the computer started
    /// ```
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.nanos.checked_sub(nanos_of(duration)?).map(|nanos| Instant { nanos })
    }

    /// The instant `duration` after this one; about 30 years from now when that cannot be represented.
    #[inline]
    pub(super) fn saturating_add(self, duration: Duration) -> Instant {
        self.checked_add(duration).unwrap_or_else(Instant::far_future)
    }
}

#[inline]
fn nanos_of(duration: Duration) -> Option<u64> {
    duration.as_secs().checked_mul(NANOS_PER_SEC)?.checked_add(u64::from(duration.subsec_nanos()))
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
        self.checked_add(duration).expect("an instant after the end of time")
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Zero when the right-hand side is the later one.
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        self.checked_sub(duration).expect("an instant before the start of the clock")
    }
}

/// # Panics
///
/// When the result cannot be represented.
impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.nanos))
    }
}
