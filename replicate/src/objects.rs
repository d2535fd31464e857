//! What the protocol needs of the replicas of one core.

use crate::Change;

/// Who asks for a prepare.
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

    /// A sum over all that is committed; the same on every core at the same version. None while a replica is poisoned.
    fn digest(&self) -> Option<u64>;
}
