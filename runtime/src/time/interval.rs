use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::{Duration, Instant, Sleep, sleep_until};

/// A tick that is later than this is missed, one that is less late is on time.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Ticks every `period`, for the first time at once.
///
/// What happens after a tick came late is up to the [`MissedTickBehavior`]; at first that is
/// [`Burst`](MissedTickBehavior::Burst).
///
/// # Panics
///
/// When `period` is zero.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, interval};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let start = Instant::now();
/// let mut beat = interval(Duration::from_millis(2));
/// beat.tick().await; // at once
/// beat.tick().await;
/// beat.tick().await;
/// assert!(start.elapsed() >= Duration::from_millis(4));
/// # }).unwrap();
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks every `period`, for the first time at `start`. Apart from that it is [`interval`].
///
/// # Panics
///
/// When `period` is zero.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, interval_at};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let period = Duration::from_millis(2);
/// let start = Instant::now() + period;
/// let mut beat = interval_at(start, period);
/// assert_eq!(beat.tick().await, start);
/// # }).unwrap();
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "`period` must not be zero");
    let behavior = MissedTickBehavior::default();
    Interval { delay: sleep_until(start), period: reachable(period), behavior }
}

/// What an [`Interval`] does after a tick was missed, that is, came more than five milliseconds late.
///
/// With a period of 50 ms and a task that, after the first tick, is busy for 120 ms, the ticks come at
///
/// ```text
/// due     50  100  150  200  250  300
/// Burst   50  170  170  200  250  300
/// Delay   50  170  220  270  320  370
/// Skip    50  170  200  250  300  350
/// ```
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, MissedTickBehavior, interval};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let mut beat = interval(Duration::from_millis(50));
/// beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// assert_eq!(beat.missed_tick_behavior(), MissedTickBehavior::Skip);
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Makes up for the missed ticks, one after the other without a pause, and is back on the old schedule.
    #[default]
    Burst,
    /// Waits a full period from the late tick on: a new schedule.
    Delay,
    /// Leaves out the missed ticks, and goes on with the next one of the old schedule.
    Skip,
}

impl MissedTickBehavior {
    /// When the tick after the one that was due at `due` and came at `now` is due.
    pub(super) fn next_tick(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        if late <= TOLERANCE {
            return due.saturating_add(period);
        }
        match self {
            MissedTickBehavior::Burst => due.saturating_add(period),
            MissedTickBehavior::Delay => now.saturating_add(period),
            MissedTickBehavior::Skip => now.saturating_add(period - remainder(late, period)),
        }
    }
}

fn remainder(span: Duration, period: Duration) -> Duration {
    let nanos = span.as_nanos() % period.as_nanos();
    Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
}

/// A period that leads from now to an instant that can be represented.
pub(super) fn reachable(period: Duration) -> Duration {
    let now = Instant::now();
    if now.checked_add(period).is_some() { period } else { Instant::far_future() - now }
}

/// A stream of ticks, from [`interval`] and [`interval_at`].
///
/// # Examples
///
/// A task that looks after something every millisecond, ten times:
///
/// ```
/// use multikernel::time::{Duration, Interval, interval};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut every: Interval = interval(Duration::from_millis(1));
/// for _ in 0..10 {
///     every.tick().await;
///     // .. drop connections that have been idle for too long ..
/// }
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Interval {
    delay: Sleep,
    period: Duration,
    behavior: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns when it was due, which is earlier than the present if it came late.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropped before it completes, it has used up no tick.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, interval};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let before = Instant::now();
    /// let mut beat = interval(Duration::from_millis(1));
    /// let first = beat.tick().await;
    /// assert!(first >= before);
    /// assert_eq!(beat.tick().await, first + beat.period());
    /// # }).unwrap();
    /// ```
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Asks for the next tick, and has the task woken when there is none yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, interval};
    /// use std::future::poll_fn;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut beat = interval(Duration::from_millis(1));
    /// let first = poll_fn(|cx| beat.poll_tick(cx)).await;
    /// # assert!(first.elapsed() < Duration::from_secs(60));
    /// # }).unwrap();
    /// ```
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.delay).poll(cx));
        let due = self.delay.deadline();
        let now = Instant::now();
        self.delay.restart(self.behavior.next_tick(due, now, self.period), now);
        Poll::Ready(due)
    }

    /// The next tick comes a full period from now.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, interval};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let mut beat = interval(Duration::from_millis(2));
    /// beat.tick().await;
    /// beat.reset();
    /// let now = Instant::now();
    /// assert!(beat.tick().await <= now + beat.period());
    /// # }).unwrap();
    /// ```
    pub fn reset(&mut self) {
        self.reset_at(Instant::now().saturating_add(self.period));
    }

    /// The next tick comes at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, interval};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let mut beat = interval(Duration::from_secs(3_600));
    /// beat.tick().await;
    /// beat.reset_immediately();
    /// assert!(beat.tick().await <= Instant::now());
    /// # }).unwrap();
    /// ```
    pub fn reset_immediately(&mut self) {
        self.reset_at(Instant::now());
    }

    /// The next tick comes after `after`, and the following ones a period apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, interval};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let mut beat = interval(Duration::from_secs(3_600));
    /// beat.tick().await;
    /// beat.reset_after(Duration::from_millis(1));
    /// assert!(beat.tick().await <= Instant::now());
    /// # }).unwrap();
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        self.reset_at(Instant::now().saturating_add(after));
    }

    /// The next tick comes at `deadline`, and the following ones a period apart.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, interval};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let mut beat = interval(Duration::from_secs(3_600));
    /// beat.tick().await;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// beat.reset_at(deadline);
    /// assert_eq!(beat.tick().await, deadline);
    /// # }).unwrap();
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        Pin::new(&mut self.delay).reset(deadline);
    }

    /// What happens after a missed tick.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, MissedTickBehavior, interval};
    /// let beat = interval(Duration::from_secs(1));
    /// assert_eq!(beat.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// ```
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.behavior
    }

    /// Sets what happens after a missed tick, from the next one on.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, MissedTickBehavior, interval};
    /// let mut beat = interval(Duration::from_secs(1));
    /// beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    /// assert_eq!(beat.missed_tick_behavior(), MissedTickBehavior::Delay);
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.behavior = behavior;
    }

    /// The time between ticks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::time::{Duration, interval};
    /// let beat = interval(Duration::from_secs(1));
    /// assert_eq!(beat.period(), Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}
