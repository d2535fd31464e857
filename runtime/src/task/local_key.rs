//! Values that belong to a task.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Declares values that a future, and what it calls, can reach without their being passed along.
///
/// Each is a [`LocalKey`], and has a value only inside [`scope`](crate::task::LocalKey::scope) or
/// [`sync_scope`](crate::task::LocalKey::sync_scope). A task that is spawned inside does not inherit it.
///
/// # Examples
/// ```
/// multikernel::task_local! {
///     /// Which request is being served.
///     static REQUEST: u64;
///     static USER: String;
/// }
///
/// async fn log() -> String {
///     format!("request {} of {}", REQUEST.get(), USER.with(|user| user.len()))
/// }
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let line = REQUEST.scope(7, USER.scope("eve".to_owned(), log())).await;
/// assert_eq!(line, "request 7 of 3");
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty; $($rest:tt)*) => {
        $crate::task_local!($(#[$attr])* $vis static $name: $type);
        $crate::task_local!($($rest)*);
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty) => {
        $(#[$attr])*
        $vis static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static SLOT: ::std::cell::RefCell<::std::option::Option<$type>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            $crate::task::LocalKey::over(&SLOT)
        };
    };
}

/// A value that belongs to a task, or to part of one. Declared with [`task_local!`](crate::task_local).
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// multikernel::task_local! {
///     static DEPTH: u32;
/// }
///
/// let outer = DEPTH.scope(1, async {
///     let inner = DEPTH.scope(2, async { DEPTH.get() }).await;
///     (DEPTH.get(), inner)
/// });
/// assert_eq!(outer.await, (1, 2));
/// # }).unwrap();
/// ```
pub struct LocalKey<T: 'static> {
    /// The value, while the future that it belongs to is being polled on this thread.
    slot: &'static std::thread::LocalKey<RefCell<Option<T>>>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn over(slot: &'static std::thread::LocalKey<RefCell<Option<T>>>) -> Self {
        Self { slot }
    }

    /// Runs `future` with `value`, which goes when that completes or is dropped.
    ///
    /// # Panics
    /// When polled inside [`with`](Self::with) of the same key, or while its thread ends.
    ///
    /// # Cancel safety
    /// Dropping it drops `future`, which still has the value then.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::task_local! {
    ///     static NAME: &'static str;
    /// }
    /// assert_eq!(NAME.scope("worker", async { NAME.get().len() }).await, 6);
    /// # }).unwrap();
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { key: self, value: Some(value), future: Some(future) }
    }

    /// Runs `f` with `value`.
    ///
    /// # Panics
    /// If `f` does, and as [`scope`](Self::scope).
    ///
    /// # Examples
    /// ```
    /// multikernel::task_local! {
    ///     static NAME: &'static str;
    /// }
    /// assert_eq!(NAME.sync_scope("a thread", || NAME.get().len()), 8);
    /// ```
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        self.enter(&mut Some(value), f)
    }

    #[track_caller]
    fn enter<R>(&'static self, value: &mut Option<T>, f: impl FnOnce() -> R) -> R {
        self.try_enter(value, f).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Runs `f` with the value in place, and puts back what was there before, also when `f` panics.
    fn try_enter<R>(&'static self, value: &mut Option<T>, f: impl FnOnce() -> R) -> Result<R, &'static str> {
        struct Restore<'a, T: 'static>(&'static LocalKey<T>, &'a mut Option<T>);
        impl<T: 'static> Drop for Restore<'_, T> {
            fn drop(&mut self) {
                // Entered on this thread, and nobody is inside `with` any more. If the thread is ending, both go.
                let _ = self.0.swap(self.1);
            }
        }
        self.swap(value)?;
        let _restore = Restore(self, value);
        Ok(f())
    }

    fn swap(&'static self, value: &mut Option<T>) -> Result<(), &'static str> {
        let swapped = self.slot.try_with(|slot| {
            let mut slot =
                slot.try_borrow_mut().map_err(|_| "a task-local value is being read: it cannot change")?;
            mem::swap(&mut *slot, value);
            Ok(())
        });
        swapped.unwrap_or(Err("the thread is ending: it has no task-local values any more"))
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    /// Outside the key's scopes; [`try_with`](Self::try_with) does not.
    ///
    /// # Examples
    /// ```
    /// multikernel::task_local! {
    ///     static NAME: String;
    /// }
    /// let length = NAME.sync_scope("worker".to_owned(), || NAME.with(|name| name.len()));
    /// assert_eq!(length, 6);
    /// ```
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// # Errors
    /// Outside the key's scopes.
    ///
    /// # Examples
    /// ```
    /// multikernel::task_local! {
    ///     static NAME: String;
    /// }
    /// assert!(NAME.try_with(|name| name.len()).is_err());
    /// ```
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let result = self.slot.try_with(|slot| slot.borrow().as_ref().map(f));
        result.ok().flatten().ok_or(AccessError(()))
    }

    /// A clone of the value.
    ///
    /// # Panics
    /// Outside the key's scopes; [`try_get`](Self::try_get) does not.
    ///
    /// # Examples
    /// ```
    /// multikernel::task_local! {
    ///     static NUMBER: u32;
    /// }
    /// assert_eq!(NUMBER.sync_scope(7, || NUMBER.get()), 7);
    /// ```
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A clone of the value, if there is one.
    ///
    /// # Errors
    /// Outside the key's scopes.
    ///
    /// # Examples
    /// ```
    /// multikernel::task_local! {
    ///     static NUMBER: u32;
    /// }
    /// assert!(NUMBER.try_get().is_err());
    /// ```
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

pin_project! {
    /// A future with a task-local value. From [`LocalKey::scope`].
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::task::TaskLocalFuture;
    /// use std::future::{Ready, ready};
    ///
    /// multikernel::task_local! {
    ///     static NAME: &'static str;
    /// }
    /// let future: TaskLocalFuture<&str, Ready<u8>> = NAME.scope("worker", ready(7));
    /// assert_eq!(future.await, 7);
    /// # }).unwrap();
    /// ```
    #[must_use = "futures do nothing unless awaited"]
    pub struct TaskLocalFuture<T, F>
    where
        T: 'static,
    {
        key: &'static LocalKey<T>,
        // Here between two polls, in the key's slot during one.
        value: Option<T>,
        // `None` once it has completed.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                // Where there can be no scope any more, it goes with the other fields, and without the value.
                let _ = this.key.try_enter(this.value, || this.future.set(None));
            }
        }
    }
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    /// Takes the value out, and what is left does without. `None` during a poll, when it has been taken before.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::pin::pin;
    ///
    /// multikernel::task_local! {
    ///     static LOG: String;
    /// }
    /// let mut request = pin!(LOG.scope("took 3 ms".to_owned(), async { 200 }));
    /// let status = request.as_mut().await;
    /// assert_eq!((status, request.take_value().as_deref()), (200, Some("took 3 ms")));
    /// # }).unwrap();
    /// ```
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut future = this.future.as_mut();
        this.key.enter(this.value, || {
            let polled = future.as_mut().as_pin_mut().expect("polled again after it was ready").poll(cx);
            if polled.is_ready() {
                future.set(None); // while it still has the value
            }
            polled
        })
    }
}

impl<T: 'static + fmt::Debug, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let completed = self.future.is_none();
        f.debug_struct("TaskLocalFuture").field("value", &self.value).field("completed", &completed).finish()
    }
}

/// A task-local value was asked for outside its scopes.
///
/// # Examples
/// ```
/// use multikernel::task::AccessError;
///
/// multikernel::task_local! {
///     static NAME: String;
/// }
/// let error: AccessError = NAME.try_get().unwrap_err();
/// println!("{error}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such task-local value here: it is set only inside `scope`")
    }
}

impl Error for AccessError {}
