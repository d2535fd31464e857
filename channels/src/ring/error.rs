//! Why a push or a pop did not happen.

use std::error::Error;
use std::fmt;

/// Why a message could not be pushed. Holds the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// As many messages as the ring may hold wait to be popped.
    Full(T),
    /// The consumer is gone: no later push can succeed either.
    Closed(T),
}

impl<T> PushError<T> {
    /// The message that was not pushed.
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
