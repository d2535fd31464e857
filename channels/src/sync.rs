//! The one door to atomics, fences, cells, `Arc`, threads and the allocator for the whole project.
//!
//! Normally these are the ones of `std`. Under `--cfg loom` they are loom's, so that the model checker runs the code
//! that ships and no other file has to choose. Write code for the smaller of the two: atomics here have no `const`
//! constructor and no `get_mut`, and cells are reached through `with` and `with_mut`.

pub use crate::per_thread;
pub use imp::*;

/// Declares a [`Cell`] of which every thread has its own: `per_thread! { static NAME: Type = initial }`, reached by
/// `NAME.with(|cell| ..)`. The initial value is a constant, so reading needs no check whether it is there.
#[cfg(not(loom))]
#[doc(hidden)]
#[macro_export]
macro_rules! per_thread {
    ($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty = $initial:expr) => {
        ::std::thread_local! {
            $(#[$attr])* $vis static $name: $crate::sync::Cell<$type> = const { $crate::sync::Cell::new($initial) };
        }
    };
}

/// As without loom; loom knows no constant initial values.
#[cfg(loom)]
#[doc(hidden)]
#[macro_export]
macro_rules! per_thread {
    ($(#[$attr:meta])* $vis:vis static $name:ident: $type:ty = $initial:expr) => {
        $crate::sync::loom_thread_local! {
            $(#[$attr])* $vis static $name: $crate::sync::Cell<$type> = $crate::sync::Cell::new($initial);
        }
    };
}

#[cfg(not(loom))]
mod imp {
    pub use std::alloc::{alloc, dealloc};
    pub use std::cell::Cell;
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{
        AtomicBool, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64,
        AtomicUsize, Ordering, fence,
    };
    pub use std::sync::{Arc, Arc as SharedArc};
    pub use std::thread;

    /// `std::cell::UnsafeCell` with loom's way in, by closure, which is how loom sees when an access begins and ends.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        #[inline(always)]
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Unwraps the value.
        #[inline(always)]
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// Calls `f` with a pointer to read through. Nobody may write meanwhile.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer to write through. Nobody else may read or write meanwhile.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod imp {
    pub use loom::alloc::{alloc, dealloc};
    pub use loom::cell::{Cell, UnsafeCell};
    pub use loom::hint::spin_loop;
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{
        AtomicBool, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr, AtomicU8, AtomicU32, AtomicU64,
        AtomicUsize, Ordering, fence,
    };
    pub use loom::thread;
    pub use loom::thread_local as loom_thread_local;
    /// An `Arc` that may hold what has no size, which loom's may not. Loom does not look into it.
    pub use std::sync::Arc as SharedArc;
}
