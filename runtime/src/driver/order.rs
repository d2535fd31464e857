//! What the system is asked to do with a file, and how a thread that may block does it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where a transfer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Offset(u64),
    /// At the file's own position, which moves along.
    Position,
}

/// The memory belongs to whoever made it.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// `ring` is the core whose ring knows the memory already, 0 for none.
    Read {
        to: *mut u8,
        length: u32,
        at: At,
        ring: u64,
    },
    Write {
        from: *const u8,
        length: u32,
        at: At,
        ring: u64,
    },
    ReadVectored {
        to: *const libc::iovec,
        count: u32,
        offset: u64,
    },
    WriteVectored {
        from: *const libc::iovec,
        count: u32,
        offset: u64,
    },
    Sync {
        data_only: bool,
    },
    Truncate {
        length: u64,
    },
    Allocate {
        mode: i32,
        offset: u64,
        length: u64,
    },
}

impl Order {
    /// Beyond what pread(2) and the others take. A ring would take the last of all offsets for the file's own position.
    pub(super) fn is_beyond(self) -> bool {
        let is_beyond = |number: u64| i64::try_from(number).is_err();
        match self {
            Order::Read { at: At::Offset(offset), .. } | Order::Write { at: At::Offset(offset), .. } => {
                is_beyond(offset)
            }
            Order::ReadVectored { offset, .. } | Order::WriteVectored { offset, .. } => is_beyond(offset),
            Order::Truncate { length } => is_beyond(length),
            Order::Allocate { offset, length, .. } => is_beyond(offset) || is_beyond(length),
            Order::Read { .. } | Order::Write { .. } | Order::Sync { .. } => false,
        }
    }

    /// A ring's error that may only say that the ring does not do this: before Linux 6.9 none could truncate. A call tells.
    pub(super) fn is_left_to_a_call(self, errno: i32) -> bool {
        matches!(self, Order::Truncate { .. } | Order::Allocate { .. })
            && matches!(errno, libc::EINVAL | libc::EOPNOTSUPP)
    }

    /// Does it now, on this thread.
    ///
    /// # Safety
    ///
    /// The memory must be valid, and used by nobody else, during the call.
    pub(crate) unsafe fn call(self, file: BorrowedFd<'_>) -> io::Result<usize> {
        loop {
            // SAFETY: the caller's promise.
            let result = unsafe { self.attempt(file.as_raw_fd()) };
            match usize::try_from(result) {
                Ok(count) => return Ok(count),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// # Safety
    ///
    /// As for [`call`](Self::call).
    unsafe fn attempt(self, fd: i32) -> isize {
        // SAFETY: the caller's promise about the memory; the descriptor is open.
        unsafe {
            match self {
                Order::Read { to, length, at: At::Offset(offset), .. } => {
                    libc::pread64(fd, to.cast(), length as usize, offset as i64)
                }
                Order::Read { to, length, at: At::Position, .. } => {
                    libc::read(fd, to.cast(), length as usize)
                }
                Order::Write { from, length, at: At::Offset(offset), .. } => {
                    libc::pwrite64(fd, from.cast(), length as usize, offset as i64)
                }
                Order::Write { from, length, at: At::Position, .. } => {
                    libc::write(fd, from.cast(), length as usize)
                }
                Order::ReadVectored { to, count, offset } => {
                    libc::preadv64(fd, to, count as i32, offset as i64)
                }
                Order::WriteVectored { from, count, offset } => {
                    libc::pwritev64(fd, from, count as i32, offset as i64)
                }
                Order::Sync { data_only: true } => libc::fdatasync(fd) as isize,
                Order::Sync { data_only: false } => libc::fsync(fd) as isize,
                Order::Truncate { length } => libc::ftruncate64(fd, length as i64) as isize,
                Order::Allocate { mode, offset, length } => {
                    libc::fallocate64(fd, mode, offset as i64, length as i64) as isize
                }
            }
        }
    }
}
