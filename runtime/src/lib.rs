//! An async runtime with one executor per core.
#![allow(dead_code)]

pub(crate) mod context;
pub(crate) mod driver;
pub(crate) mod executor;
pub(crate) mod limits;
pub(crate) mod machine;
pub mod task;
pub mod time;

/// Building and owning a runtime.
pub mod runtime {
    pub use crate::driver::{DriverChoice, DriverInfo, DriverKind};
    pub use crate::machine::builder::{Builder, Polling};
    pub use crate::machine::pinning::Pinning;
    pub use crate::machine::runtime::{EnterGuard, Handle, Runtime};
}

pub use machine::{CoreId, cores};
pub use task::{on_each_core, spawn, spawn_balanced, spawn_local, spawn_on};
