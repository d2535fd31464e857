//! Why a task has no output.

use std::any::Any;
use std::fmt;
use std::sync::Mutex;

use crate::task::id::Id;

/// Why a task has no output: it was ended, or it panicked.
///
/// # Examples
/// A task that panics does not take others with it:
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let request = multikernel::spawn(async { panic!("no such page") });
/// let error = request.await.unwrap_err();
/// assert!(error.is_panic());
/// assert_eq!(error.to_string(), format!("task {} panicked: no such page", error.id()));
/// # }).unwrap();
/// ```
pub struct JoinError(Repr);

/// As an enum it leaves room in its tag for the outcomes around it: an output of one word makes a result of two.
enum Repr {
    Cancelled(Id),
    /// Boxed because every task has room for its error.
    Panicked(Box<Panicked>),
}

struct Panicked {
    id: Id,
    /// The mutex makes the error `Sync`, which users of error crates expect; it is never contended.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl JoinError {
    pub(crate) fn cancelled(id: Id) -> Self {
        Self(Repr::Cancelled(id))
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>, id: Id) -> Self {
        Self(Repr::Panicked(Box::new(Panicked { id, payload: Mutex::new(payload) })))
    }

    /// Which task it was.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(std::future::pending::<()>());
    /// let id = task.id();
    /// task.abort();
    /// assert_eq!(task.await.unwrap_err().id(), id);
    /// # }).unwrap();
    /// ```
    pub fn id(&self) -> Id {
        match &self.0 {
            Repr::Cancelled(id) => *id,
            Repr::Panicked(panic) => panic.id,
        }
    }

    /// The task was aborted, or its runtime ended.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(std::future::pending::<()>());
    /// task.abort();
    /// assert!(task.await.unwrap_err().is_cancelled());
    /// # }).unwrap();
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Repr::Cancelled(_))
    }

    /// The task panicked: in a poll, or when its future was dropped.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(async { panic!() });
    /// assert!(task.await.unwrap_err().is_panic());
    /// # }).unwrap();
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Repr::Panicked(_))
    }

    /// The panic's payload, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    /// If the task did not panic.
    ///
    /// # Examples
    /// Panics in turn, as if the task had been called:
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let caller = multikernel::spawn(async {
    /// let task = multikernel::spawn(async { panic!("no such page") });
    /// if let Err(error) = task.await
    ///     && error.is_panic()
    /// {
    ///     std::panic::resume_unwind(error.into_panic());
    /// }
    /// # });
    /// # assert!(caller.await.unwrap_err().to_string().ends_with("panicked: no such page"));
    /// # }).unwrap();
    /// ```
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic().expect("the task was cancelled, it did not panic")
    }

    /// The panic's payload, or the error back.
    ///
    /// # Errors
    /// The error itself, if the task did not panic.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let task = multikernel::spawn(async { panic!("no such page") });
    /// match task.await.unwrap_err().try_into_panic() {
    ///     Ok(payload) => assert_eq!(payload.downcast_ref(), Some(&"no such page")),
    ///     Err(cancelled) => println!("{cancelled}"),
    /// }
    /// # }).unwrap();
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.0 {
            Repr::Panicked(panic) => {
                Ok(panic.payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()))
            }
            Repr::Cancelled(_) => Err(self),
        }
    }

    fn message(&self) -> Option<String> {
        let Repr::Panicked(panic) = &self.0 else { return None };
        let payload = panic.payload.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let text = payload.downcast_ref::<&str>().copied();
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).map(str::to_owned)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            _ if self.is_cancelled() => write!(f, "task {} was cancelled", self.id()),
            Some(message) => write!(f, "task {} panicked: {message}", self.id()),
            None => write!(f, "task {} panicked", self.id()),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            _ if self.is_cancelled() => write!(f, "JoinError::Cancelled({})", self.id()),
            Some(message) => write!(f, "JoinError::Panicked({}, {message:?}, ..)", self.id()),
            None => write!(f, "JoinError::Panicked({}, ..)", self.id()),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for std::io::Error {
    fn from(error: JoinError) -> Self {
        std::io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_a_small_task_is_small() {
        assert_eq!(size_of::<std::task::Poll<Result<(), JoinError>>>(), 16);
        assert_eq!(size_of::<std::task::Poll<Result<u64, JoinError>>>(), 16);
    }
}
