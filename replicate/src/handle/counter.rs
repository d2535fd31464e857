//! A counter with a bound that no core exceeds.

use std::ops::Deref;

use super::{Committed, CreateError, NO_CORE, ProposeError, Replicated};
use crate::host::{self, Host};
use crate::ready::Counter;

/// Why a [`ReplicatedCounter`] was not changed.
pub type CounterError = ProposeError<Counter>;

/// A sum that never exceeds its bound, however many cores add to it at once: for admission limits.
///
/// Each core holds a part of the sum. What a core holds is released when it dies or retires. It is a [`Replicated`] of a [`Counter`],
/// and has that one's methods too.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ReplicatedCounter;
///
/// let connections = ReplicatedCounter::with_bound(2).await?;
/// connections.add(2).await.unwrap();
/// assert!(connections.add(1).await.is_err(), "it would be one too many");
/// connections.add(-1).await.unwrap();
/// assert_eq!((connections.value(), connections.held_here()), (1, 1));
/// # Ok::<(), multikernel_replicate::CreateError>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ReplicatedCounter(Replicated<Counter>);

impl ReplicatedCounter {
    /// A counter at zero, without a bound.
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`], as for panics and dropping the future.
    pub async fn new() -> Result<Self, CreateError> {
        Replicated::new(Counter::new).await.map(Self)
    }

    /// A counter at zero that never exceeds the bound.
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`].
    pub async fn with_bound(bound: i64) -> Result<Self, CreateError> {
        Replicated::new(move || Counter::with_bound(bound)).await.map(Self)
    }

    /// The sum of what all cores hold.
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn value(&self) -> i64 {
        self.read(Counter::value)
    }

    /// What this core holds.
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn held_here(&self) -> i64 {
        host::with(|host| self.read(|counter| counter.held_by(host.expect(NO_CORE).core())))
    }

    /// Lets this core hold so much more, or less.
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`]. Refused if the sum would exceed the bound, or this core would hold less than nothing.
    ///
    /// # Panics
    ///
    /// On a thread that is no core, which can hold nothing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before its first poll changes nothing. Later it abandons the answer: the amount may be held.
    pub async fn add(&self, amount: i64) -> Result<Committed, CounterError> {
        let here = host::with(|host| host.map(Host::core)).expect(NO_CORE);
        self.propose(Counter::add(here, amount)).await
    }
}

impl Deref for ReplicatedCounter {
    type Target = Replicated<Counter>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
