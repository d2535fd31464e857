//! State of which each core has its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::LocalKey;

use crate::executor;

#[doc(hidden)]
pub type CoreLocalSlot<T> = RefCell<Option<Rc<T>>>;

/// State of which each core has its own; declared with [`core_local!`](crate::core_local).
///
/// # Examples
/// ```
/// use std::cell::RefCell;
/// use std::collections::HashMap;
///
/// multikernel::core_local! {
///     /// Pages that this core has read. No lock: no other core sees it.
///     static PAGES: RefCell<HashMap<String, String>> = RefCell::default();
/// }
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// PAGES.with(|pages| pages.borrow_mut().insert("/".into(), "hello".into()));
/// assert_eq!(PAGES.with(|pages| pages.borrow()["/"].clone()), "hello");
/// # }).unwrap();
/// ```
pub struct CoreLocal<T: 'static> {
    slot: &'static LocalKey<CoreLocalSlot<T>>,
    init: fn() -> T,
    clear: fn(),
}

impl<T: 'static> CoreLocal<T> {
    #[doc(hidden)]
    pub const fn new(slot: &'static LocalKey<CoreLocalSlot<T>>, init: fn() -> T, clear: fn()) -> Self {
        Self { slot, init, clear }
    }

    /// Calls `f` with this core's value, which is made by the first call on the core.
    ///
    /// # Panics
    /// On a thread that is not a core.
    ///
    /// # Examples
    /// ```
    /// # use std::cell::Cell;
    /// multikernel::core_local! {
    ///     static SERVED: Cell<u64> = Cell::new(0);
    /// }
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// SERVED.with(|served| served.set(served.get() + 1));
    /// assert_eq!(SERVED.with(Cell::get), 1);
    /// # }).unwrap();
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        self.try_with(f).expect("core-local state must be used on a core of a multikernel runtime")
    }

    /// As [`with`](Self::with), but gives `None` on a thread that is not a core, without calling `f`.
    ///
    /// # Examples
    /// ```
    /// # use std::cell::Cell;
    /// multikernel::core_local! {
    ///     static SERVED: Cell<u64> = Cell::new(0);
    /// }
    /// assert_eq!(SERVED.try_with(Cell::get), None); // `main` is no core here
    /// ```
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let value = executor::with(|core| {
            let core = core?;
            if let Some(value) = self.slot.with_borrow(Option::clone) {
                return Some(value);
            }
            // Not borrowed here: the initial value may be made with the help of other core-local state.
            let value = Rc::new((self.init)());
            self.slot.with_borrow_mut(|slot| *slot = Some(value.clone()));
            core.at_end(self.clear);
            Some(value)
        })?;
        Some(f(&value))
    }
}

impl<T: 'static> std::fmt::Debug for CoreLocal<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoreLocal")
    }
}

/// Declares state of which each core has its own.
///
/// The value is made at its first use on a core, and dropped when the core ends, while sockets and timers still work.
/// It need not be `Send` or `Sync`. Unlike a thread-local it begins anew with each runtime, also where the calling
/// thread is a core for a while, as in [`Builder::run`](crate::runtime::Builder::run).
///
/// # Examples
/// ```
/// use std::cell::Cell;
///
/// multikernel::core_local! {
///     /// Requests this core has served.
///     static SERVED: Cell<u64> = Cell::new(0);
/// }
///
/// # multikernel::runtime::Builder::new().cores(2).run(|| async {
/// for task in multikernel::on_each_core(|| async { SERVED.with(|served| served.replace(1)) }) {
///     assert_eq!(task.await.unwrap(), 0);
/// }
/// assert_eq!(SERVED.with(Cell::get), 1);
/// # }).unwrap();
/// ```
#[macro_export]
macro_rules! core_local {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $init:expr;)+) => {$(
        $(#[$meta])*
        $vis static $name: $crate::CoreLocal<$type> = {
            ::std::thread_local! {
                static SLOT: $crate::machine_support::CoreLocalSlot<$type> =
                    const { $crate::machine_support::CoreLocalSlot::new(::std::option::Option::None) };
            }
            fn clear() {
                // Taken out first: the drop may look at this state, and finds none.
                let value = SLOT.with_borrow_mut(::std::option::Option::take);
                ::std::mem::drop(value);
            }
            $crate::CoreLocal::new(&SLOT, || $init, clear)
        };
    )+};
}
