//! Every bound of the channels, in one place. What a task may do in one poll is for the executor to say (`budget`).

/// Channels that a core watches, or remembers to knock at, by itself. Those beyond go through wakers.
pub(crate) const HUB_PORTS: usize = 16;

/// A channel has two ends that can wait.
pub(crate) const HUB_SIDES: usize = 2;

const _: () = assert!(HUB_PORTS * HUB_SIDES <= 32, "a bit of a word for each");

/// Looks at a channel before the end that found nothing goes to wait: about a microsecond, which is a few times as long as a
/// message and its answer take between two cores that are awake.
pub(crate) const LINGER_LOOKS: u32 = 32;

/// What it takes of the budget to have lingered, beside the message that came: on epoll nobody sees meanwhile what I/O has come.
pub(crate) const LINGER_UNITS: u8 = 3;

/// The most pauses for which an end keeps away from a channel that messages flow through all the time: about as long.
pub(crate) const PACE_PAUSES: u32 = 32;

/// Receivers of one channel that a core remembers to knock at. A sender with more knocks at once, with one fence for
/// all, rather than drive every other channel out of its core's table.
pub(crate) const NOTED_RECEIVERS: usize = HUB_PORTS / 4;

/// Lanes of a many-to-one channel: one for each hub, and [`FOREIGN_LANE`].
pub(crate) const LANES: usize = 1024;

/// The lane that the threads without a hub share.
pub(crate) const FOREIGN_LANE: usize = 0;

/// Lanes whose hints are the bits of one word, and whose places are allocated together.
pub(crate) const LANES_PER_GROUP: usize = 64;

pub(crate) const LANE_GROUPS: usize = LANES / LANES_PER_GROUP;

const _: () =
    assert!(LANE_GROUPS <= 32 && LANES.is_multiple_of(LANES_PER_GROUP), "a bit of a word for each group");

/// The most messages that a many-to-one channel may hold.
pub(crate) const MPSC_CAPACITY: usize = (1 << 30) - 1;

/// What the rings of meshes and the lanes of many-to-one channels of this process may take together, in bytes: half a MiB
/// for each of 256 cores. Beyond it a core sends through the lane that the threads without a hub share, and a ring is the
/// smallest that its protocol can do with.
pub(crate) const WAYS_BYTES: usize = 128 << 20;

/// What the first slots of one way between two cores, a lane or a ring, take at most, in bytes, unless one message is larger.
pub(crate) const FIRST_SLOTS_BYTES: usize = 256;

/// What the first slots of a way between each two cores take together, in bytes: with more than 90 cores, less for each.
pub(crate) const FIRST_SLOTS_TOGETHER: usize = WAYS_BYTES / 64;

/// Messages that a receiver takes from one lane before it looks at the next.
pub(crate) const LANE_TURN: u32 = 16;

/// Looks in vain after which a receiver no longer looks at a lane unless it is asked to.
pub(crate) const LANE_MISSES: u8 = 32;

/// Cores whose rings a reader looks at itself. A core hears most from one that is home, and a home of a small Machine
/// from few.
pub(crate) const MESH_WATCHED: usize = 4;

/// Looks at a sender that another thread is sending through, before this thread yields.
pub(crate) const SENDER_SPINS: u32 = 64;
