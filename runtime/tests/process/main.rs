//! Other programs, on both drivers. Without the feature `tokio`, what needs no traits.

mod cancel;
mod common;
mod ends;
#[cfg(feature = "futures-io")]
mod futures_io;
mod inheritance;
mod orphans;
mod pipes;
mod shortage;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tokio")]
mod traits;
