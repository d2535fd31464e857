//! What the protocol needs of the replicas of one core.

use crate::{Change, ObjectId};

/// Who asks for a prepare.
///
/// ```
#[doc = include_str!("../doc/alone.md")]
/// let mut replicas = Replicas::default();
/// let create = Command::create(ObjectId(7), Counter::new);
/// replicas.prepare(&create, Asker::Home).unwrap();
/// replicas.commit(&create);
/// // A counter is refused by the home alone.
/// let less = Command::change::<Counter>(ObjectId(7), Counter::add(a, -1));
/// assert!(replicas.prepare(&less, Asker::Home).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The home, which may always refuse.
    Home,
    /// A member, which may refuse only where [`Objects::may_veto`] says so.
    Member,
}

/// All replicas of one core, as the protocol sees them. [`Replicas`](crate::Replicas) is the one that ships.
///
/// None of these may panic: what runs code of users catches.
///
/// ```
/// use multikernel_replicate::{Asker, Change, Objects};
///
/// /// One number, which may only grow.
/// struct Number(u64, Vec<u64>);
///
/// impl Objects for Number {
///     type Command = u64;
///     type Refusal = &'static str;
///     type Snapshot = u64;
///     fn may_veto(&self, _to: &u64) -> bool {
///         false
///     }
///     fn prepare(&mut self, to: &u64, _asker: Asker) -> Result<(), &'static str> {
///         if *to <= *self.1.last().unwrap_or(&self.0) {
///             return Err("it is as much already");
///         }
///         self.1.push(*to);
///         Ok(())
///     }
///     fn commit(&mut self, to: &u64) {
///         self.1.retain(|prepared| prepared != to);
///         self.0 = *to;
///     }
///     fn abort(&mut self, to: &u64) {
///         self.1.retain(|prepared| prepared != to);
///     }
///     // .. and nothing of it depends on who is there.
///     # fn prepare_view(&mut self, _change: &Change) -> Result<(), &'static str> { Ok(()) }
///     # fn commit_view(&mut self, _change: &Change) {}
///     # fn abort_view(&mut self, _change: &Change) {}
///     # fn snapshot(&self) -> u64 { self.0 }
///     # fn restore(&mut self, snapshot: &u64) -> Result<(), &'static str> { self.0 = *snapshot; Ok(()) }
///     # fn clear(&mut self) {}
///     # fn poisoned(&self) -> Option<u64> { None }
///     # fn digests(&self) -> Option<multikernel_replicate::Digests> { None }
/// }
///
/// let mut number = Number(1, Vec::new());
/// assert!(number.prepare(&5, Asker::Home).is_ok() && number.prepare(&4, Asker::Home).is_err());
/// number.commit(&5);
/// assert_eq!(number.snapshot(), 5);
/// ```
pub trait Objects {
    /// A command to one of the objects. Cheap to clone.
    type Command: Clone;
    /// Why a command, a change of the view or a snapshot is refused.
    type Refusal: Clone;
    /// All objects, for a core that joins. Cheap to clone.
    type Snapshot: Clone;

    /// Whether a member may refuse this command.
    fn may_veto(&self, command: &Self::Command) -> bool;

    /// Reserves what the command needs.
    ///
    /// # Errors
    ///
    /// The refusal; then nothing is reserved.
    fn prepare(&mut self, command: &Self::Command, asker: Asker) -> Result<(), Self::Refusal>;

    /// Applies a command.
    fn commit(&mut self, command: &Self::Command);

    /// Applies a command that was announced, so that nobody has prepared it.
    fn commit_announced(&mut self, command: &Self::Command) {
        self.commit(command);
    }

    /// Undoes the latest prepare that is not undone.
    fn abort(&mut self, command: &Self::Command);

    /// As `prepare`, for a change of the view.
    ///
    /// # Errors
    ///
    /// The refusal; then nothing is reserved.
    fn prepare_view(&mut self, change: &Change) -> Result<(), Self::Refusal>;

    /// As `commit`, for a change of the view.
    fn commit_view(&mut self, change: &Change);

    /// As `abort`, for a change of the view.
    fn abort_view(&mut self, change: &Change);

    /// Everything that is committed.
    fn snapshot(&self) -> Self::Snapshot;

    /// Starts from a snapshot.
    ///
    /// # Errors
    ///
    /// The refusal; then there are no objects.
    fn restore(&mut self, snapshot: &Self::Snapshot) -> Result<(), Self::Refusal>;

    /// Drops all objects: the core does not join after all.
    fn clear(&mut self);

    /// The command that closes an object whose replica here is poisoned, if there is one that is not closed.
    fn poisoned(&self) -> Option<Self::Command>;

    /// What each object adds up to, of all that is committed; the same on every core at the same version. None while a replica is
    /// poisoned.
    fn digests(&self) -> Option<Digests>;

    /// What sort of object that is, for people.
    fn kind(&self, object: ObjectId) -> &'static str {
        let _ = object;
        "object"
    }
}

/// The sums of the objects of one core.
///
/// ```
/// use multikernel_replicate::{Digests, ObjectId};
///
/// let here: Digests = [(ObjectId(1), 10), (ObjectId(2), 20)].into_iter().collect();
/// let there: Digests = [(ObjectId(1), 10), (ObjectId(2), 21)].into_iter().collect();
/// assert_ne!(here, there);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digests(Box<[(ObjectId, u64)]>);

impl Digests {
    /// The first object that has another sum, or that one of the two has not.
    ///
    /// ```
    /// use multikernel_replicate::{Digests, ObjectId};
    ///
    /// let here: Digests = [(ObjectId(1), 10), (ObjectId(2), 20)].into_iter().collect();
    /// let there: Digests = [(ObjectId(1), 10)].into_iter().collect();
    /// assert_eq!(here.differs_in(&there), Some(ObjectId(2)));
    /// assert_eq!(here.differs_in(&here), None);
    /// ```
    #[must_use]
    pub fn differs_in(&self, other: &Self) -> Option<ObjectId> {
        let both = self.0.iter().zip(&other.0).find(|(ours, theirs)| ours != theirs).map(|(ours, _)| ours.0);
        let rest = self.0.get(other.0.len()).or(other.0.get(self.0.len())).map(|(object, _)| *object);
        both.or(rest)
    }
}

impl FromIterator<(ObjectId, u64)> for Digests {
    /// In the order in which every core gives them.
    fn from_iter<I: IntoIterator<Item = (ObjectId, u64)>>(sums: I) -> Self {
        Self(sums.into_iter().collect())
    }
}
