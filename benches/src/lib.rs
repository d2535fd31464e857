//! multikernel beside its peers.
//!
//! Servers run in processes of their own, all at once; one client visits them in turn, in short slices and a
//! rotating order, and only figures of the same round are compared. Readers of files do likewise: the client tells them when and for
//! how long, and they say how much they did. `tasks`, `timers`, `channels` and `replicate` compare within one process in the same
//! manner. `uneven` opens new connections at each visit, and measures what becomes of them. `balance` simulates. A run that proves nothing says so and fails.

pub mod balance;
pub mod channels;
pub mod cli;
pub mod client;
pub mod fs;
pub mod harness;
pub mod replicate;
pub mod resp;
pub mod runs;
pub mod servers;
pub mod tasks;
pub mod timers;
pub mod udp;
pub mod uneven;
