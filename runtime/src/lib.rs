//! An async runtime with one executor per core.
#![allow(dead_code, unused_imports)]

pub(crate) mod context;
pub(crate) mod driver;
pub(crate) mod machine;
pub mod time;

pub use driver::{DriverChoice, DriverInfo, DriverKind, UnknownDriver};

/// Readiness.
pub mod io {
    pub use crate::driver::{Interest, Ready};
}
