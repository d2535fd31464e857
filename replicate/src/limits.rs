//! Every bound of the agreement.

use std::time::Duration;

/// How many cores a Machine may have.
pub const MAX_CORES: usize = 1024;

/// How many commands one round carries at most.
pub const BATCH: usize = 64;

/// How many proposals of one core may wait at the home; more wait at the core that makes them.
pub const PROPOSALS: usize = 64;

/// How many proposals of one core may be unanswered when it announces something.
pub const ANNOUNCEMENTS: usize = 1024;

/// Numbers of objects below this are the runtime's own, the same in every Machine.
pub const FIXED_OBJECTS: u64 = 16;

/// How many rounds the home decides without hearing from a core that is asleep. Half way it rings; at the end it waits. Half of it
/// takes longer than a core needs to wake.
pub const ROUNDS_ASLEEP: u64 = 256;

/// A core that has kept the home waiting for longer than this is reported.
pub const STALL: Duration = Duration::from_secs(1);

/// After how many nanoseconds what an object wants done is proposed again, if it has not been done.
pub const PROPOSE_AGAIN: u64 = 1_000_000_000;

/// Slots of one [`Sharded`](crate::Sharded) object.
pub const SLOTS: usize = 1 << 16;

/// Closures that wait for one slot on its owner's core, such as for a part that is on its way. More wait on the core of
/// the task that sends them.
pub const SLOT_QUEUE: usize = 256;

/// What a takeover, a join and a leave put on one ring between two readings, at most.
pub const RARE: usize = 16;

/// How many messages a ring of the agreement must hold, so that a push never waits.
///
/// To a member that does not read: a Prepare, a Decide and a Stable for each round it may sleep through and for the one it is
/// waited for; an answer to each of its proposals (a Reason is an answer too). From it: its proposals, and a Vote and a Done for
/// each of those rounds once it wakes.
pub const RING: usize = 3 * (ROUNDS_ASLEEP as usize + 2) + PROPOSALS + RARE;

const _: () = assert!(MAX_CORES.is_multiple_of(64) && MAX_CORES <= u16::MAX as usize);
const _: () = assert!(BATCH >= 1 && PROPOSALS >= 1 && ROUNDS_ASLEEP >= 1);
