//! A sum of what each core holds.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use crate::{Change, CoreId, CoreSet, StateMachine};

/// A sum of amounts that the cores hold, such as connections or bytes, with a bound that it never exceeds.
///
/// No core holds less than nothing. When a core leaves or dies what it holds is released with that change of the view, on every
/// core alike; a command in its name that is late is refused.
///
/// ```
/// use multikernel_replicate::ready::{Counter, CounterRefusal};
/// use multikernel_replicate::{Change, CoreId, StateMachine};
///
/// let (a, b) = (CoreId::new(0), CoreId::new(1));
/// let mut connections = Counter::with_bound(10);
/// let (six, five) = (Counter::add(a, 6), Counter::add(b, 5));
/// connections.prepare(&six).unwrap();
/// assert_eq!(connections.prepare(&five), Err(CounterRefusal::OverBound { value: 6, bound: 10 }));
/// connections.commit(&six);
/// assert_eq!((connections.value(), connections.held_by(a)), (6, 6));
///
/// connections.commit_view(&Change::Dead(a));
/// assert_eq!(connections.value(), 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    bound: Option<i64>,
    value: i64,
    /// What each core holds that holds something.
    held: BTreeMap<CoreId, i64>,
    /// What undecided commands do to each core.
    reserved: BTreeMap<CoreId, Reserved>,
    /// Cores that have left or died, and have not come again.
    gone: CoreSet,
}

/// What undecided commands add to one core, and what they take from it. Wider than an amount: it is a sum of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reserved {
    more: i128,
    less: i128,
}

impl Reserved {
    const fn of(amount: i64) -> Self {
        let amount = amount as i128;
        if amount < 0 { Self { more: 0, less: -amount } } else { Self { more: amount, less: 0 } }
    }
}

/// A change of a [`Counter`].
///
/// ```
/// use multikernel_replicate::CoreId;
/// use multikernel_replicate::ready::Counter;
///
/// let release = Counter::add(CoreId::new(3), -1);
/// assert_eq!((release.core(), release.amount()), (CoreId::new(3), -1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterCommand {
    core: CoreId,
    amount: i64,
}

/// Why a [`Counter`] does not accept a command.
///
/// ```
/// use multikernel_replicate::ready::CounterRefusal;
///
/// let refusal = CounterRefusal::OverBound { value: 9, bound: 10 };
/// assert_eq!(refusal.to_string(), "the counter is at 9 of 10");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterRefusal {
    /// The sum would exceed the bound; without one that is the greatest number there is.
    OverBound {
        /// The sum.
        value: i64,
        /// The bound.
        bound: i64,
    },
    /// The core holds less than it would give back.
    BelowZero {
        /// What it holds.
        held: i64,
    },
    /// The core has left or died.
    Gone(CoreId),
}

/// A [`Counter`] as a core that joins gets it.
///
/// ```
/// use multikernel_replicate::StateMachine;
/// use multikernel_replicate::ready::Counter;
///
/// let joined = Counter::restore(&Counter::with_bound(5).snapshot()).unwrap();
/// assert_eq!(joined.bound(), Some(5));
/// ```
#[derive(Clone, Debug)]
pub struct CounterSnapshot {
    bound: Option<i64>,
    held: BTreeMap<CoreId, i64>,
    gone: CoreSet,
}

impl Counter {
    /// A counter at zero, without a bound.
    ///
    /// ```
    /// use multikernel_replicate::ready::Counter;
    ///
    /// assert_eq!(Counter::new().value(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter at zero that never exceeds the bound.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// let mut counter = Counter::with_bound(2);
    /// assert!(counter.prepare(&Counter::add(CoreId::new(0), 3)).is_err());
    /// ```
    #[must_use]
    pub fn with_bound(bound: i64) -> Self {
        Self { bound: Some(bound), ..Self::default() }
    }

    /// The sum of what all cores hold.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// let mut counter = Counter::new();
    /// for core in [0, 1] {
    ///     counter.commit(&Counter::add(CoreId::new(core), 2));
    /// }
    /// assert_eq!(counter.value(), 4);
    /// ```
    #[must_use]
    pub const fn value(&self) -> i64 {
        self.value
    }

    /// What one core holds.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// let mut counter = Counter::new();
    /// let [a, b] = [0, 1].map(CoreId::new);
    /// counter.commit(&Counter::add(a, 2));
    /// assert_eq!((counter.held_by(a), counter.held_by(b)), (2, 0));
    /// ```
    #[must_use]
    pub fn held_by(&self, core: CoreId) -> i64 {
        self.held.get(&core).copied().unwrap_or(0)
    }

    /// The bound.
    ///
    /// ```
    /// use multikernel_replicate::ready::Counter;
    ///
    /// assert_eq!(Counter::with_bound(5).bound(), Some(5));
    /// assert_eq!(Counter::new().bound(), None);
    /// ```
    #[must_use]
    pub const fn bound(&self) -> Option<i64> {
        self.bound
    }

    /// Lets a core hold so much more, or less. It is for tasks of that core: what they hold ends with it.
    ///
    /// ```
    /// use multikernel_replicate::StateMachine;
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// let mut counter = Counter::new();
    /// let (more, less) = (Counter::add(CoreId::new(0), 2), Counter::add(CoreId::new(0), -1));
    /// counter.commit(&more);
    /// counter.commit(&less);
    /// assert_eq!(counter.value(), 1);
    /// ```
    #[must_use]
    pub const fn add(core: CoreId, amount: i64) -> CounterCommand {
        CounterCommand { core, amount }
    }

