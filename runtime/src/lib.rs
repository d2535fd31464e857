//! An async runtime with one executor per core.
#![allow(dead_code)]

pub(crate) mod context;
pub(crate) mod driver;
pub(crate) mod machine;
pub mod time;

pub use multikernel_macros::{main, test};

/// Building and running a Machine.
pub mod runtime {
    pub use crate::machine::pinning::{ParsePinningError, Pinning};
}
