//! What code may read, within reads too, and change when nobody reads: a `RefCell` whose reads count nothing.
//!
//! Most that a core does with the agreement is to read a replica, which should cost about what it costs to read a variable.
//! The reads of a `RefCell` are a chain: each takes the count that the one before has left in memory, and leaves the next.
//! A read of this looks at a byte, which no result waits for, and writes constants.

use std::cell::{Cell, UnsafeCell};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Use {
    Nobodys,
    Read,
    Changed,
}

/// A value of one thread.
pub(super) struct Held<T> {
    used: Cell<Use>,
    value: UnsafeCell<T>,
}

/// The end of a use, by return or panic.
struct Free<'a>(&'a Cell<Use>);

impl Drop for Free<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(Use::Nobodys);
    }
}

impl<T> Held<T> {
    pub(super) fn new(value: T) -> Self {
        Self { used: Cell::new(Use::Nobodys), value: UnsafeCell::new(value) }
    }

    /// Whether it may be changed now.
    pub(super) fn is_free(&self) -> bool {
        self.used.get() == Use::Nobodys
    }

    /// Reads it. Nothing, within a change.
    #[inline]
    pub(super) fn read<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        if !self.is_free() {
            return self.read_within(f);
        }
        self.used.set(Use::Read);
        let _free = Free(&self.used);
        // SAFETY: `change` makes no reference until `_free` is dropped, which is after `f`, and `f` cannot keep the reference:
        // it must take one of any lifetime. Reads within this one leave the mark alone, and no other can begin, nor one of
        // those outlast this, since calls of a thread end in the reverse of their order, by return or panic. The type is not
        // `Sync`, so no other thread is here.
        Some(f(unsafe { &*self.value.get() }))
    }

    /// Within a read, which goes on after this one, or within a change.
    #[cold]
    #[inline(never)]
    fn read_within<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        // SAFETY: the mark is that of a `read` of this thread that is still under way below on the stack, so ends after `f`;
        // until then, as there, nobody changes the value.
        (self.used.get() == Use::Read).then(|| f(unsafe { &*self.value.get() }))
    }

    /// Changes it.
    ///
    /// # Panics
    ///
    /// Within a read or a change.
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        assert!(self.is_free(), "the agreement is in use by what calls this");
        self.used.set(Use::Changed);
        let _free = Free(&self.used);
        // SAFETY: nobody has a reference, for nobody reads or changes it, and until `_free` is dropped, which is after `f`,
        // nobody gets one. `f` cannot keep this one.
        f(unsafe { &mut *self.value.get() })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn reads_nest_and_changes_do_not() {
        let held = Held::new(7);
        assert_eq!(held.read(|outer| held.read(|inner| outer + inner)), Some(Some(14)));
        assert!(held.is_free());
        held.read(|_| {
            held.read(|_| ());
            assert!(!held.is_free(), "the end of the inner read is not that of the outer one");
            assert!(catch_unwind(AssertUnwindSafe(|| held.change(|_| ()))).is_err());
        });
        held.change(|value| {
            *value += 1;
            assert_eq!(held.read(|value| *value), None);
            assert!(catch_unwind(AssertUnwindSafe(|| held.change(|_| ()))).is_err());
            assert!(!held.is_free());
        });
        assert_eq!(held.read(|value| *value), Some(8));
    }

    #[test]
    fn a_panic_ends_a_use() {
        let held = Held::new(7);
        assert!(catch_unwind(AssertUnwindSafe(|| held.read(|_| panic!("planted")))).is_err());
        assert!(held.is_free());
        assert!(catch_unwind(AssertUnwindSafe(|| held.change(|_| panic!("planted")))).is_err());
        assert_eq!(held.read(|value| *value), Some(7));
    }
}
