use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::{fmt, mem};

use super::timers::GuestId;
use super::wheel::Key;
use super::{Duration, Instant, Timers};
use crate::context::{self, CoreUid, Resources};

/// A deadline further ahead than this is registered without a look at the clock: one that has passed by then comes
/// after a poll at least this long, and ends at the next turn.
const LOOK_AT_CLOCK: Duration = Duration::from_millis(10);

/// Waits until `duration` has passed.
///
/// A duration that reaches beyond what [`Instant`] can represent becomes about 30 years.
///
/// # Panics
///
/// The future panics when it is polled on a thread that neither is a core nor runs a `block_on`.
///
/// # Cancel safety
///
/// Dropping the future ends the wait, wherever it happens.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, sleep};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// sleep(Duration::from_millis(1)).await;
/// println!("a millisecond later");
/// # }).unwrap();
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    let deadline = Instant::now().saturating_add(duration);
    Sleep { deadline, place: Place::Unregistered, doubt: duration.is_zero() }
}

/// Waits until `deadline`.
///
/// # Panics
///
/// The future panics when it is polled on a thread that neither is a core nor runs a `block_on`.
///
/// # Cancel safety
///
/// Dropping the future ends the wait, wherever it happens.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, Instant, sleep_until};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let deadline = Instant::now() + Duration::from_millis(1);
/// sleep_until(deadline).await;
/// assert!(Instant::now() >= deadline);
/// # }).unwrap();
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, place: Place::Unregistered, doubt: true }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It may move between threads at any time: each poll registers it with the core it is polled on and cancels the
/// registration it had elsewhere. It allocates nothing on a core. Polled again after its end, it is ready again.
///
/// # Examples
///
/// A deadline that moves as long as something happens:
///
/// ```
/// use multikernel::time::{Duration, Instant, sleep};
/// use std::pin::pin;
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// let idle = Duration::from_millis(1);
/// let mut expiry = pin!(sleep(idle));
/// for _request in 0..3 {
///     expiry.as_mut().reset(Instant::now() + idle);
/// }
/// expiry.as_mut().await;
/// assert!(expiry.is_elapsed());
/// # }).unwrap();
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    place: Place,
    /// `deadline` may lie before the present as far as anybody has looked.
    doubt: bool,
}

/// Where a sleep is registered.
enum Place {
    Unregistered,
    /// With the timers of the core that polled it.
    Core {
        core: CoreUid,
        key: Key,
    },
    /// With a core that keeps time for a thread that has no timers. Boxed, to keep the usual case small.
    Delegate(Box<Guest>),
    /// Nowhere: it has ended.
    Ended,
}

struct Guest {
    core: CoreUid,
    id: GuestId,
    waker: Waker,
}

