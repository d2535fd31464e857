//! What code may read, within reads too, and change when nobody reads: a `RefCell` whose reads count nothing.
//!
//! Most that a core does with the agreement is to read a replica, which should cost about what it costs to read a variable.
//! A read of this looks at a byte and writes it twice, and the code that reads is there once, so that it is inlined.

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

/// A use, which ends by return or panic: then that one goes on within which it began.
struct Begun<'a> {
    used: &'a Cell<Use>,
    within: Use,
}

impl Drop for Begun<'_> {
    #[inline]
    fn drop(&mut self) {
        self.used.set(self.within);
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
        let within = self.used.get();
        if within == Use::Changed {
            return None;
        }
        self.used.set(Use::Read);
        let _begun = Begun { used: &self.used, within };
        // SAFETY: nobody changes the value now, and `change` makes no reference until `_begun` is dropped, which is after `f`;
        // and `f` cannot keep the reference: it must take one of any lifetime. A read within this one leaves the mark as it
        // was, and cannot outlast this, since calls of a thread end in the reverse of their order, by return or panic. The
        // type is not `Sync`, so no other thread is here.
        Some(f(unsafe { &*self.value.get() }))
    }

    /// Changes it.
    ///
    /// # Panics
    ///
    /// Within a read or a change.
    pub(super) fn change<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        assert!(self.is_free(), "the agreement is in use by what calls this");
        self.used.set(Use::Changed);
        let _begun = Begun { used: &self.used, within: Use::Nobodys };
        // SAFETY: nobody has a reference, for nobody reads or changes it, and until `_begun` is dropped, which is after `f`,
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
