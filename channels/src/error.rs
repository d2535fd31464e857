//! Why a message was not sent or not received.

use std::error::Error;
use std::fmt;

/// The other end is gone. Holds the message, where there is one.
///
/// ```
/// # futures::executor::block_on(async {
/// let (mut tx, rx) = multikernel_channels::spsc::channel(1);
/// drop(rx);
/// let error = tx.send("for somebody").await.unwrap_err();
/// assert_eq!(error.0, "for somebody");
/// # })
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(
    /// What was not sent.
    pub T,
);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLOSED)
    }
}

impl<T> Error for SendError<T> {}

const CLOSED: &str = "the other end of the channel is gone";

/// Why a message was not sent at once. Holds the message.
///
/// ```
/// use multikernel_channels::{error::TrySendError, spsc};
///
/// let (mut tx, rx) = spsc::channel(1);
/// tx.try_send(1).unwrap();
/// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2))); // try later
/// drop(rx);
/// assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3))); // give up
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// There is no room now.
    Full(T),
    /// The receiver is gone: no later send can succeed either.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The message that was not sent.
    ///
    /// ```
    /// # let (mut tx, rx) = multikernel_channels::spsc::channel(1);
    /// # drop(rx);
    /// let error = tx.try_send("for somebody").unwrap_err();
    /// assert_eq!(error.into_inner(), "for somebody");
    /// ```
    pub fn into_inner(self) -> T {
        let (Self::Full(message) | Self::Closed(message)) = self;
        message
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the channel is full",
            Self::Closed(_) => CLOSED,
        })
    }
}

impl<T> Error for TrySendError<T> {}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(error: SendError<T>) -> Self {
        Self::Closed(error.0)
    }
}

/// Why no message was received at once.
///
/// ```
/// use multikernel_channels::{error::TryRecvError, spsc};
///
/// let (tx, mut rx) = spsc::channel::<u8>(1);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty)); // look later
/// drop(tx);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed)); // nothing will come
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing waits now; more may come.
    Empty,
    /// Nothing waits, and nothing will come.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the channel is empty",
            Self::Closed => CLOSED,
        })
    }
}

impl Error for TryRecvError {}
