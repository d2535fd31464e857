//! What can go wrong, and what comes back.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::handle::Proposal;
use crate::{CoreId, StateMachine, Version};

/// A proposal is committed: every live core has it, or is asleep and has it before it runs anything.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::{Committed, ReplicatedCell};
///
/// let limit = ReplicatedCell::new(1).await?;
/// let Committed { version } = limit.set(2).await?;
/// assert_eq!(limit.version(), version);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The round in which it was.
    pub version: Version,
}

/// Why a proposal came to nothing, with the command. It is committed nowhere and will not be, unless the outcome is
/// [`Unknown`](Self::Unknown).
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ready::{Counter, CounterRefusal};
/// use multikernel_replicate::{CoreId, ProposeError, Replicated};
///
/// let jobs = Replicated::new(|| Counter::with_bound(1)).await?;
/// let add = Counter::add(CoreId::current(), 2);
/// let Err(ProposeError::Refused { by, reason, command }) = jobs.propose(add).await else {
///     panic!("it is over the bound")
/// };
/// assert_eq!(*reason, CounterRefusal::OverBound { value: 0, bound: 1 });
/// assert_eq!((by, *command), (CoreId::new(0), add));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
pub enum ProposeError<S: StateMachine> {
    /// The state machine refused it on one core.
    Refused {
        /// That core.
        by: CoreId,
        /// Its reason.
        reason: Arc<S::Refusal>,
        /// The command.
        command: Proposal<S::Command>,
    },
    /// The state machine panicked in `prepare` on one core.
    Panicked {
        /// That core.
        by: CoreId,
        /// The command.
        command: Proposal<S::Command>,
    },
    /// The time was up before every core had voted.
    Stalled {
        /// A core that was waited for. The home, if the proposal has waited on another core for its turn there: it has
        /// [`PROPOSALS`](crate::limits::PROPOSALS) at the home at most.
        core: CoreId,
        /// For how long this proposal has waited, from the call to the answer. Longer than it was given, if the home or the core
        /// that asked was in a long poll when the time was up.
        waited: Duration,
        /// Where the task was spawned that kept that core busy, if it was known.
        task: Option<&'static Location<'static>>,
        /// The command.
        command: Proposal<S::Command>,
    },
    /// The object is closed, or its Machine has ended.
    Closed {
        /// The command.
        command: Proposal<S::Command>,
    },
    /// The core that had taken the proposal has ended, by itself or with its Machine: the command may be committed, on all cores,
    /// and may still be.
    ///
    /// Only a proposal that another core takes comes to this: that of a thread that is no core, and that of a task which is
    /// handed over to another core while it waits.
    Unknown {
        /// The command.
        command: Proposal<S::Command>,
    },
}

impl<S: StateMachine> ProposeError<S> {
    /// The command, to be proposed again. Where the outcome is [`Unknown`](Self::Unknown), it may then be committed twice.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::{CoreId, Replicated, ready::Counter};
    /// let jobs = Replicated::new(|| Counter::with_bound(1)).await?;
    /// let error = jobs.propose(Counter::add(CoreId::current(), 2)).await.unwrap_err();
    /// assert_eq!(error.into_command().amount(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn into_command(self) -> Proposal<S::Command> {
        match self {
            Self::Refused { command, .. }
            | Self::Panicked { command, .. }
            | Self::Stalled { command, .. }
            | Self::Closed { command }
            | Self::Unknown { command } => command,
        }
    }

    /// The reason of the state machine, if it refused.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::{Counter, CounterRefusal};
    ///
    /// # use multikernel_replicate::{CoreId, Replicated};
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let error = jobs.propose(Counter::add(CoreId::current(), -1)).await.unwrap_err();
    /// assert_eq!(error.refusal(), Some(&CounterRefusal::BelowZero { held: 0 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn refusal(&self) -> Option<&S::Refusal> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }
}

