//! An async runtime with one executor per core.
#![allow(dead_code)]

pub(crate) mod context;
pub(crate) mod driver;
pub mod time;
