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
