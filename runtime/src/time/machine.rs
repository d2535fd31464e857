//! Timers of the whole Machine: armed on one core, known to all.
//!
//! [`sleep`](super::sleep()) and the like belong to the core that waits. A timer from here belongs to none: when the core
//! that looks after it [retires](crate::runtime::Handle::retire) or dies, the next one does, and no timer is lost or started
//! twice.
//!
//! | | runs |
//! |---|---|
//! | [`once`] | at a deadline, on one live core |
//! | [`on_each`] | at a deadline, on every live core |
//! | [`every`] | again and again, each time on one live core |
//!
//! Arming and cancelling are agreements of all cores (see [`Replicated`]), which take some
//! messages and as long as the longest poll on any core. Waiting costs nothing, and local timers pay nothing for this.
//!
//! # What is promised
//!
//! - What is due is started *exactly once*, or once on each core: by a claim that outlives the core. It runs as a task of its
//!   own, and a panic ends that task only. A core that dies in the middle of it does not have it started again elsewhere.
//! - It is never early. It is late by a tick (262 microseconds), and by as long as its core is in a long poll: a core that is
//!   stuck is alive, and nobody takes its timers away.
//! - `cancel().await == Ok(())` means that it does not start any more, anywhere.
//!
//! # Examples
//!
//! ```
//! use multikernel::time::{Duration, Instant, machine};
//!
//! # multikernel::runtime::Builder::new().cores(2).run(|| async {
//! let deadline = Instant::now() + Duration::from_secs(3600);
//! let timer = machine::once(deadline, || println!("an hour has passed")).await?;
//! timer.cancel().await?;
//! # std::io::Result::Ok(())
//! # }).unwrap().unwrap();
//! ```

use std::panic::Location;
use std::sync::Arc;
use std::{error, fmt, io};

use multikernel_replicate::{CoreId, ProposeError, Replicated};

use super::alarm::{Order, Timers};
use super::interval::reachable;
use super::plan::{Kind, Plan};
use super::{Duration, Instant};
use crate::machine::objects;

/// A timer of the Machine: what cancels it.
///
/// Dropping this does not cancel the timer, for it is not this core's alone.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, machine};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let soon = Instant::now() + Duration::from_millis(1);
/// let timer: machine::Timer = machine::once(soon, || println!("it runs")).await?;
/// drop(timer); // and it runs all the same
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Timer {
    id: u64,
    object: Replicated<Timers>,
}

