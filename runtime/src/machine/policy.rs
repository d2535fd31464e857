//! Where new tasks go, as users choose it, and what they know of the cores.

use crate::machine::seat::Seat;

/// What a core publishes about its work. The figures are as of its last turn, so a few of them may be milliseconds old.
///
/// # Examples
/// ```
/// use multikernel::runtime::CoreLoad;
///
/// fn emptiest(loads: &[CoreLoad]) -> usize {
///     let takes = (0..loads.len()).filter(|core| loads[*core].takes_tasks);
///     takes.min_by_key(|core| loads[*core].tasks).unwrap_or(0)
/// }
/// let (mut one, mut other) = (CoreLoad::default(), CoreLoad::default());
/// (one.takes_tasks, one.tasks, other.takes_tasks) = (true, 5, true);
/// assert_eq!(emptiest(&[one, other]), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreLoad {
    /// Whether it takes new tasks: it has not retired, runs no call that blocks, is not [stuck](crate::runtime::Stall), and
    /// not reserved.
    pub takes_tasks: bool,
    /// Whether it has sent its other tasks away to make long polls, and goes on making them.
    pub is_reserved: bool,
    /// Whether it sleeps because it has nothing to do.
    pub parked: bool,
    /// Tasks that are not complete.
    pub tasks: u32,
    /// Those of them that serve accepted connections.
    pub connections: u32,
    /// Tasks that wait for their poll.
    pub queue: u32,
    /// How long such a task waits, about, in nanoseconds.
    pub delay: u64,
    /// In which it did not sleep, nor wait for something to do, ever, in nanoseconds.
    pub busy: u64,
    /// For which it could have run and other processes had its CPU, ever, in nanoseconds.
    pub run_delay: u64,
    /// Polls of tasks, ever.
    pub polls: u64,
    /// The CPU that it is pinned to. What follows is known of cores that are pinned.
    pub cpu: Option<usize>,
    /// The last level's cache of that CPU, an index into [`Topology::caches`](crate::machine::Topology::caches).
    pub cache: Option<usize>,
    /// How fast that CPU is: [`Cpu::capacity`](crate::machine::Cpu::capacity).
    pub capacity: Option<u32>,
}

impl CoreLoad {
    /// The same of a core that is pinned there.
    pub(crate) fn on(self, seat: Option<Seat>) -> Self {
        Self {
            cpu: seat.map(|seat| seat.cpu),
            cache: seat.and_then(|seat| seat.cache),
            capacity: seat.and_then(|seat| seat.capacity),
            ..self
        }
    }

    /// The mean time of a poll, in nanoseconds.
    pub(crate) fn poll(&self) -> u64 {
        self.busy / self.polls.max(1)
    }

    /// Whether what talks to a task of the other core does so past the last cache. Unknown counts as near.
    pub(crate) fn is_far_from(&self, other: &Self) -> bool {
        self.cache.zip(other.cache).is_some_and(|(one, other)| one != other)
    }

    /// How many times as fast as on the other core work is done here. Unknown counts as alike.
    pub(crate) fn speed_beside(&self, other: &Self) -> f64 {
        let both = self.capacity.zip(other.capacity);
        both.map_or(1.0, |(one, other)| f64::from(one.max(1)) / f64::from(other.max(1)))
    }
}

/// Where new tasks go.
///
/// Tasks that are not `Send`, and those that were given a core by name, are not placed.
///
/// # Examples
/// All that belongs to one user stays together, so it needs no messages between cores:
/// ```
/// use multikernel::runtime::Placement;
/// use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
///
/// let user = "ada";
/// let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(user);
/// assert_eq!(Placement::ByKey(hash), Placement::ByKey(hash));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum Placement {
    /// Where there is least to do: the better of two cores at random; for connections, the core with the fewest.
    ///
    /// Where cores are pinned to CPUs that are not alike, the better one is where a task's first poll would end first, on a CPU
    /// so fast, if it talks to who spawns it, perhaps from another cache; and slow CPUs get fewer connections.
    #[default]
    Spread,
    /// On the core that spawns, if it takes tasks.
    Local,
    /// On as few cores as can serve them: the first core on which tasks wait for less than so many microseconds. The rest
    /// sleep, which saves power, and leaves their CPUs to others.
    ///
    /// Where a Machine's [`placement`](crate::runtime::Builder::placement) is this, its cores do not make their loads alike: one
    /// hands tasks over if they wait for longer, and then no more than it has too many.
    Pack {
        /// The longest wait for a poll.
        micros: u32,
    },
    /// Tasks of one key on one core, as long as the same cores take tasks. When one comes or goes, only its share of the
    /// keys changes place. The number is the hash of a key.
    ///
    /// Such a task stays where it was placed, however much there is to do, and waits while its core blocks or makes a long
    /// poll. When the core retires, it goes to where new ones of its key are placed from then on. When a core comes, new ones
    /// of some keys are placed there, and those that there are stay where they are.
    ByKey(u64),
    /// As the function says, from what all cores publish: the index of a core. If there is none such or it takes no tasks,
    /// as with [`Spread`](Self::Spread).
    Custom(fn(&[CoreLoad]) -> usize),
}

impl PartialEq for Placement {
    fn eq(&self, other: &Self) -> bool {
        match (*self, *other) {
            (Self::Spread, Self::Spread) | (Self::Local, Self::Local) => true,
            (Self::Pack { micros: one }, Self::Pack { micros: other }) => one == other,
            (Self::ByKey(one), Self::ByKey(other)) => one == other,
            (Self::Custom(one), Self::Custom(other)) => std::ptr::fn_addr_eq(one, other),
            _ => false,
        }
    }
}
