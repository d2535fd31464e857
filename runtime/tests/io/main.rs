//! Descriptors of others, standard streams and copying, on both drivers.

mod async_fd;
mod common;
#[cfg(feature = "tokio")]
mod copy;
#[cfg(feature = "tokio")]
mod copy_file;
#[cfg(feature = "tokio")]
mod copy_unix;
mod interest;
#[cfg(feature = "tokio")]
mod names;
#[cfg(feature = "tokio")]
mod stdio;
#[path = "../support/mod.rs"]
mod support;
