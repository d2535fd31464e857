//! What can go wrong, and what comes back.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::handle::Proposal;
use crate::{CoreId, StateMachine, Version};

/// A proposal is committed: every live core has it, or is asleep and has it before it runs anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The round in which it was.
    pub version: Version,
}

/// Why a proposal came to nothing, with the command. It was committed nowhere, unless it is [`Closed`](Self::Closed).
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
        /// A core that was waited for.
        core: CoreId,
        /// For how long this proposal has waited.
        waited: Duration,
        /// Where the task was spawned that kept that core busy, if it was known.
        task: Option<&'static Location<'static>>,
        /// The command.
        command: Proposal<S::Command>,
    },
    /// The object is closed, or its Machine has ended. In the second case the command may have been committed just before.
    Closed {
        /// The command.
        command: Proposal<S::Command>,
    },
}

impl<S: StateMachine> ProposeError<S> {
    /// The command that was not committed.
    #[must_use]
    pub fn into_command(self) -> Proposal<S::Command> {
        match self {
            Self::Refused { command, .. }
            | Self::Panicked { command, .. }
            | Self::Stalled { command, .. }
            | Self::Closed { command } => command,
        }
    }

    /// The reason of the state machine, if it refused.
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
        }
    }
}

impl<S: StateMachine> std::error::Error for ProposeError<S> {}

/// An object could not be created. No core has it.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the replicated object is closed")
    }
}

impl std::error::Error for Closed {}

/// Why an announcement was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceError<C> {
    /// Too many proposals of this core are under way.
    Full(C),
    /// The calling thread is no core of the object's Machine.
    NotHere(C),
}

impl<C> AnnounceError<C> {
    /// The command.
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
