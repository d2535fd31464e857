//! The traits by which other crates use our sockets, timers and spawning: each in one file, behind one feature.
//!
//! | feature | implements |
//! |---|---|
//! | `tokio` (default) | tokio's `AsyncRead` and `AsyncWrite` |
//! | `futures-io` | the `AsyncRead` and `AsyncWrite` of `futures` |
//! | `hyper` | hyper's `Read`, `Write`, `Timer` and `Executor` |

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(feature = "tokio")]
pub(crate) mod tokio;
