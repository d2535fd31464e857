//! Why a push or a pop did not happen.

use std::error::Error;
use std::fmt;

/// Why a message could not be pushed. Holds the message.
///
/// ```
/// use multikernel_channels::ring::{PushError, ring};
///
/// let (mut tx, rx) = ring(1);
/// tx.try_push("first").unwrap();
/// assert_eq!(tx.try_push("second"), Err(PushError::Full("second")));
/// drop(rx);
/// assert_eq!(tx.try_push("second"), Err(PushError::Closed("second")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// As many messages as the ring may hold wait to be popped.
    Full(T),
    /// The consumer is gone: no later push can succeed either.
    Closed(T),
}

impl<T> PushError<T> {
    /// The message that was not pushed.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::ring::ring(1);
    /// # drop(rx);
    /// let error = tx.try_push("for somebody".to_owned()).unwrap_err();
    /// let for_another: String = error.into_inner();
    /// # assert_eq!(for_another, "for somebody");
    /// ```
    pub fn into_inner(self) -> T {
        let (Self::Full(message) | Self::Closed(message)) = self;
        message
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the ring is full",
            Self::Closed(_) => "the consumer of the ring is gone",
        })
    }
}

impl<T> Error for PushError<T> {}

/// Why there was no message to pop.
///
/// ```
/// use multikernel_channels::ring::{PopError, ring};
///
/// let (tx, mut rx) = ring::<u8>(1);
/// assert_eq!(rx.try_pop(), Err(PopError::Empty)); // look again later
/// drop(tx);
/// assert_eq!(rx.try_pop(), Err(PopError::Closed)); // nothing will come
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// Nothing waits now; the producer may still push.
    Empty,
    /// The producer is gone and every message it pushed has been popped.
    Closed,
}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the ring is empty",
            Self::Closed => "the ring is empty and its producer is gone",
        })
    }
}

impl Error for PopError {}