impl<S: StateMachine> fmt::Display for ProposeError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { by, .. } => write!(f, "{by} refused the command"),
            Self::Panicked { by, .. } => {
                write!(f, "the state machine panicked on {by}, which refuses the command")
            }
            Self::Stalled { core, waited, task, .. } => {
                write!(f, "{core} had not voted after {waited:?}")?;
                match task {
                    Some(task) => write!(f, "; it polls the task spawned at {task}"),
                    None => Ok(()),
                }
            }
            Self::Closed { .. } => f.write_str("the replicated object is closed"),
            Self::Unknown { .. } => {
                f.write_str("the core that had taken the command has ended; it may be committed, or not")
            }
        }
    }
}

impl<S: StateMachine> fmt::Debug for ProposeError<S> {
    /// Without the command and the reason, which need not have a `Debug`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { by, .. } => f.debug_struct("Refused").field("by", by).finish_non_exhaustive(),
            Self::Panicked { by, .. } => f.debug_struct("Panicked").field("by", by).finish_non_exhaustive(),
            Self::Stalled { core, waited, task, .. } => {
                let mut f = f.debug_struct("Stalled");
                f.field("core", core).field("waited", waited).field("task", task).finish_non_exhaustive()
            }
            Self::Closed { .. } => f.debug_struct("Closed").finish_non_exhaustive(),
            Self::Unknown { .. } => f.debug_struct("Unknown").finish_non_exhaustive(),
        }
    }
}

impl<S: StateMachine> std::error::Error for ProposeError<S> {}

/// An object could not be created. No core has it.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::{CoreId, CreateError, Replicated, ready::Cell};
///
/// let broken = Replicated::new(|| {
///     assert!(CoreId::current().index() == 0, "only core 0 can make one");
///     Cell::new(7)
/// });
/// assert_eq!(broken.await.unwrap_err(), CreateError::Panicked { by: CoreId::new(1) });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The factory panicked on one core.
    Panicked {
        /// That core.
        by: CoreId,
    },
    /// The Machine has ended.
    Closed,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { by } => write!(f, "the factory panicked on {by}"),
            Self::Closed => f.write_str("the Machine has ended"),
        }
    }
}

impl std::error::Error for CreateError {}

/// The object is closed, here at least: somebody closed it, a replica was poisoned by a panic, or the Machine has ended.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::{Closed, Replicated, ready::Cell};
///
/// let limit = Replicated::new(|| Cell::new(1)).await?;
/// let other = limit.clone();
/// limit.close().await?;
/// assert_eq!(other.try_read(|limit| *limit.get()), Err(Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the replicated object is closed")
    }
}

impl std::error::Error for Closed {}

/// Why an announcement was not made.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ready::Counter;
/// use multikernel_replicate::{AnnounceError, CoreId, Replicated};
///
/// let jobs = Replicated::new(Counter::new).await?;
/// let add = Counter::add(CoreId::current(), 1);
/// let elsewhere = std::thread::spawn(move || jobs.announce(add)).join().unwrap();
/// assert_eq!(elsewhere, Err(AnnounceError::NotHere(add)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceError<C> {
    /// Too many proposals of this core are under way.
    Full(C),
    /// The calling thread is no core of the object's Machine.
    NotHere(C),
}

impl<C> AnnounceError<C> {
    /// The command.
    ///
    /// ```
    /// use multikernel_replicate::AnnounceError;
    ///
    /// assert_eq!(AnnounceError::Full("once more").into_command(), "once more");
    /// ```
    pub fn into_command(self) -> C {
        match self {
            Self::Full(command) | Self::NotHere(command) => command,
        }
    }
}

impl<C> fmt::Display for AnnounceError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "too many proposals of this core are under way",
            Self::NotHere(_) => "this thread is no core of the object's Machine",
        })
    }
}

impl<C: fmt::Debug> std::error::Error for AnnounceError<C> {}
