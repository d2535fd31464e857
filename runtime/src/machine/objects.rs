//! The numbers of what the runtime itself replicates: one such object in each Machine, made when it is first needed.

use multikernel_replicate::limits::FIXED_OBJECTS;

/// The timers that belong to no core: `time::machine`.
pub(crate) const TIMERS: u64 = 1;

/// Sockets that are about to listen on every core: `net::bind_each_core`.
pub(crate) const LISTENERS: u64 = 2;

/// The files that are open on every core: `fs`.
pub(crate) const FILES: u64 = 3;

const _: () = assert!(TIMERS < LISTENERS && LISTENERS < FILES && FILES < FIXED_OBJECTS);
