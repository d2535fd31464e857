//! A core's name within its Machine.

use std::fmt;

use crate::executor;
use crate::machine::runtime::Handle;

/// A core of a Machine: its number, from 0.
///
/// # Examples
/// ```
/// use multikernel::CoreId;
///
/// let core = CoreId::new(1);
/// assert_eq!(core.to_string(), "core 1");
/// assert!(CoreId::new(0) < core);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreId(u32);

impl CoreId {
    /// The core with this number. Whether there is one is found out where the id is used.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// use multikernel::CoreId;
    ///
    /// let last = CoreId::new(multikernel::cores().len() - 1);
    /// assert_eq!(multikernel::spawn_on(last, || async { CoreId::current() }).await.unwrap(), last);
    /// # }).unwrap();
    /// ```
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The core's number, from 0 to the number of cores less one.
    ///
    /// # Examples
    /// ```
    /// # multikernel::runtime::Builder::new().cores(2).run(|| async {
    /// let served = [17, 4]; // by each core
    /// for core in multikernel::cores() {
    ///     println!("{core} has served {}", served[core.index()]);
    /// }
    /// # }).unwrap();
    /// ```
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
    ///
    /// # Examples
    /// A log line from code that may run anywhere:
    /// ```
    /// # use multikernel::CoreId;
    /// fn log(line: &str) {
    ///     match CoreId::try_current() {
    ///         Some(core) => println!("[{core}] {line}"),
    ///         None => println!("[elsewhere] {line}"),
    ///     }
    /// }
    /// log("starting");
    /// # assert!(CoreId::try_current().is_none());
    /// ```
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
