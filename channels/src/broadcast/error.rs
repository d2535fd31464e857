//! Why a message was not sent or not received.

use std::error::Error;
use std::fmt;

pub use crate::error::SendError;

/// Why [`recv`](super::Receiver::recv) returned no message.
///
/// # Example
///
/// ```
/// use multikernel_channels::broadcast::{self, error::RecvError};
/// # futures::executor::block_on(async {
/// let (tx, mut rx) = broadcast::channel(1);
/// tx.send('a').unwrap();
/// tx.send('b').unwrap();
/// drop(tx);
/// let lagged = rx.recv().await.unwrap_err();
/// assert_eq!(lagged, RecvError::Lagged(1));
/// assert_eq!(lagged.to_string(), "the receiver was too slow and missed 1 message(s)");
/// assert_eq!(rx.recv().await, Ok('b'));
/// assert_eq!(rx.recv().await, Err(RecvError::Closed));
/// # })
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// Nothing waits, and no sender is left.
    Closed,
    /// The receiver was too slow: so many messages are lost to it. The next call goes on with the oldest there is.
    Lagged(u64),
}

/// Why [`try_recv`](super::Receiver::try_recv) returned no message.
///
/// # Example
///
/// ```
/// use multikernel_channels::broadcast::{self, error::TryRecvError};
///
/// let (tx, mut rx) = broadcast::channel::<u8>(1);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// drop(tx);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing waits now; more may come.
    Empty,
    /// Nothing waits, and no sender is left.
    Closed,
    /// The receiver was too slow: so many messages are lost to it. The next call goes on with the oldest there is.
    Lagged(u64),
}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Closed => Self::Closed,
            RecvError::Lagged(missed) => Self::Lagged(missed),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("no sender is left"),
            Self::Lagged(missed) => write!(f, "the receiver was too slow and missed {missed} message(s)"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("the channel is empty"),
            Self::Closed => RecvError::Closed.fmt(f),
            Self::Lagged(missed) => RecvError::Lagged(missed).fmt(f),
        }
    }
}

impl Error for RecvError {}

impl Error for TryRecvError {}
