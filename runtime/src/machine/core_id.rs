//! A core's name within its Machine.

use std::fmt;

use crate::executor;
use crate::machine::runtime::Handle;

/// A core of a Machine: its number, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(u32);

impl CoreId {
    /// The core with this number. Whether there is one is found out where the id is used.
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The core's number, from 0 to the number of cores less one.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The core that this is called on.
    ///
    /// # Panics
    /// On a thread that is not a core; [`try_current`](Self::try_current) does not.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use multikernel::CoreId;
    ///
    /// assert_eq!(CoreId::current(), CoreId::new(0));
    /// assert!(std::thread::spawn(CoreId::try_current).join().unwrap().is_none());
    /// # }).unwrap();
    /// ```
    pub fn current() -> Self {
        Self::try_current().expect("CoreId::current must be called on a core of a multikernel runtime")
    }

    /// The core that this is called on, or `None` elsewhere.
    pub fn try_current() -> Option<Self> {
        executor::with(|core| core.map(|core| Self(core.home.mailbox().index)))
    }
}

impl fmt::Display for CoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "core {}", self.0)
    }
}

/// The cores of the current Machine.
///
/// # Panics
/// On a thread that is neither a core nor a guest.
///
/// # Examples
/// ```
/// # multikernel::runtime::Builder::new().cores(4).run(|| async {
/// assert_eq!(multikernel::cores().len(), 4);
/// # }).unwrap();
/// ```
pub fn cores() -> impl ExactSizeIterator<Item = CoreId> {
    Handle::current().cores()
}
