//! What users replicate.

use crate::{Change, CoreSet, Time};

/// A piece of state of which every core holds a replica, all changed by the same commands in the same order.
///
/// A command is *prepared* on every core, where it may be refused, and then either *committed* on every core or on none. All
/// of it must depend on nothing but the replica and the command: no clock, no random numbers, no order of a hash map. The
/// exception is a refusal: each core may refuse for reasons of its own, such as a limit that only it has reached.
///
/// ```
/// use multikernel_replicate::StateMachine;
///
/// /// Numbers up to a limit: a core with too little room refuses.
/// struct Total {
///     sum: u64,
///     reserved: u64,
/// }
///
/// impl StateMachine for Total {
///     type Command = u64;
///     type Refusal = &'static str;
///     type Snapshot = u64;
///     const VETO: bool = true;
///
///     fn prepare(&mut self, more: &u64) -> Result<(), &'static str> {
///         if self.sum + self.reserved + more > 100 {
///             return Err("over the limit");
///         }
///         self.reserved += more;
///         Ok(())
///     }
///     fn commit(&mut self, more: &u64) {
///         self.reserved = self.reserved.saturating_sub(*more);
///         self.sum += more;
///     }
///     fn abort(&mut self, more: &u64) {
///         self.reserved -= more;
///     }
///     fn snapshot(&self) -> u64 {
///         self.sum
///     }
///     fn restore(sum: &u64) -> Result<Self, &'static str> {
///         Ok(Self { sum: *sum, reserved: 0 })
///     }
/// }
///
/// let mut total = Total::restore(&90).unwrap();
/// assert!(total.prepare(&5).is_ok() && total.prepare(&6).is_err());
/// total.abort(&5);
/// assert_eq!((total.sum, total.reserved), (90, 0), "an abort undoes exactly one prepare");
/// ```
pub trait StateMachine: Sized + 'static {
    /// One change. Shared by all cores of a batch, never cloned for each.
    type Command: Send + Sync + 'static;
    /// Why a core does not accept a command.
    type Refusal: Send + Sync + 'static;
    /// What a core that joins needs.
    type Snapshot: Send + Sync + 'static;

    /// Whether any core may refuse a command. Without it only the home refuses, for all, and a core that sleeps need not be
    /// asked; a replica that refuses elsewhere, or panics, is poisoned.
    const VETO: bool;

    /// Reserves what `commit` will need, or refuses. Must not change what readers see. A panic refuses.
    ///
    /// # Errors
    ///
    /// The refusal, after which the replica is as before.
    fn prepare(&mut self, command: &Self::Command) -> Result<(), Self::Refusal>;

    /// Applies a command that was prepared. Cannot fail: a panic poisons the replica, and the object is closed
    /// everywhere.
    fn commit(&mut self, command: &Self::Command);

    /// Applies a command that was announced: nobody has prepared it, and nobody waits for what becomes of it. It finds the same on
    /// every core: committed what is before it in the order, and reserved what the rest of its round will commit. Where `commit`
    /// would break a promise that `prepare` has made, do nothing here.
    fn commit_announced(&mut self, command: &Self::Command) {
        self.commit(command);
    }

    /// Undoes exactly one `prepare` that said Ok. The latest is undone first.
    fn abort(&mut self, command: &Self::Command);

    /// What [`restore`](Self::restore) needs. Called while nothing is prepared.
    fn snapshot(&self) -> Self::Snapshot;

    /// A replica as of the snapshot, for a core that joins.
    ///
    /// # Errors
    ///
    /// A refusal: the core does not join.
    fn restore(snapshot: &Self::Snapshot) -> Result<Self, Self::Refusal>;

    /// A sum over the state, the same on every core at the same version.
    ///
    /// In debug builds the home compares it with that of each core that has just committed, and the runtime logs an error with
    /// the core, the version and the object with its type where they differ: some command has looked at a clock, at chance or at
    /// the order of a hash map. It is computed after each round, so it should be cheap, and must not itself depend on such an
    /// order. Release builds do not call it.
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    ///
    /// use multikernel_replicate::StateMachine;
    ///
    /// #[derive(Default)]
    /// struct Names(HashSet<String>);
    ///
    /// impl StateMachine for Names {
    ///     // ..
    ///     # type Command = String;
    ///     # type Refusal = ();
    ///     # type Snapshot = HashSet<String>;
    ///     # const VETO: bool = false;
    ///     # fn prepare(&mut self, _: &String) -> Result<(), ()> { Ok(()) }
    ///     # fn commit(&mut self, name: &String) { self.0.insert(name.clone()); }
    ///     # fn abort(&mut self, _: &String) {}
    ///     # fn snapshot(&self) -> HashSet<String> { self.0.clone() }
    ///     # fn restore(names: &HashSet<String>) -> Result<Self, ()> { Ok(Self(names.clone())) }
    ///     fn digest(&self) -> Option<u64> {
    ///         // The same keys on every core, and a sum that no order changes.
    ///         let hasher = BuildHasherDefault::<DefaultHasher>::default();
    ///         Some(self.0.iter().fold(0, |sum: u64, name| sum.wrapping_add(hasher.hash_one(name))))
    ///     }
    /// }
    ///
    /// let (mut here, mut there) = (Names::default(), Names::default());
    /// ["ada", "bob"].iter().for_each(|name| here.commit(&(*name).to_owned()));
    /// ["bob", "ada"].iter().for_each(|name| there.commit(&(*name).to_owned()));
    /// assert_eq!(here.digest(), there.digest());
    /// ```
    fn digest(&self) -> Option<u64> {
        None
    }

    /// When the home is to propose [`on_due`](Self::on_due), by what is committed. Asked after each commit, so it must be cheap.
    fn next_due(&self) -> Option<Time> {
        None
    }

    /// What the home proposes at this time, which is not before [`next_due`](Self::next_due). That must be later, or nothing,
    /// when the command has committed.
    fn on_due(&self, now: Time) -> Option<Self::Command> {
        let _ = now;
        None
    }

    /// The factory has just made this replica, before any command: the cores that are members now. A replica that is restored
    /// knows them from its snapshot; [`commit_view`](Self::commit_view) tells of each change.
    fn begin(&mut self, members: CoreSet) {
        let _ = members;
    }

    /// A core is about to join, leave or be declared dead. Whoever keeps something for each core prepares for it here.
    ///
    /// # Errors
    ///
    /// The refusal of a join or a leave. Nobody can refuse a death.
    fn prepare_view(&mut self, change: &Change) -> Result<(), Self::Refusal> {
        let _ = change;
        Ok(())
    }

    /// The cores have changed.
    fn commit_view(&mut self, change: &Change) {
        let _ = change;
    }

    /// Undoes one `prepare_view`.
    fn abort_view(&mut self, change: &Change) {
        let _ = change;
    }
}
