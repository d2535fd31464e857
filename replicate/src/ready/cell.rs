//! One value.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::StateMachine;

/// One value, which all replicas share: whatever its size, it is in memory once.
///
/// A change replaces the value as a whole. The version of a cell counts the changes it has had, and is the same on every core; it
/// is not that of the Machine.
///
/// ```
/// use multikernel_replicate::StateMachine;
/// use multikernel_replicate::ready::{Cell, CellRefusal};
///
/// let mut routes = Cell::new(vec!["a"]);
/// let (first, second) = (Cell::compare_and_set(0, vec!["a", "b"]), Cell::compare_and_set(0, vec!["a", "c"]));
/// assert!(routes.prepare(&first).is_ok());
/// assert_eq!(routes.get(), &["a"], "readers see what is committed");
/// routes.commit(&first);
/// assert_eq!((routes.get().len(), routes.version()), (2, 1));
/// assert_eq!(routes.prepare(&second), Err(CellRefusal::Moved { version: 1 }), "somebody was faster");
/// ```
#[derive(Debug)]
pub struct Cell<T> {
    value: Arc<T>,
    version: u64,
    /// How many commands are prepared and not decided.
    undecided: u64,
    /// How many of them compare.
    comparing: u64,
}

/// A change of a [`Cell`].
///
/// ```
/// use multikernel_replicate::ready::{Cell, CellCommand};
///
/// let set: CellCommand<u32> = Cell::set(7);
/// assert_eq!(format!("{set:?}"), "set");
/// ```
pub struct CellCommand<T>(What<T>);

enum What<T> {
    Set(Arc<T>),
    CompareAndSet {
        expected: u64,
        value: Arc<T>,
    },
    /// The result of the first replica that commits it is that of all.
    Update {
        f: Box<dyn Fn(&T) -> T + Send + Sync>,
        result: OnceLock<Arc<T>>,
    },
}

/// Why a [`Cell`] does not accept a command.
///
/// ```
/// use multikernel_replicate::ready::CellRefusal;
///
/// assert_eq!(CellRefusal::Moved { version: 4 }.to_string(), "the cell is at version 4");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellRefusal {
    /// The cell is not at the version that was expected.
    Moved {
        /// The version that it has.
        version: u64,
    },
}

/// A [`Cell`] as a core that joins gets it.
///
/// ```
/// use multikernel_replicate::StateMachine;
/// use multikernel_replicate::ready::Cell;
///
/// let joined = Cell::restore(&Cell::new(7).snapshot()).unwrap();
/// assert_eq!(joined.get(), &7);
/// ```
#[derive(Debug)]
pub struct CellSnapshot<T> {
    value: Arc<T>,
    version: u64,
}

impl<T> Cell<T> {
    /// A cell at version 0.
    ///
    /// ```
    /// use multikernel_replicate::ready::Cell;
    ///
    /// assert_eq!(Cell::new(7).version(), 0);
    /// ```
    pub fn new(value: T) -> Self {
        Self::shared(Arc::new(value))
    }

    /// The same, with a value that other replicas have too.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let table = Arc::new([0_u64; 512]);
    /// let replica = || Cell::shared(table.clone());
    /// assert!(std::ptr::eq(replica().get(), replica().get()));
    /// ```
    pub const fn shared(value: Arc<T>) -> Self {
        Self { value, version: 0, undecided: 0, comparing: 0 }
    }

    /// The value.
    ///
    /// ```
    /// use multikernel_replicate::ready::Cell;
    ///
    /// assert_eq!(Cell::new(7).get(), &7);
    /// ```
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The value, to be kept after it has changed here.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let mut cell = Cell::new(7);
    /// let before = cell.get_shared();
    /// cell.commit(&Cell::set(8));
    /// assert_eq!((*before, *cell.get()), (7, 8));
    /// ```
    #[must_use]
    pub fn get_shared(&self) -> Arc<T> {
        self.value.clone()
    }

    /// How many changes the cell has had.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let mut cell = Cell::new(7);
    /// cell.commit(&Cell::set(7));
    /// assert_eq!(cell.version(), 1, "though the value is the same");
    /// ```
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The version that a command meets which is prepared now.
    const fn next_version(&self) -> u64 {
        self.version + self.undecided
    }

