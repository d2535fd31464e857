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
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ReplicatedCounter;
    ///
    /// let jobs = ReplicatedCounter::new().await?;
    /// jobs.add(1_000).await?;
    /// assert_eq!(jobs.value(), 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`], as for panics and dropping the future.
    pub async fn new() -> Result<Self, CreateError> {
        Replicated::new(Counter::new).await.map(Self)
    }

    /// A counter at zero that never exceeds the bound.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ReplicatedCounter;
    /// use multikernel_replicate::ready::CounterRefusal;
    ///
    /// let clients = ReplicatedCounter::with_bound(1).await?;
    /// clients.add(1).await?;
    /// let error = clients.add(1).await.unwrap_err();
    /// assert_eq!(error.refusal(), Some(&CounterRefusal::OverBound { value: 1, bound: 1 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`].
    pub async fn with_bound(bound: i64) -> Result<Self, CreateError> {
        Replicated::new(move || Counter::with_bound(bound)).await.map(Self)
    }

    /// The sum of what all cores hold.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCounter;
    /// let jobs = ReplicatedCounter::new().await?;
    /// let there = jobs.clone();
    /// let other = multikernel::CoreId::new(1);
    /// multikernel::spawn_on(other, move || async move { there.add(2).await }).await??;
    /// jobs.add(1).await?;
    /// assert_eq!(jobs.value(), 3); // of all cores
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
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
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCounter;
    /// let jobs = ReplicatedCounter::new().await?;
    /// let there = jobs.clone();
    /// let other = multikernel::CoreId::new(1);
    /// multikernel::spawn_on(other, move || async move { there.add(2).await }).await??;
    /// jobs.add(1).await?;
    /// assert_eq!(jobs.held_here(), 1); // of this core alone
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
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
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCounter;
    /// let jobs = ReplicatedCounter::new().await?;
    /// jobs.add(2).await?;
    /// jobs.add(-2).await?;
    /// assert!(jobs.add(-1).await.is_err(), "this core holds none");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
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
