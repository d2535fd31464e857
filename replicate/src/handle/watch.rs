//! Waiting for a version, and for changes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::{Closed, NO_CORE, Replicated};
use crate::host;
use crate::{StateMachine, Version};

impl<S: StateMachine> Replicated<S> {
    /// Waits until this core has that version. For facts that came by other ways than our channels: with the version of a
    /// [`Committed`](crate::Committed) beside the fact, what is read here afterwards is at least as new.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use std::sync::mpsc;
    ///
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let (tell, told) = mpsc::channel(); // a way that knows nothing of versions
    /// let there = jobs.clone();
    /// let teller = multikernel::spawn_on(CoreId::new(1), move || async move {
    ///     let committed = there.propose(Counter::add(CoreId::current(), 1)).await?;
    ///     tell.send(committed.version).unwrap();
    ///     Ok::<(), multikernel_replicate::ProposeError<Counter>>(())
    /// });
    /// teller.await??;
    /// jobs.at_least(told.recv()?).await;
    /// assert_eq!(jobs.read(Counter::value), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn at_least(&self, version: Version) {
        poll_fn(|cx| host::with(|host| host.expect(NO_CORE).poll_version(version, cx))).await;
    }

    /// Waits until what is read here is at least as new as all that any core had read when this was called. Without a message:
    /// nothing is committed anywhere that this core has not voted on, so it waits for the one round at most that is open here.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// jobs.propose(Counter::add(CoreId::current(), 1)).await?;
    /// let there = jobs.clone();
    /// let seen = multikernel::spawn_on(CoreId::new(1), move || async move {
    ///     there.read_settled(Counter::value).await
    /// });
    /// assert_eq!(seen.await?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn read_settled<R>(&self, f: impl FnOnce(&S) -> R) -> R {
        let settled = host::with(|host| host.expect(NO_CORE).settled_at());
        self.at_least(settled).await;
        self.read(f)
    }

    /// Waits for the next change of the object after this call: the round in which it was.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let changed = jobs.changed(); // begins to watch now
    /// let committed = jobs.propose(Counter::add(CoreId::current(), 1)).await?;
    /// assert_eq!(changed.await?, committed.version);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// If the object is closed.
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    pub fn changed(&self) -> impl Future<Output = Result<Version, Closed>> + Send + use<S> {
        let mut changes = self.changes();
        async move { poll_fn(|cx| changes.poll_changed(cx)).await.ok_or(Closed) }
    }

    /// The changes of the object after this call, as a stream of versions. Several changes that come before the stream is polled
    /// are one item, the latest. It ends when the object is closed.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use futures::StreamExt;
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{CoreId, Replicated};
    ///
    /// let jobs = Replicated::new(Counter::new).await?;
    /// let mut changes = jobs.changes();
    /// for _ in 0..3 {
    ///     jobs.propose(Counter::add(CoreId::current(), 1)).await?;
    /// }
    /// let latest = changes.next().await;
    /// assert_eq!(latest, Some(jobs.version()));
    /// jobs.close().await?;
    /// assert_eq!(changes.next().await, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// On a thread that is no core.
    pub fn changes(&self) -> Changes<S> {
        let seen = host::with(|host| host.expect(NO_CORE).changed(self.shared.id));
        Changes { object: self.clone(), seen: seen.unwrap_or_default() }
    }
}

/// The changes of a [`Replicated`] object. From [`Replicated::changes`].
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use futures::StreamExt;
/// use multikernel_replicate::ready::Counter;
/// use multikernel_replicate::{Changes, CoreId, Replicated};
///
/// let jobs = Replicated::new(Counter::new).await?;
/// let mut changes: Changes<Counter> = jobs.changes();
/// let watcher = multikernel::spawn(async move { changes.next().await });
/// jobs.propose(Counter::add(CoreId::current(), 1)).await?;
/// assert!(watcher.await?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless polled"]
pub struct Changes<S: StateMachine> {
    object: Replicated<S>,
    seen: Version,
}

impl<S: StateMachine> Changes<S> {
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Version>> {
        let object = self.object.shared.id;
        let change = host::with(|host| host.expect(NO_CORE).poll_change(object, self.seen, cx));
        if let Poll::Ready(Some(version)) = change {
            self.seen = version;
        }
        change
    }
}

impl<S: StateMachine> Unpin for Changes<S> {}

impl<S: StateMachine> Stream for Changes<S> {
    type Item = Version;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Version>> {
        self.get_mut().poll_changed(cx)
    }
}
