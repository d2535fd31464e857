//! A core that is stuck, as a program is told of it.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::limits;
use crate::machine::builder::Builder;
use crate::machine::core_id::CoreId;
use crate::machine::stack::Stack;
use crate::time::Instant;

/// A core that has been in one poll for too long, and was still in it when it was looked at.
///
/// See [`Builder::stall_threshold`].
///
/// # Examples
/// ```
/// use multikernel::runtime::{Builder, Stall};
///
/// fn tell(stall: Stall) {
///     let task = stall.task.map_or("no task".into(), |task| format!("the task of {task}"));
///     eprintln!("{} has been in {task} for {:?}", stall.core, stall.lasted);
///     if let Some(stack) = stall.stack {
///         eprintln!("{stack}");
///     }
/// }
///
/// Builder::new().cores(2).on_stall(tell).run(|| async {})?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// Which core.
    pub core: CoreId,
    /// Where the task was spawned that it polls. None: the core is stuck elsewhere, such as in the `prepare` of a replicated
    /// object, a waker, or its own driver.
    pub task: Option<&'static Location<'static>>,
    /// When it was first seen in this poll, which had begun by then.
    pub since: Instant,
    /// How long that was ago.
    pub lasted: Duration,
    /// How much of that, but for a first part, the core's thread was on a CPU. About all of it: the poll computes. About
    /// nothing: it waits in a system call, or for a lock. None if the system does not tell.
    pub ran: Option<Duration>,
    /// Where the thread is. None if it gave no answer, which `tracing` has the reason for.
    pub stack: Option<Stack>,
}

impl Builder {
    /// How long a core may be in one poll until that is called a stall. The default is 100 milliseconds; `None` turns the
    /// watching off, and the thread that does it.
    ///
    /// What is queued on a core waits while it is in a poll. A stall is reported once: with a warning through `tracing`, and
    /// to [`on_stall`](Self::on_stall). While it lasts, no task is placed on that core. A poll of one and a half times the
    /// threshold is noticed, a shorter one perhaps. Time in which the thread waited for a CPU, or the process was stopped,
    /// does not count, and neither do calls within [`block_in_place`](crate::task::block_in_place).
    ///
    /// The cores read no clock for this. One thread looks at them, four times per threshold, while one of them is awake.
    ///
    /// # Signals
    /// To learn where a stuck thread is, that thread is sent the signal `SIGURG`, once for each stall. The handler is installed
    /// at the first stall of the process, and passes on every such signal that is not from here. System calls are restarted,
    /// but for those that never are (see signal(7): `poll`, `select`, `epoll_wait`, sleeps): these fail with `EINTR`, which
    /// std's own functions handle. A thread that blocks the signal is reported without its stack.
    ///
    /// # Panics
    /// If the threshold is shorter than a millisecond.
    ///
    /// # Examples
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::time::Duration;
    ///
    /// let patient = Builder::new().cores(2).stall_threshold(Some(Duration::from_secs(1))).build()?;
    /// let unwatched = Builder::new().cores(2).stall_threshold(None).build()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stall_threshold(&mut self, threshold: Option<Duration>) -> &mut Self {
        let shortest = limits::SHORTEST_STALL;
        assert!(
            threshold.is_none_or(|threshold| threshold >= shortest),
            "a stall takes {shortest:?} at least"
        );
        self.stall_threshold = threshold;
        self
    }

    /// Has `f` called when a core is stuck, beside the warning. It is called on the thread that watches, which watches nothing
    /// meanwhile. A panic of `f` goes no further.
    ///
    /// # Examples
    /// A service that counts:
    /// ```
    /// # use multikernel::runtime::Builder;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// static STALLS: AtomicU64 = AtomicU64::new(0);
    ///
    /// let count = |_| _ = STALLS.fetch_add(1, Ordering::Relaxed);
    /// Builder::new().cores(2).on_stall(count).run(|| async {})?;
    /// assert_eq!(STALLS.load(Ordering::Relaxed), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_stall(&mut self, f: impl Fn(Stall) + Send + Sync + 'static) -> &mut Self {
        self.hooks.stall = Some(Arc::new(f));
        self
    }
}
