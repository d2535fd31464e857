//! One value on every core.

use std::ops::Deref;
use std::sync::Arc;

use super::{Committed, CreateError, ProposeError, Replicated};
use crate::ready::Cell;

/// Why a [`ReplicatedCell`] was not changed.
pub type CellError<T> = ProposeError<Cell<T>>;

/// One value that every core reads as its own. Cores share the value itself and have each a pointer to it, so a large one costs its
/// size once.
///
/// It is a [`Replicated`] of a [`Cell`], and has that one's methods too.
///
/// ```
/// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
/// use multikernel_replicate::ReplicatedCell;
///
/// let limit = ReplicatedCell::new(100).await?;
/// let seen = limit.cell_version();
/// limit.update(|limit| limit * 2).await.unwrap();
/// assert_eq!(*limit.get(), 200);
/// assert!(limit.compare_and_set(seen, 7).await.is_err(), "somebody has changed it since");
/// # Ok::<(), multikernel_replicate::CreateError>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct ReplicatedCell<T: Send + Sync + 'static>(Replicated<Cell<T>>);

impl<T: Send + Sync + 'static> ReplicatedCell<T> {
    /// Puts a value on every core.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ReplicatedCell;
    ///
    /// let banner = ReplicatedCell::new("hello".to_owned()).await?;
    /// assert_eq!(*banner.get(), "hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::new`], as for panics and dropping the future.
    pub async fn new(value: T) -> Result<Self, CreateError> {
        let value = Arc::new(value);
        Replicated::new(move || Cell::shared(Arc::clone(&value))).await.map(Self)
    }

    /// The value, as this core has it now.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCell;
    /// let names = ReplicatedCell::new(vec!["ada"]).await?;
    /// let before = names.get(); // kept, whatever comes
    /// names.set(vec!["bob", "cyd"]).await?;
    /// assert_eq!((before.len(), names.get().len()), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.read(Cell::get_shared)
    }

    /// How often the value has been changed. For [`compare_and_set`](Self::compare_and_set); the version of the Machine's order is
    /// another.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCell;
    /// let limit = ReplicatedCell::new(1).await?;
    /// limit.set(2).await?;
    /// assert_eq!(limit.cell_version(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Replicated::read`].
    #[must_use]
    pub fn cell_version(&self) -> u64 {
        self.read(Cell::version)
    }

    /// Replaces the value on every core.
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCell;
    /// let limit = ReplicatedCell::new(1).await?;
    /// let committed = limit.set(2).await?;
    /// assert_eq!((*limit.get(), limit.version()), (2, committed.version));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future. Nobody refuses.
    pub async fn set(&self, value: T) -> Result<Committed, CellError<T>> {
        self.propose(Cell::set(value)).await
    }

    /// Replaces the value if it has not been changed since it had that [`cell_version`](Self::cell_version).
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// use multikernel_replicate::ready::CellRefusal;
    /// # use multikernel_replicate::ReplicatedCell;
    ///
    /// let limit = ReplicatedCell::new(1).await?;
    /// let seen = limit.cell_version();
    /// limit.set(5).await?; // somebody else
    /// let error = limit.compare_and_set(seen, 2).await.unwrap_err();
    /// assert_eq!(error.refusal(), Some(&CellRefusal::Moved { version: 1 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future. The refusal says which version it has.
    pub async fn compare_and_set(&self, expected: u64, value: T) -> Result<Committed, CellError<T>> {
        self.propose(Cell::compare_and_set(expected, value)).await
    }

    /// Replaces the value by what `f` makes of it. It must depend on nothing else.
    ///
    /// `f` runs in the commit: on the first core that commits, which is the home as a rule, and on others that commit at the same
    /// time, on the same value. One result is kept, and all cores take that. While `f` runs its core does nothing else, and it
    /// must not read a replicated object. The closure has no say, for a commit cannot fail: to refuse, read the value and
    /// [`compare_and_set`](Self::compare_and_set).
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().cores(2).run(|| async {
    /// # use multikernel_replicate::ReplicatedCell;
    /// let words = ReplicatedCell::new(vec![1, 2]).await?;
    /// words.update(|old| old.iter().map(|n| n * 10).collect()).await?;
    /// assert_eq!(*words.get(), [10, 20]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Replicated::propose`], as for dropping the future.
    ///
    /// # Panics
    ///
    /// It does not, but a panic of `f` on one core closes the cell on every core, as any panic in a commit. The update itself may be
    /// answered with `Ok`, and what comes after it finds the cell closed.
    pub async fn update(
        &self,
        f: impl Fn(&T) -> T + Send + Sync + 'static,
    ) -> Result<Committed, CellError<T>> {
        self.propose(Cell::update(f)).await
    }
}

impl<T: Send + Sync + 'static> Clone for ReplicatedCell<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Deref for ReplicatedCell<T> {
    type Target = Replicated<Cell<T>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
