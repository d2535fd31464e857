//! What an [`AsyncFd`](super::unix::AsyncFd) could not do.

use std::error::Error;
use std::fmt;
use std::io;

/// A descriptor that cannot be waited for, and why.
///
/// # Examples
///
/// ```
/// use multikernel::io::unix::{AsyncFd, AsyncFdRegisterError};
/// use std::fs::File;
///
/// let refused: AsyncFdRegisterError<File> = AsyncFd::try_new(File::open("/proc/self/exe")?).unwrap_err();
/// let error: std::io::Error = refused.into();
/// assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
/// # std::io::Result::Ok(())
/// ```
pub struct AsyncFdRegisterError<T> {
    pub(super) inner: T,
    pub(super) cause: io::Error,
}

impl<T> AsyncFdRegisterError<T> {
    /// The value, and why it cannot be waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::io::unix::AsyncFd;
    /// let folder = std::fs::File::open("/")?;
    /// let (folder, error) = AsyncFd::try_new(folder).unwrap_err().into_parts();
    /// println!("{folder:?}: {error}");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_parts(self) -> (T, io::Error) {
        (self.inner, self.cause)
    }
}

impl<T> fmt::Display for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl<T> fmt::Debug for AsyncFdRegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncFdRegisterError").field(&self.cause).finish()
    }
}

impl<T> Error for AsyncFdRegisterError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

impl<T> From<AsyncFdRegisterError<T>> for io::Error {
    fn from(refused: AsyncFdRegisterError<T>) -> io::Error {
        refused.cause
    }
}

/// The attempt found nothing, and the guard's readiness is used up: wait again.
///
/// # Examples
///
/// ```
/// use multikernel::io::unix::TryIoError;
///
/// # use multikernel::io::unix::AsyncFd;
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
/// let socket = AsyncFd::new(ours)?;
/// let mut guard = socket.writable().await?;
/// let found = guard.try_io(|_| std::io::Result::<()>::Err(std::io::ErrorKind::WouldBlock.into()));
/// assert!(matches!(found, Err(TryIoError { .. })));
/// # drop(theirs);
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct TryIoError {}

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attempt found nothing")
    }
}

impl Error for TryIoError {}
