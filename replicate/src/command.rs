//! Commands to objects, and why a core refuses one.

use std::fmt;
use std::sync::Arc;

use crate::StateMachine;
use crate::handle::Proposal;
use crate::replica::{Erased, Replica};
use crate::slots::Birth;

/// The name of an object, the same on every core. Never used again.
///
/// ```
/// use multikernel_replicate::{Command, ObjectId};
///
/// assert_eq!(format!("{:?}", Command::destroy(ObjectId(7))), "destroy(object 7)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

/// Makes replicas of one type.
pub(crate) struct Factory {
    pub(crate) birth: Birth,
    pub(crate) make: Box<dyn Fn() -> Box<dyn Replica> + Send + Sync>,
}

#[derive(Clone)]
pub(crate) enum Order {
    Create(Arc<Factory>),
    Destroy,
    Change(Erased),
}

/// A command to one object. Cloning it is cheap: all cores read the same.
///
/// ```
/// use multikernel_replicate::ready::Counter;
/// use multikernel_replicate::{Command, ObjectId};
///
/// let create: Command = Command::create(ObjectId(7), Counter::new);
/// let same = create.clone(); // no copy of what is in it
/// assert_eq!(format!("{same:?}"), "create(object 7)");
/// ```
#[derive(Clone)]
pub struct Command {
    pub(crate) object: ObjectId,
    pub(crate) order: Order,
}

impl Command {
    /// Creates the object, with a replica made on each core by the factory. Refused where the factory panics.
    ///
    /// ```
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{Asker, Command, ObjectId, Objects, Replicas};
    ///
    /// let (mut replicas, id) = (Replicas::default(), ObjectId(7));
    /// let create = Command::create(id, || Counter::with_bound(8));
    /// replicas.prepare(&create, Asker::Home).unwrap();
    /// replicas.commit(&create);
    /// assert_eq!(replicas.read(id, Counter::bound), Some(Some(8)));
    /// ```
    pub fn create<S: StateMachine>(
        object: ObjectId,
        factory: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self {
        // One birth, one type: what reads rely on. Whoever restores passes both on.
        let factory = Factory { birth: Birth::new(), make: Box::new(move || Box::new(factory())) };
        Self { object, order: Order::Create(Arc::new(factory)) }
    }

    /// Ends the object. Later commands to it are refused with [`Denial::Closed`].
    ///
    /// ```
    /// use multikernel_replicate::{Asker, Command, ObjectId, Objects, Replicas};
    ///
    /// assert!(Replicas::default().prepare(&Command::destroy(ObjectId(7)), Asker::Home).is_err(), "there is none");
    /// ```
    #[must_use]
    pub fn destroy(object: ObjectId) -> Self {
        Self { object, order: Order::Destroy }
    }

    /// Changes the object, which must be an `S`.
    ///
    /// ```
    /// use multikernel_replicate::ready::Counter;
    /// use multikernel_replicate::{Asker, Command, CoreId, ObjectId, Objects, Replicas};
    ///
    /// let (mut replicas, id) = (Replicas::default(), ObjectId(7));
    /// let add = Command::change::<Counter>(id, Counter::add(CoreId::new(0), 3));
    /// for command in [Command::create(id, Counter::new), add] {
    ///     replicas.prepare(&command, Asker::Home).unwrap();
    ///     replicas.commit(&command);
    /// }
    /// assert_eq!(replicas.read(id, Counter::value), Some(3));
    /// ```
    pub fn change<S: StateMachine>(object: ObjectId, command: impl Into<Proposal<S::Command>>) -> Self {
        Self { object, order: Order::Change(Erased::new(command.into())) }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.order {
            Order::Create(_) => "create",
            Order::Destroy => "destroy",
            Order::Change(_) => "change",
        };
        write!(f, "{verb}(object {})", self.object.0)
    }
}

/// Why a core refuses.
///
/// ```
/// use multikernel_replicate::{Asker, Command, Denial, ObjectId, Objects, Replicas};
///
/// let none = Replicas::default().prepare(&Command::destroy(ObjectId(7)), Asker::Home);
/// assert!(matches!(none, Err(Denial::Closed)));
/// ```
#[derive(Clone)]
pub enum Denial {
    /// The state machine refuses: its `Refusal`.
    Refused(Arc<dyn std::any::Any + Send + Sync>),
    /// There is no such object, or not any more.
    Closed,
    /// There is such an object already.
    Exists,
    /// Code of the state machine has panicked.
    Panicked,
}

impl Denial {
    /// The refusal of the state machine, if it is one and of that type.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use multikernel_replicate::Denial;
    ///
    /// let denial = Denial::Refused(Arc::new("over the limit"));
    /// assert_eq!(denial.refusal(), Some(&"over the limit"));
    /// assert_eq!(denial.refusal::<u32>(), None);
    /// ```
    #[must_use]
    pub fn refusal<R: 'static>(&self) -> Option<&R> {
        match self {
            Self::Refused(refusal) => refusal.downcast_ref(),
            Self::Closed | Self::Exists | Self::Panicked => None,
        }
    }
}

impl fmt::Debug for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(_) => "Refused(..)",
            Self::Closed => "Closed",
            Self::Exists => "Exists",
            Self::Panicked => "Panicked",
        })
    }
}
