//! multikernel beside its peers.
//!
//! Servers run in processes of their own, all at once; one client visits them in turn, in short slices and a
//! rotating order, and only figures of the same round are compared. `tasks`,
//! `timers`, `channels` and `replicate` compare within one process in the same manner. `balance` simulates. A run that proves nothing says so and fails.

pub mod balance;
pub mod channels;
pub mod cli;
pub mod client;
pub mod harness;
pub mod replicate;
pub mod runs;
pub mod servers;
pub mod tasks;
pub mod timers;