    fn reserved(&self, core: CoreId) -> Reserved {
        self.reserved.get(&core).copied().unwrap_or_default()
    }

    /// Whether a command may follow those that are undecided: they commit if it does.
    fn accepts(&self, command: CounterCommand) -> Result<(), CounterRefusal> {
        let Reserved { more, less } = self.reserved(command.core);
        let all: i128 = self.reserved.values().map(|reserved| reserved.more - reserved.less).sum();
        self.fits(command, i128::from(self.held_by(command.core)) + more - less, i128::from(self.value) + all)
    }

    /// Whether a command may come before all those that are undecided, whatever their order.
    fn accepts_first(&self, command: CounterCommand) -> bool {
        let most: i128 = self.reserved.values().map(|reserved| reserved.more).sum();
        let least = i128::from(self.held_by(command.core)) - self.reserved(command.core).less;
        self.fits(command, least, i128::from(self.value) + most).is_ok()
    }

    fn fits(&self, command: CounterCommand, held: i128, value: i128) -> Result<(), CounterRefusal> {
        let amount = i128::from(command.amount);
        let bound = self.bound.unwrap_or(i64::MAX);
        if self.gone.contains(command.core) {
            return Err(CounterRefusal::Gone(command.core));
        }
        if amount < 0 && held + amount < 0 {
            return Err(CounterRefusal::BelowZero { held: narrow(held) });
        }
        if amount > 0 && value + amount > i128::from(bound) {
            return Err(CounterRefusal::OverBound { value: narrow(value), bound });
        }
        Ok(())
    }

    fn reserve(&mut self, command: CounterCommand) {
        let (reserved, new) = (self.reserved.entry(command.core).or_default(), Reserved::of(command.amount));
        reserved.more += new.more;
        reserved.less += new.less;
    }

    fn release(&mut self, command: CounterCommand) {
        let (reserved, old) = (self.reserved.entry(command.core).or_default(), Reserved::of(command.amount));
        // What was never prepared has reserved nothing.
        reserved.more = (reserved.more - old.more).max(0);
        reserved.less = (reserved.less - old.less).max(0);
        if *reserved == Reserved::default() {
            self.reserved.remove(&command.core);
        }
    }

    fn apply(&mut self, command: CounterCommand) {
        let held = self.held.entry(command.core).or_insert(0);
        *held += command.amount;
        // Equal counters have equal maps.
        if *held == 0 {
            self.held.remove(&command.core);
        }
        self.value += command.amount;
    }
}

/// What is committed or reserved lies between zero and the bound, which is no wider.
fn narrow(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}

impl StateMachine for Counter {
    type Command = CounterCommand;
    type Refusal = CounterRefusal;
    type Snapshot = CounterSnapshot;
    const VETO: bool = false;

    fn prepare(&mut self, command: &CounterCommand) -> Result<(), CounterRefusal> {
        self.accepts(*command)?;
        self.reserve(*command);
        Ok(())
    }

    fn commit(&mut self, command: &CounterCommand) {
        self.release(*command);
        self.apply(*command);
    }

    fn commit_announced(&mut self, command: &CounterCommand) {
        if self.accepts_first(*command) {
            self.apply(*command);
        }
    }

    fn abort(&mut self, command: &CounterCommand) {
        self.release(*command);
    }

    fn snapshot(&self) -> CounterSnapshot {
        CounterSnapshot { bound: self.bound, held: self.held.clone(), gone: self.gone }
    }

    fn restore(snapshot: &CounterSnapshot) -> Result<Self, CounterRefusal> {
        let CounterSnapshot { bound, held, gone } = snapshot.clone();
        Ok(Self { bound, value: held.values().sum(), held, reserved: BTreeMap::new(), gone })
    }

    fn digest(&self) -> Option<u64> {
        let held = self.held.iter().map(|(core, held)| (core.index() as u64, held.cast_unsigned()));
        Some(held.fold(0, |sum, (core, held)| (sum ^ core ^ held).wrapping_mul(0x0100_0000_01b3)))
    }

    fn commit_view(&mut self, change: &Change) {
        match *change {
            Change::Join(core) => {
                self.gone.remove(core);
            }
            Change::Leave { core, .. } | Change::Dead(core) => {
                self.value -= self.held.remove(&core).unwrap_or(0);
                self.gone.insert(core);
            }
        }
    }
}

impl CounterCommand {
    /// Whose amount changes.
    ///
    /// ```
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// assert_eq!(Counter::add(CoreId::new(3), 1).core(), CoreId::new(3));
    /// ```
    #[must_use]
    pub const fn core(self) -> CoreId {
        self.core
    }

    /// By how much.
    ///
    /// ```
    /// use multikernel_replicate::CoreId;
    /// use multikernel_replicate::ready::Counter;
    ///
    /// assert_eq!(Counter::add(CoreId::new(3), -1).amount(), -1);
    /// ```
    #[must_use]
    pub const fn amount(self) -> i64 {
        self.amount
    }
}

impl fmt::Display for CounterRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverBound { value, bound } => write!(f, "the counter is at {value} of {bound}"),
            Self::BelowZero { held } => write!(f, "the core holds {held}"),
            Self::Gone(core) => write!(f, "{core} has left or died"),
        }
    }
}

impl Error for CounterRefusal {}
