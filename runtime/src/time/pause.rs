use std::panic::resume_unwind;

use super::Duration;
use super::clock::{self, Clock};
use crate::context;
use crate::executor;
use crate::machine::runtime::Handle;
use crate::task::{JoinError, yield_now};

/// Stops the clock of this runtime, so that a test decides how fast time goes.
///
/// From here on [`Instant::now`](super::Instant::now) stands still, on the core and on threads inside `block_on`. Time goes
/// on in two ways:
///
/// - [`advance`] moves it by hand;
/// - when the core has nothing left to do, it jumps to the deadline of the next timer, so that `sleep` takes no time, and
///   exactly as long as it says.
///
/// A blocking call under way, also one of a file, keeps time from jumping, and so does a thread inside `block_on` that has
/// something to do. Traffic does not: a peer's answer that is still on its way may find that a time limit has passed.
///
/// Timers of the whole runtime ([`time::machine`](super::machine)) follow the same clock. `std::time::Instant`, and threads
/// that are neither the core nor inside `block_on`, do not.
///
/// A runtime starts this way with `#[multikernel::test(start_paused = true)]` or
/// [`Builder::start_paused`](crate::runtime::Builder::start_paused).
///
/// # Panics
///
/// When time is paused already; when the runtime has more than one core, for which no jump would be the same moment; on a
/// thread that is neither a core nor a guest of a runtime.
///
/// # Examples
///
/// ```
/// use multikernel::time::{self, Duration, Instant};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// time::pause();
/// let start = Instant::now();
/// time::sleep(Duration::from_secs(3_600)).await; // takes no time
/// assert_eq!(start.elapsed(), Duration::from_secs(3_600));
/// # }).unwrap();
/// ```
#[track_caller]
pub fn pause() {
    clock::change(Clock::pause);
    on_core(|here| here.timers.borrow_mut().be_exact());
}

/// Lets the clock run again, from where it stands.
///
/// # Panics
///
/// When time is not paused; on a thread that is neither a core nor a guest of a runtime.
///
/// # Examples
///
/// ```
/// use multikernel::time::{self, Duration, Instant};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// time::pause();
/// let start = Instant::now();
/// time::advance(Duration::from_secs(60)).await;
/// time::resume();
/// time::sleep(Duration::from_millis(1)).await; // a real millisecond
/// assert!(start.elapsed() >= Duration::from_millis(60_001));
/// # }).unwrap();
/// ```
#[track_caller]
pub fn resume() {
    clock::change(Clock::resume);
    on_core(|_| {}); // which may be asleep until something happens, and has a next timer to wait for now
}

/// Moves the paused clock on by `duration`, in one jump, and yields once.
///
/// Every timer that is due by then fires, and the tasks that waited for those are polled once before this returns. It does
/// not wait until they are through: sleep for the same time, and the clock stops at each timer on the way.
///
/// # Panics
///
/// When time is not paused, or the result cannot be represented; on a thread that is neither a core nor a guest of a
/// runtime.
///
/// # Cancel safety
///
/// Time moves with the first poll, and stays where it is.
///
/// # Examples
///
/// ```
/// use multikernel::time::{self, Duration, timeout};
/// use std::future::pending;
///
/// #[multikernel::test(start_paused = true)]
/// async fn gives_up_after_a_minute() {
///     let limited = multikernel::spawn(timeout(Duration::from_secs(60), pending::<()>()));
///     time::advance(Duration::from_secs(59)).await;
///     assert!(!limited.is_finished());
///     time::advance(Duration::from_secs(1)).await;
///     assert!(limited.await.unwrap().is_err());
/// }
/// ```
pub async fn advance(duration: Duration) {
    if executor::with(|core| core.is_some()) {
        return advance_here(duration).await;
    }
    clock::change(|clock| clock.move_on(|now| now)); // only to panic in the caller's own poll if it runs
    // By a task of the core: those spawned before have their first poll, as they would if this thread were the core.
    let moved = Handle::current().spawn(advance_here(duration)).await;
    if let Err(Ok(payload)) = moved.map_err(JoinError::try_into_panic) {
        resume_unwind(payload); // else the runtime is ending
    }
}

async fn advance_here(duration: Duration) {
    clock::change(|clock| clock.move_on(|now| now + duration));
    executor::with(|core| core.into_iter().for_each(|core| core.fire_local_timers()));
    yield_now().await;
}

/// Has `f` done on the core of this thread's Machine, at once if this is it.
fn on_core(f: impl FnOnce(&context::Resources) + Send + 'static) {
    let mut f = Some(f);
    context::with_core(|here| {
        if let (Some(here), Some(f)) = (here, f.take_if(|_| here.is_some())) {
            f(here);
        }
    });
    if let (Some(f), Some(core)) = (f, context::delegate()) {
        let _core_has_ended = context::post(core, f);
    }
}
