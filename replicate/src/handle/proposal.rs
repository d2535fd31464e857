//! A command on its way.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A command that is proposed. All cores read it in one place; cloning this copies a pointer.
///
/// ```
/// use multikernel_replicate::Proposal;
///
/// let once = Proposal::from("a route".to_owned());
/// let again = once.clone();
/// assert!(std::ptr::eq(&*once, &*again));
/// ```
pub struct Proposal<C>(Kept<C>);

enum Kept<C> {
    Alone(Arc<C>),
    /// Those that are proposed together are one allocation.
    Among(Arc<Box<[C]>>, usize),
}

impl<C> Proposal<C> {
    pub(crate) fn kept<T>(
        self,
        alone: impl FnOnce(Arc<C>) -> T,
        among: impl FnOnce(Arc<Box<[C]>>, usize) -> T,
    ) -> T {
        match self.0 {
            Kept::Alone(command) => alone(command),
            Kept::Among(commands, at) => among(commands, at),
        }
    }
}

impl<C> Clone for Proposal<C> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Kept::Alone(command) => Kept::Alone(command.clone()),
            Kept::Among(commands, at) => Kept::Among(commands.clone(), *at),
        })
    }
}

impl<C> Deref for Proposal<C> {
    type Target = C;

    fn deref(&self) -> &C {
        match &self.0 {
            Kept::Alone(command) => command,
            Kept::Among(commands, at) => &commands[*at],
        }
    }
}

impl<C> From<C> for Proposal<C> {
    fn from(command: C) -> Self {
        Self(Kept::Alone(Arc::new(command)))
    }
}

impl<C> From<Arc<C>> for Proposal<C> {
    fn from(command: Arc<C>) -> Self {
        Self(Kept::Alone(command))
    }
}

impl<C: fmt::Debug> fmt::Debug for Proposal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Commands that are proposed together.
pub(crate) struct Proposals<C>(Arc<Box<[C]>>);

impl<C> Proposals<C> {
    pub(crate) fn new(commands: impl IntoIterator<Item = C>) -> Self {
        Self(Arc::new(commands.into_iter().collect()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, at: usize) -> Proposal<C> {
        Proposal(Kept::Among(self.0.clone(), at))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Proposal<C>> {
        (0..self.len()).map(|at| self.get(at))
    }
}
