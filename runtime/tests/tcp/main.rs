//! TCP on both drivers. Without the feature `tokio`, what needs no traits.

mod addresses;
#[cfg(feature = "tokio")]
mod cancel;
mod common;
mod cores;
#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
mod listener;
mod parts;
mod readiness;
mod socket;
mod steering;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tokio")]
mod traits;
mod zero_copy;
