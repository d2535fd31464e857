//! Bad days: each ends in a clear error or in nothing at all, what was acknowledged is there afterwards, and nothing is left
//! behind. Each day is held on both drivers; those whose descriptors, threads and children are counted have a process of
//! their own.
//!
//! | bad day | here | for one module, or closer |
//! |---|---|---|
//! | descriptors used up | `shortage` | `file_descriptors.rs`, `tcp/listener.rs`, `unix/listener.rs`, `process/shortage.rs`; pipes of copies in `src/io/tests_copy.rs`; a server in `examples/tests/bad_days.rs` |
//! | memory that may be locked used up | | `locked_memory.rs` |
//! | no more threads | | `no_threads.rs` |
//! | disk full | `disk` (`SharedFile`, while the Machine ends too) | `fs/full.rs` |
//! | a pipe closed, a peer gone | `gone` | `process/pipes.rs`, `io/stdio.rs`, `tcp/readiness.rs` |
//! | a child that never ends | `ends` | `process/ends.rs`, `process/orphans.rs` |
//! | a storm of signals | `ends` (while Machines end) | `signals.rs` |
//! | DNS that fails | `names` | `tcp/addresses.rs` |
//! | a blocking pool that is saturated | `pool` | `spawning/blocking.rs`, `io/stdio.rs` |
//! | 100,000 tasks aborted at once | `aborts` (each waits for something) | `spawning/join_set.rs` |
//! | a runtime dropped with all of this in flight | `ends` | `process/ends.rs`, `spawning/join_set.rs`, `spawning/local_set.rs`, `src/driver/tests_send.rs`, `src/driver/tests_file.rs` |
//! | a core that dies, retires or is stuck | | `membership.rs`, `src/fs/tests_members.rs`, `moving.rs`, `stalls/` |
//! | io_uring refused | | `driver_choice.rs`, `src/driver/tests_seccomp.rs` |
#![cfg(not(loom))]

mod aborts;
mod common;
#[cfg(feature = "tokio")]
mod copies;
mod disk;
mod ends;
mod files;
mod gone;
mod names;
mod nameserver;
mod others;
mod outside;
mod pool;
mod shortage;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
