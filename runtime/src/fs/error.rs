//! What can go wrong with a shared file.

use std::fmt;
use std::io;

use super::table::{FileTable, Refusal};
use crate::machine::CoreId;
use multikernel_replicate::ProposeError;

/// An operation on a file failed.
///
/// # Examples
///
/// ```
/// use multikernel::fs::{FileError, SharedFile};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// let file = SharedFile::open("/proc/self/exe", &options).await?;
/// let written = file.write_at(b"x".to_vec(), 0).await;
/// assert!(matches!(written.result, Err(FileError::Io(_)))); // opened for reading only
///
/// file.close().await?;
/// let read = file.read_at(written.buffer.unwrap(), 0).await;
/// assert!(matches!(read.result, Err(FileError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum FileError {
    /// The file is closed, or was opened by another Machine. Nothing was done.
    Closed,
    /// What the system says.
    Io(io::Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Closed => f.write_str("the file is closed"),
            FileError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FileError::Closed => None,
            FileError::Io(error) => Some(error),
        }
    }
}

/// Closed is what a descriptor that is closed gives: `EBADF`.
impl From<FileError> for io::Error {
    fn from(error: FileError) -> io::Error {
        match error {
            FileError::Closed => io::Error::from_raw_os_error(libc::EBADF),
            FileError::Io(error) => error,
        }
    }
}

/// A file could not be opened. No core has it.
///
/// # Examples
///
/// ```
/// use multikernel::fs::{OpenError, SharedFile};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// match SharedFile::open("/no/such/file", &options).await {
///     Err(OpenError::Io(error)) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
///     other => panic!("{other:?}"),
/// }
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The system does not open it, or it is nothing that has offsets: a pipe, a socket.
    Io(io::Error),
    /// A core has no place for one more file.
    Full {
        /// That core.
        by: CoreId,
        /// How many it takes, those included that are closed and still have operations in flight.
        limit: usize,
    },
    /// The io_uring of a core refuses to register it.
    Register {
        /// That core.
        by: CoreId,
        /// Why.
        error: io::Error,
    },
    /// The Machine is ending, or the core that was asked has died: then it may be open until the Machine ends.
    Ended,
}

impl OpenError {
    pub(super) fn of(error: ProposeError<FileTable>) -> Self {
        match error {
            ProposeError::Refused { by, reason, .. } => match *reason {
                Refusal::Full { limit } => OpenError::Full { by, limit },
                Refusal::System(errno) => {
                    OpenError::Register { by, error: io::Error::from_raw_os_error(errno) }
                }
                Refusal::Closed | Refusal::Busy { .. } => OpenError::Ended,
            },
            _ => OpenError::Ended,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => error.fmt(f),
            OpenError::Full { by, limit } => write!(f, "{by} has {limit} files already, and takes no more"),
            OpenError::Register { by, error } => write!(f, "{by} could not register the file: {error}"),
            OpenError::Ended => f.write_str("the runtime is ending, or the core that was asked has died"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io(error) | OpenError::Register { error, .. } => Some(error),
            OpenError::Full { .. } | OpenError::Ended => None,
        }
    }
}

/// A file could not be closed.
///
/// # Examples
///
/// ```
/// use multikernel::fs::{CloseError, SharedFile};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// let file = SharedFile::open("/proc/self/exe", &options).await?;
/// file.close().await?;
/// assert_eq!(file.close().await, Err(CloseError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseError {
    /// Operations are in flight, which [`try_close`](super::SharedFile::try_close) does not wait for. The file is as before.
    Busy {
        /// A core that has some.
        core: CoreId,
        /// How many it has.
        in_flight: u32,
    },
    /// It is closed already, or was opened by another Machine.
    Closed,
    /// The Machine is ending, or the core that was asked has died: then it may be closed or not.
    Ended,
}

impl CloseError {
    pub(super) fn of(error: ProposeError<FileTable>) -> Self {
        match error {
            ProposeError::Refused { by, reason, .. } => match *reason {
                Refusal::Busy { in_flight } => CloseError::Busy { core: by, in_flight },
                _ => CloseError::Closed,
            },
            _ => CloseError::Ended,
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseError::Busy { core, in_flight } => {
                write!(f, "{core} has {in_flight} operations in flight on the file")
            }
            CloseError::Closed => f.write_str("the file is closed already"),
            CloseError::Ended => f.write_str("the runtime is ending, or the core that was asked has died"),
        }
    }
}

impl std::error::Error for CloseError {}
