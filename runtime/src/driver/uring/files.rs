//! The ring's table of registered files, and operations on what is in it.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::Waker;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode};

use super::super::file::Target;
use super::super::open_op::OpenRequest;
use super::super::order::{At, Order};
use super::super::slots::Key;
use super::Uring;
use super::ops::Subject;
use super::token::Token;
use crate::context::CoreUid;
use crate::limits::FILES;

/// The one buffer that a ring has registered: all of its core's arena.
const ARENA: u16 = 0;

/// Made for the first file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Unmade,
    /// With so many places.
    Of(u32),
    /// This system has none (before Linux 5.19), or a sandbox refuses it. Operations name the descriptors.
    Refused,
}

impl Uring {
    /// Puts a file into the ring's table. False where it has no such place: then operations name the descriptor.
    pub(in super::super) fn register_file(&mut self, index: u32, file: RawFd) -> io::Result<bool> {
        if self.table == Table::Unmade {
            self.table = make_table(most_files(), |size| self.ring.submitter().register_files_sparse(size))?;
        }
        match self.table {
            Table::Of(size) if index < size => {
                self.ring.submitter().register_files_update(index, &[file])?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Empties a place of the table. Nothing names it any more.
    pub(in super::super) fn unregister_file(&mut self, index: u32) {
        if let Err(error) = empty(&self.ring, index) {
            // Its next file replaces it; until then the ring holds it open.
            tracing::warn!(%error, index, "io_uring keeps a file that is closed");
        }
    }

    /// Lets go of all files. Closing the ring would too, but some time later.
    pub(super) fn close_table(&self) {
        if matches!(self.table, Table::Of(_))
            && let Err(error) = self.ring.submitter().unregister_files()
        {
            tracing::debug!(%error, "files stay open until the ring is closed");
        }
    }

    /// Queues an operation on a file.
    ///
    /// # Safety
    ///
    /// The memory that `order` names must stay valid and alone in use until the operation is done, or for good. `target`
    /// must mean the same file until then.
    pub(in super::super) unsafe fn start_file(
        &mut self,
        target: Target,
        order: Order,
        home: CoreUid,
        subject: Subject,
        waker: Waker,
    ) -> Key {
        let (number, flags) = match target {
            Target::Registered(index) => (Fd(index as i32), Flags::FIXED_FILE),
            Target::Plain(fd) => (Fd(fd), Flags::empty()),
        };
        let entry = entry(number, order, |ring| self.arena && ring == home.0.get());
        self.start_op(subject, entry.flags(flags), waker)
    }

    /// Queues the opening of a file, which ends up in the request.
    pub(in super::super) fn start_open(&mut self, request: Arc<OpenRequest>, waker: Waker) -> Key {
        let open = opcode::OpenAt::new(Fd(libc::AT_FDCWD), request.path.as_ptr());
        let open = open.flags(request.flags).mode(request.mode).build();
        self.start_op(Subject::Opening(request), open, waker)
    }

    fn start_op(&mut self, subject: Subject, entry: Entry, waker: Waker) -> Key {
        let key = self.ops.start(subject, waker);
        self.in_flight += 1;
        self.push(entry.user_data(Token::Op(key).pack()));
        key
    }

    /// Makes memory known to the ring, so that it need not be looked up for each transfer.
    ///
    /// # Safety
    ///
    /// The memory stays valid until the ring is closed.
    pub(in super::super) unsafe fn register_arena(&mut self, memory: libc::iovec) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submitter().register_buffers(&[memory])? };
        self.arena = true;
        Ok(())
    }

    #[cfg(test)]
    pub(in super::super) fn refuse_registration(&mut self) {
        self.table = Table::Refused;
    }
}

/// `knows` says whether this ring has the memory of such a mark registered.
fn entry(file: Fd, order: Order, knows: impl Fn(u64) -> bool) -> Entry {
    // What stands for the file's own position.
    let place = |at| match at {
        At::Offset(offset) => offset,
        At::Position => u64::MAX,
    };
    match order {
        Order::Read { to, length, at, ring } if knows(ring) => {
            opcode::ReadFixed::new(file, to, length, ARENA).offset(place(at)).build()
        }
        Order::Read { to, length, at, .. } => opcode::Read::new(file, to, length).offset(place(at)).build(),
        Order::Write { from, length, at, ring } if knows(ring) => {
            opcode::WriteFixed::new(file, from, length, ARENA).offset(place(at)).build()
        }
        Order::Write { from, length, at, .. } => {
            opcode::Write::new(file, from, length).offset(place(at)).build()
        }
        Order::ReadVectored { to, count, offset } => {
            opcode::Readv::new(file, to, count).offset(offset).build()
        }
        Order::WriteVectored { from, count, offset } => {
            opcode::Writev::new(file, from, count).offset(offset).build()
        }
        Order::Sync { data_only: true } => opcode::Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        Order::Sync { data_only: false } => opcode::Fsync::new(file).build(),
        Order::Truncate { length } => opcode::Ftruncate::new(file, length).build(),
        Order::Allocate { mode, offset, length } => {
            opcode::Fallocate::new(file, length).offset(offset).mode(mode).build()
        }
    }
}

fn empty(ring: &IoUring, index: u32) -> io::Result<()> {
    ring.submitter().register_files_update(index, &[-1]).map(drop)
}

/// More places than the process may have descriptors are refused, and would be of no use.
fn most_files() -> u32 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to the structure only.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let most = if asked == 0 { limit.rlim_cur } else { u64::MAX };
    u32::try_from(most).unwrap_or(u32::MAX).min(FILES as u32)
}

/// Errors that tell of a system without such tables. Any other is one of today, and the caller's to report.
fn make_table(size: u32, ask: impl FnOnce(u32) -> io::Result<()>) -> io::Result<Table> {
    match ask(size) {
        Ok(()) => Ok(Table::Of(size)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM | libc::EACCES) => {
                tracing::debug!(%error, "no table of registered files");
                Ok(Table::Refused)
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_tables_is_told_from_one_that_is_out_of_memory() {
        let answer = |errno| make_table(8, |_| Err(io::Error::from_raw_os_error(errno)));
        for errno in [libc::EINVAL, libc::EPERM, libc::ENOSYS] {
            assert_eq!(answer(errno).unwrap(), Table::Refused);
        }
        for errno in [libc::ENOMEM, libc::EMFILE] {
            assert_eq!(answer(errno).unwrap_err().raw_os_error(), Some(errno));
        }
        assert_eq!(make_table(8, |_| Ok(())).unwrap(), Table::Of(8));
        assert!((1..=FILES as u32).contains(&most_files()));
    }
}
