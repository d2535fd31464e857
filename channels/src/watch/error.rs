//! Why a value was not sent, or will not change.

use std::error::Error;
use std::fmt;

pub use crate::error::SendError;

/// No sender is left, so the value will not change.
///
/// # Example
///
/// ```
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = multikernel_channels::watch::channel(1);
/// drop(tx);
/// let error = rx.changed().await.unwrap_err();
/// assert_eq!(error.to_string(), "no sender is left");
/// # })
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError(pub(super) ());

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no sender is left")
    }
}

impl Error for RecvError {}
