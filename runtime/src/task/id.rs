//! The names of tasks.

use std::fmt;
use std::num::NonZeroU64;

use multikernel_channels::sync::{AtomicU64, Ordering, per_thread, process_wide};

use crate::task::home;

/// Names a task. No other task of this process has, had or will have the same, on whatever Machine.
///
/// From [`id`], [`JoinHandle::id`](crate::task::JoinHandle::id), [`AbortHandle::id`](crate::task::AbortHandle::id) and
/// [`JoinError::id`](crate::task::JoinError::id). A task gets its name when somebody first asks for it, so names say
/// nothing about order, and cost nothing where nobody asks.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::task;
///
/// let task = multikernel::spawn(async { task::id() });
/// let name: task::Id = task.id();
/// assert_eq!(task.await.unwrap(), name);
/// println!("task {name} is done");
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(NonZeroU64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

process_wide! {
    static NEXT: AtomicU64 = AtomicU64::new(1)
}

per_thread! {
    /// The task for which this thread, which is no core, runs a blocking call; 0 if none.
    static CALL: u64 = 0
}

/// A task's name, once somebody has asked for it.
pub(crate) struct LazyId(AtomicU64);

impl LazyId {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> Id {
        // Relaxed, all three: only the number itself matters, and whoever asks gets the one that was stored first.
        let known = NonZeroU64::new(self.0.load(Ordering::Relaxed));
        Id(known.unwrap_or_else(|| {
            let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
            let stored = self.0.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
            NonZeroU64::new(stored.err().unwrap_or(fresh)).expect("2^64 tasks")
        }))
    }
}

/// The name of the task that is being polled here.
///
/// Within [`spawn_blocking`](crate::task::spawn_blocking), that of the call. The future given to
/// [`Builder::run`](crate::runtime::Builder::run), and so the body of `main`, is a task too; one that is given to
/// `block_on` is not.
///
/// # Panics
/// Outside a task; [`try_id`] does not.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// println!("task {} has begun", multikernel::task::id());
/// # }).unwrap();
/// ```
#[track_caller]
pub fn id() -> Id {
    try_id().expect("there is no task here that could have an id")
}

/// The name of the task that is being polled here, if any. As [`id`].
///
/// # Examples
/// ```
/// use multikernel::task;
///
/// assert!(task::try_id().is_none()); // a plain thread
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// assert!(task::try_id().is_some());
/// # }).unwrap();
/// ```
pub fn try_id() -> Option<Id> {
    home::polled().or_else(|| CALL.with(|call| NonZeroU64::new(call.get()).map(Id)))
}

/// Runs the blocking call of task `id` on a thread that is no core.
pub(crate) fn in_call<R>(id: Option<Id>, f: impl FnOnce() -> R) -> R {
    CALL.with(|call| call.set(id.map_or(0, |id| id.0.get())));
    let result = f();
    CALL.with(|call| call.set(0));
    result
}
