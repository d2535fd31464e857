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
#[cfg(feature = "tokio")]
mod traits;