impl Sleep {
    /// When this sleep ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, sleep};
    ///
    /// let sleep = sleep(Duration::from_secs(3_600));
    /// assert!(sleep.deadline() > Instant::now());
    /// ```
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether this sleep, once polled, has ended. False as long as it has not been polled since it was created or
    /// reset after its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, sleep};
    ///
    /// let sleep = sleep(Duration::from_secs(1));
    /// assert!(!sleep.is_elapsed());
    /// ```
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match &self.place {
            Place::Unregistered => false,
            Place::Ended => true,
            Place::Core { core, .. } => context::with_core(|here| match here {
                // By this core's idea of time, so that it does not turn true between a poll and its wake.
                Some(here) if here.uid == *core => here.timers.borrow().has_passed(self.deadline),
                _ => self.deadline <= Instant::now(),
            }),
            Place::Delegate(_) => self.deadline <= Instant::now(),
        }
    }

    /// Moves the end to `deadline`, sooner or later than before, also after it has ended.
    ///
    /// A task that waits for this sleep is woken at the new deadline without having to poll again. Called away from
    /// the core where it waits, this wakes the task now, so that it polls and waits anew.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::time::{Duration, Instant, sleep};
    /// use std::pin::pin;
    ///
    /// # multikernel::runtime::Builder::new().run(|| async {
    /// let mut alarm = pin!(sleep(Duration::from_secs(3_600)));
    /// let sooner = Instant::now() + Duration::from_millis(1);
    /// alarm.as_mut().reset(sooner);
    /// assert_eq!(alarm.deadline(), sooner);
    /// alarm.await;
    /// # }).unwrap();
    /// ```
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.get_mut();
        this.deadline = deadline;
        this.doubt = true;
        match &this.place {
            Place::Unregistered => {}
            Place::Ended => this.place = Place::Unregistered,
            &Place::Core { core, key } => this.reset_on_core(core, key),
            Place::Delegate(guest) => {
                let (core, id, waker) = (guest.core, guest.id, guest.waker.clone());
                change_by_message(core, move |timers| timers.register_guest(id, deadline, waker));
            }
        }
    }

    fn reset_on_core(&mut self, core: CoreUid, key: Key) {
        let deadline = self.deadline;
        let local = context::with_core(|here| {
            let here = here.filter(|here| here.uid == core);
            here.map(|here| here.timers.borrow_mut().reschedule(key, deadline)).is_some()
        });
        if !local {
            // A new deadline sent by message could arrive after a later one that was set on the core itself.
            self.place = Place::Unregistered;
            let _core_has_ended = context::post(core, move |there| {
                let waker = there.timers.borrow_mut().cancel(key);
                waker.into_iter().for_each(Waker::wake);
            });
        }
    }

    /// As [`reset`](Self::reset), by a caller that has just read the clock and that no task waits for.
    pub(super) fn restart(&mut self, deadline: Instant, now: Instant) {
        self.withdraw(Place::Unregistered);
        self.deadline = deadline;
        self.doubt = deadline <= now;
    }

    /// Polls without using budget.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Place::Ended = self.place {
            return Poll::Ready(());
        }
        context::with_core(|here| match here {
            Some(here) => self.poll_on_core(here, cx),
            None => self.poll_through_delegate(cx),
        })
    }

    fn poll_on_core(&mut self, here: &Resources, cx: &mut Context<'_>) -> Poll<()> {
        let registered = match self.place {
            Place::Core { core, key } if core == here.uid => Some(key),
            Place::Unregistered => None,
            Place::Core { .. } | Place::Delegate(_) | Place::Ended => {
                // It may have fired elsewhere, by a time that has not come round to this core.
                self.doubt = true;
                None
            }
        };
        let timers = here.timers.borrow();
        if self.is_over(&timers) {
            drop(timers);
            return self.end();
        }
        // Not found: it was reset after it fired, or the timers were cleared. Then it registers anew.
        let known = registered.and_then(|key| Some((key, timers.waker(key)?.will_wake(cx.waker()))));
        drop(timers);
        match known {
            Some((_, true)) => {}
            Some((key, false)) => {
                let waker = cx.waker().clone();
                let _old = here.timers.borrow_mut().replace_waker(key, waker);
            }
            None => {
                let waker = cx.waker().clone();
                let key = here.timers.borrow_mut().register(self.deadline, waker);
                let place = Place::Core { core: here.uid, key };
                if self.is_registered() {
                    self.withdraw(place);
                } else {
                    self.place = place;
                }
            }
        }
        Poll::Pending
    }

    /// Whether the deadline is known to have passed, with as few looks at the clock as that allows.
    ///
    /// The timers of this core look whenever it comes round, so a deadline that waits with them, or was ahead when it
    /// was set, needs no look of its own.
    fn is_over(&mut self, timers: &Timers) -> bool {
        timers.has_passed(self.deadline)
            || mem::take(&mut self.doubt)
                && timers.is_near(self.deadline, LOOK_AT_CLOCK)
                && self.deadline <= Instant::now()
    }

    /// On a thread that has no timers, a core keeps time for it and wakes it from there.
    #[cold]
    fn poll_through_delegate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            return self.end();
        }
        let Some(core) = context::delegate() else {
            panic!(
                "a timer was polled on a thread that is not a core of a runtime and not inside `block_on`"
            );
        };
        if let Place::Delegate(guest) = &self.place
            && guest.core == core
            && guest.waker.will_wake(cx.waker())
            && !context::has_ended(core)
        {
            return Poll::Pending;
        }
        let (id, deadline) = (next_guest_id(), self.deadline);
        let waker = cx.waker().clone();
        let registered = context::post(core, move |there| {
            let _old = there.timers.borrow_mut().register_guest(id, deadline, waker);
        });
        assert!(registered.is_ok(), "a timer was polled inside `block_on` of a runtime that has shut down");
        self.withdraw(Place::Delegate(Box::new(Guest { core, id, waker: cx.waker().clone() })));
        Poll::Pending
    }

    fn end(&mut self) -> Poll<()> {
        self.withdraw(Place::Ended);
        Poll::Ready(())
    }

    fn is_registered(&self) -> bool {
        matches!(self.place, Place::Core { .. } | Place::Delegate(_))
    }

    /// Gives the registration up, if there is one, and puts `next` in its place.
    fn withdraw(&mut self, next: Place) {
        match mem::replace(&mut self.place, next) {
            Place::Unregistered | Place::Ended => {}
            Place::Core { core, key } => {
                let local = context::with_core(|here| {
                    let here = here.filter(|here| here.uid == core);
                    here.map(|here| here.timers.borrow_mut().cancel(key))
                });
                // Dropped with no timers borrowed, for that may run user code.
                let Some(_waker) = local else {
                    return change_by_message(core, move |timers| timers.cancel(key));
                };
            }
            Place::Delegate(guest) => {
                let (core, id) = (guest.core, guest.id);
                change_by_message(core, move |timers| timers.cancel_guest(id));
            }
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let progress = ready!(context::poll_proceed(cx));
        ready!(self.get_mut().poll_deadline(cx));
        progress.made();
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if self.is_registered() {
            self.withdraw(Place::Ended);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Has `core` change its timers, and drop the waker that this leaves over once they are no longer borrowed. A core that
/// has ended has no timers left to change.
///
/// What concerns a guest always takes this way, on the core itself too, so that it cannot overtake the message that
/// registers the guest.
fn change_by_message<F>(core: CoreUid, change: F)
where
    F: FnOnce(&mut Timers) -> Option<Waker> + Send + 'static,
{
    let _core_has_ended = context::post(core, move |there| {
        let _waker = change(&mut there.timers.borrow_mut());
    });
}

fn next_guest_id() -> GuestId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters, the message that carries the number orders everything else.
    NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("counting to 2^64 takes centuries")
}
