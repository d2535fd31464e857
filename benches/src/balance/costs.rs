//! What things cost in the simulation, in nanoseconds: chosen, not measured here.

/// From the decision of a core that sleeps to look at others' queues, until it does.
pub const WAKE: u64 = 10_000;
/// To take from another's queue: cache lines that it writes all the time.
pub const STEAL: u64 = 1_000;
/// The first poll of a task on a core that has none of its data.
pub const COLD: u64 = 5_000;
/// A task is under way to another core for so long.
pub const WAY: u64 = 20_000;
/// On the giver and on the receiver, for each task.
pub const HAND: u64 = 1_000;
/// To look at what one core publishes.
pub const LOOK: u64 = 150;
/// How often cores publish, when they do not sleep.
pub const PUBLISH: u64 = 500_000;
