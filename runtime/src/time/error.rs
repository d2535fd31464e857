//! Errors of this module.

use std::{error, fmt, io};

/// A [`Timeout`](super::Timeout) whose deadline passed before its future completed.
///
/// Converts into an [`io::Error`] of kind [`TimedOut`](io::ErrorKind::TimedOut), so `?` works in I/O code.
///
/// # Examples
///
/// ```
/// use multikernel::time::{Duration, timeout};
///
/// # multikernel::runtime::Builder::new().run(|| async {
/// async fn read_header() -> std::io::Result<()> {
///     timeout(Duration::from_millis(1), std::future::pending()).await?
/// }
/// assert_eq!(read_header().await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
/// # }).unwrap();
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl Elapsed {
    pub(super) fn new() -> Elapsed {
        Elapsed(())
    }
}

/// What tokio's timers may fail with. Ours do not fail, so nothing here returns it: it is for programs that name the type, or that
/// have it among errors of their own.
///
/// # Examples
///
/// ```
/// use multikernel::time::error::Error;
///
/// let full = Error::at_capacity();
/// assert!(full.is_at_capacity() && !full.is_shutdown());
/// assert_eq!(full.to_string(), "there is no room for another timer");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Error(Cause);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Shutdown,
    AtCapacity,
    Invalid,
}

impl Error {
    /// There are no timers any more.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(multikernel::time::error::Error::shutdown().is_shutdown());
    /// ```
    pub fn shutdown() -> Error {
        Error(Cause::Shutdown)
    }

    /// There is no room for another timer.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(multikernel::time::error::Error::at_capacity().is_at_capacity());
    /// ```
    pub fn at_capacity() -> Error {
        Error(Cause::AtCapacity)
    }

    /// The deadline is one that no timer can have.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(multikernel::time::error::Error::invalid().is_invalid());
    /// ```
    pub fn invalid() -> Error {
        Error(Cause::Invalid)
    }

    /// Whether it is [`shutdown`](Self::shutdown).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!multikernel::time::error::Error::invalid().is_shutdown());
    /// ```
    pub fn is_shutdown(&self) -> bool {
        self.0 == Cause::Shutdown
    }

    /// Whether it is [`at_capacity`](Self::at_capacity).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!multikernel::time::error::Error::invalid().is_at_capacity());
    /// ```
    pub fn is_at_capacity(&self) -> bool {
        self.0 == Cause::AtCapacity
    }

    /// Whether it is [`invalid`](Self::invalid).
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!multikernel::time::error::Error::shutdown().is_invalid());
    /// ```
    pub fn is_invalid(&self) -> bool {
        self.0 == Cause::Invalid
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Cause::Shutdown => "there are no timers any more",
            Cause::AtCapacity => "there is no room for another timer",
            Cause::Invalid => "no timer can have this deadline",
        })
    }
}

impl error::Error for Error {}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
