//! Unix sockets on both drivers. Without the feature `tokio`, what needs no traits.

#[cfg(feature = "tokio")]
mod cancel;
mod datagrams;
mod listener;
mod names;
mod pipes;
mod socket;
mod streams;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tokio")]
mod traits;
