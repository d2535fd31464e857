//! What every measurement needs: processes, CPUs, clocks, figures, tables.

pub mod cpus;
pub mod goals;
pub mod pairs;
pub mod process;
pub mod sched;
pub mod stats;
pub mod table;
pub mod uring;