impl Timer {
    /// Takes the timer back, on every core or on none. It may be called anywhere, also on threads that are no cores.
    ///
    /// A timer of [`every`] does not start again; a run that has begun goes on.
    ///
    /// # Errors
    ///
    /// [`CancelError::HasStarted`]: it runs, has run, or is about to. One of [`on_each`] has started on some core, and will on the others.
    /// [`CancelError::Unknown`] where the core that was asked has died meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its first poll the timer goes on; later, it may or may not be cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, machine};
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let (send, receive) = multikernel::channels::oneshot::channel();
    /// let timer = machine::once(Instant::now(), move || send.send(()).unwrap()).await?;
    /// receive.await.unwrap();
    /// assert_eq!(timer.cancel().await, Err(machine::CancelError::HasStarted));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn cancel(self) -> Result<(), CancelError> {
        let mut is_asked = false;
        loop {
            match self.object.propose(Order::Cancel(self.id)).await {
                Ok(_) => return Ok(()),
                Err(ProposeError::Unknown { .. }) => is_asked = true,
                // Perhaps by what was asked for first.
                Err(ProposeError::Refused { .. }) if is_asked => return Err(CancelError::Unknown),
                Err(ProposeError::Refused { .. }) => return Err(CancelError::HasStarted),
                Err(_) => return Err(CancelError::Closed),
            }
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Runs `f` once at `deadline`, or at once if that has passed, on one live core: this one, while it is there.
///
/// # Errors
///
/// The Machine ends.
///
/// # Panics
///
/// The future panics when it is polled on a thread that is no core.
///
/// # Cancel safety
///
/// If the future is dropped before its first poll nothing is armed; later, the timer may be armed with nobody to cancel it.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, machine};
///
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// let (send, receive) = multikernel::channels::oneshot::channel();
/// let deadline = Instant::now() + Duration::from_millis(2);
/// machine::once(deadline, move || send.send(Instant::now()).unwrap()).await?;
/// assert!(receive.await.unwrap() >= deadline);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn once<F>(deadline: Instant, f: F) -> impl Future<Output = Result<Timer, Closed>> + Send + use<F>
where
    F: FnOnce() + Send + 'static,
{
    let at = Location::caller();
    async move { arm(deadline, Kind::once(f), at).await }
}

/// Runs `f` once on every live core, at `deadline`, or at once if that has passed.
///
/// A core that joins before all the others have started it starts it too. `f` is dropped when every core has heard that all
/// have; one that sleeps hears of it when it wakes.
///
/// # Errors
///
/// The Machine ends.
///
/// # Panics
///
/// The future panics when it is polled on a thread that is no core.
///
/// # Cancel safety
///
/// As for [`once`].
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, machine};
/// use multikernel::{CoreId, channels::mpsc};
///
/// # multikernel::runtime::Builder::new().cores(3).run(|| async {
/// let (send, mut receive) = mpsc::channel(4);
/// let soon = Instant::now() + Duration::from_millis(1);
/// machine::on_each(soon, move || assert!(send.try_send(CoreId::current()).is_ok())).await?;
/// let mut cores = Vec::new();
/// for _ in 0..3 {
///     cores.push(receive.recv().await.unwrap().index());
/// }
/// cores.sort();
/// assert_eq!(cores, [0, 1, 2]);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn on_each<F>(deadline: Instant, f: F) -> impl Future<Output = Result<Timer, Closed>> + Send + use<F>
where
    F: Fn() + Send + Sync + 'static,
{
    let at = Location::caller();
    async move { arm(deadline, Kind::each(f), at).await }
}

/// Runs `f` every `period`, for the first time one period from now, each time on one live core: this one, while it is there.
///
/// Each tick runs once. After a tick that came more than five milliseconds late, the next comes a full period after it, as with
/// [`MissedTickBehavior::Delay`](super::MissedTickBehavior::Delay): what was missed is not made up for, also when the timer has
/// passed to another core.
///
/// # Errors
///
/// The Machine ends.
///
/// # Panics
///
/// When `period` is zero. The future panics when it is polled on a thread that is no core.
///
/// # Cancel safety
///
/// As for [`once`].
///
/// # Examples
///
/// ```
/// use multikernel::channels::mpsc;
/// use multikernel::time::{Duration, machine};
///
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// let (send, mut receive) = mpsc::channel(1);
/// let timer = machine::every(Duration::from_millis(1), move || _ = send.try_send(())).await?;
/// for _ in 0..3 {
///     receive.recv().await;
/// }
/// timer.cancel().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[track_caller]
pub fn every<F>(period: Duration, f: F) -> impl Future<Output = Result<Timer, Closed>> + Send + use<F>
where
    F: Fn() + Send + Sync + 'static,
{
    assert!(!period.is_zero(), "`period` must not be zero");
    let (at, first) = (Location::caller(), Instant::now().saturating_add(period));
    async move { arm(first, Kind::every(f, reachable(period)), at).await }
}

async fn arm(due: Instant, kind: Kind, at: &'static Location<'static>) -> Result<Timer, Closed> {
    let owner = CoreId::try_current();
    let owner = owner.expect("a timer of the Machine must be armed on a core of a multikernel runtime");
    let object = Replicated::fixed(objects::TIMERS, Timers::new).await.map_err(|_| Closed)?;
    let plan = Arc::new(Plan::new(due, kind, at, object.clone()));
    let id = plan.claims.id;
    loop {
        match object.propose(Order::Arm { plan: plan.clone(), owner }).await {
            // Refused: it is armed, but the core died that was to say so.
            Ok(_) | Err(ProposeError::Refused { .. }) => return Ok(Timer { id, object }),
            Err(ProposeError::Unknown { .. }) => {}
            Err(_) => return Err(Closed),
        }
    }
}

/// A timer was not armed: the Machine ends.
///
/// # Examples
///
/// ```
/// assert_eq!(multikernel::time::machine::Closed.to_string(), "the Machine has ended");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Machine has ended")
    }
}

impl error::Error for Closed {}

impl From<Closed> for io::Error {
    fn from(error: Closed) -> Self {
        Self::other(error)
    }
}

/// A timer was not cancelled.
///
/// # Examples
///
/// ```
/// use multikernel::time::machine::CancelError;
///
/// assert_eq!(CancelError::HasStarted.to_string(), "the timer has started");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelError {
    /// It runs, or has run.
    HasStarted,
    /// The Machine has ended: it does not start any more, if it has not.
    Closed,
    /// It was cancelled, or has started: the core died that was to say which. What has not started does not start any more, but
    /// one of [`on_each`] that has starts on all cores.
    Unknown,
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasStarted => f.write_str("the timer has started"),
            Self::Closed => Closed.fmt(f),
            Self::Unknown => f.write_str("the timer was cancelled, or has started"),
        }
    }
}

impl error::Error for CancelError {}

impl From<CancelError> for io::Error {
    fn from(error: CancelError) -> Self {
        Self::other(error)
    }
}
