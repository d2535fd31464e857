//! Files of one's own, folders and sending files, on both drivers.

mod at;
mod cancel;
mod common;
mod direct;
mod folders;
mod full;
mod open;
mod send;
#[cfg(feature = "tokio")]
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod whole;