    const fn accepts(&self, command: &CellCommand<T>) -> Result<(), CellRefusal> {
        match command.0 {
            What::CompareAndSet { expected, .. } if expected != self.next_version() => {
                Err(CellRefusal::Moved { version: self.next_version() })
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, command: &CellCommand<T>) {
        self.value = match &command.0 {
            What::Set(value) | What::CompareAndSet { value, .. } => value.clone(),
            What::Update { f, result } => match result.get() {
                Some(value) => value.clone(),
                None => {
                    // Two may compute it at once: the first result counts, and nobody waits for another core.
                    let ours = Arc::new(f(&self.value));
                    match result.set(ours.clone()) {
                        Ok(()) => ours,
                        Err(ours) => result.get().cloned().unwrap_or(ours),
                    }
                }
            },
        };
        self.version += 1;
    }

    const fn decided(&mut self, command: &CellCommand<T>) {
        self.undecided = self.undecided.saturating_sub(1);
        if command.compares() {
            self.comparing = self.comparing.saturating_sub(1);
        }
    }
}

impl<T> Cell<T> {
    /// Replaces the value, whatever it is.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let mut cell = Cell::new(7);
    /// cell.commit(&Cell::set(8));
    /// assert_eq!(cell.get(), &8);
    /// ```
    pub fn set(value: T) -> CellCommand<T> {
        Self::set_shared(Arc::new(value))
    }

    /// The same, with a value that somebody has already.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let (mut cell, table) = (Cell::new([0; 512]), Arc::new([1; 512]));
    /// cell.commit(&Cell::set_shared(table.clone()));
    /// assert!(std::ptr::eq(cell.get(), &*table));
    /// ```
    pub const fn set_shared(value: Arc<T>) -> CellCommand<T> {
        CellCommand(What::Set(value))
    }

    /// Replaces the value, if the cell is at that version. Otherwise it is refused, with the version that it has.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::{Cell, CellRefusal};
    ///
    /// let mut cell = Cell::new(7);
    /// assert!(cell.prepare(&Cell::compare_and_set(0, 8)).is_ok());
    /// assert_eq!(cell.prepare(&Cell::compare_and_set(0, 9)), Err(CellRefusal::Moved { version: 1 }));
    /// ```
    pub fn compare_and_set(expected: u64, value: T) -> CellCommand<T> {
        Self::compare_and_set_shared(expected, Arc::new(value))
    }

    /// The same, with a value that somebody has already.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let mut cell = Cell::new(7);
    /// let set = Cell::compare_and_set_shared(0, Arc::new(8));
    /// cell.prepare(&set).unwrap();
    /// cell.commit(&set);
    /// assert_eq!(cell.get(), &8);
    /// ```
    pub const fn compare_and_set_shared(expected: u64, value: Arc<T>) -> CellCommand<T> {
        CellCommand(What::CompareAndSet { expected, value })
    }

    /// Replaces the value by what `f` makes of it when its turn has come. Nobody can come between, so it needs no version.
    ///
    /// `f` is called on the first core that commits, and on others that commit at the same time; all take the result of the same
    /// call. A panic in it is one in the commit: it closes the object on every core.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::ready::Cell;
    ///
    /// let (mut here, mut there) = (Cell::new(1), Cell::new(1));
    /// let double = Cell::update(|old| old * 2);
    /// for replica in [&mut here, &mut there] {
    ///     replica.prepare(&double).unwrap();
    ///     replica.commit(&double);
    /// }
    /// assert_eq!(here.get(), &2);
    /// assert!(std::ptr::eq(here.get(), there.get()));
    /// ```
    pub fn update(f: impl Fn(&T) -> T + Send + Sync + 'static) -> CellCommand<T> {
        CellCommand(What::Update { f: Box::new(f), result: OnceLock::new() })
    }
}

impl<T: Send + Sync + 'static> StateMachine for Cell<T> {
    type Command = CellCommand<T>;
    type Refusal = CellRefusal;
    type Snapshot = CellSnapshot<T>;
    const VETO: bool = false;

    fn prepare(&mut self, command: &CellCommand<T>) -> Result<(), CellRefusal> {
        self.accepts(command)?;
        self.undecided += 1;
        self.comparing += u64::from(command.compares());
        Ok(())
    }

    fn commit(&mut self, command: &CellCommand<T>) {
        self.decided(command);
        self.apply(command);
    }

    fn commit_announced(&mut self, command: &CellCommand<T>) {
        // A compare-and-set of this round was told that nobody comes between.
        let is_met = match command.0 {
            What::CompareAndSet { expected, .. } => expected == self.version,
            What::Set(_) | What::Update { .. } => true,
        };
        if is_met && self.comparing == 0 {
            self.apply(command);
        }
    }

    fn abort(&mut self, command: &CellCommand<T>) {
        self.decided(command);
    }

    fn snapshot(&self) -> CellSnapshot<T> {
        CellSnapshot { value: self.value.clone(), version: self.version }
    }

    fn restore(snapshot: &CellSnapshot<T>) -> Result<Self, CellRefusal> {
        Ok(Self { version: snapshot.version, ..Self::shared(snapshot.value.clone()) })
    }

    fn digest(&self) -> Option<u64> {
        Some(self.version)
    }
}

impl<T> CellCommand<T> {
    const fn compares(&self) -> bool {
        matches!(self.0, What::CompareAndSet { .. })
    }
}

impl<T> fmt::Debug for CellCommand<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            What::Set(_) => f.write_str("set"),
            What::CompareAndSet { expected, .. } => write!(f, "compare_and_set({expected})"),
            What::Update { .. } => f.write_str("update"),
        }
    }
}

impl fmt::Display for CellRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Moved { version } = self;
        write!(f, "the cell is at version {version}")
    }
}

impl Error for CellRefusal {}
