//! Every bound of the channels, in one place. What a task may do in one poll is for the executor to say (`budget`).

/// Channels that a core watches, or remembers to knock at, by itself. Those beyond go through wakers.
pub(crate) const HUB_PORTS: usize = 16;

/// A channel has two ends that can wait.
pub(crate) const HUB_SIDES: usize = 2;

const _: () = assert!(HUB_PORTS * HUB_SIDES <= 32, "a bit of a word for each");

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

/// What a lane's first slots may take together, in bytes, if they are small enough.
pub(crate) const FIRST_SLOTS_BYTES: usize = 256;

/// A lane begins with no fewer slots than this.
pub(crate) const FIRST_SLOTS: usize = 4;

/// What the lanes of all channels of this process may take together, in bytes. Beyond it a core sends through the
/// lane that the threads without a hub share.
pub(crate) const LANE_BYTES: usize = 64 << 20;

/// Messages that a receiver takes from one lane before it looks at the next.
pub(crate) const LANE_TURN: u32 = 16;

/// Looks in vain after which a receiver no longer looks at a lane unless it is asked to.
pub(crate) const LANE_MISSES: u8 = 32;

/// Messages that the first ring from one core to another holds. Most that are ever used carry one or two.
pub(crate) const MESH_FIRST: usize = 1;

/// Cores whose rings a reader looks at itself. A core hears most from one that is home, and a home of a small Machine
/// from few.
pub(crate) const MESH_WATCHED: usize = 4;

/// Looks at a sender that another thread is sending through, before this thread yields.
pub(crate) const SENDER_SPINS: u32 = 64;
