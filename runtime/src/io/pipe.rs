//! Pipes, through which the system moves bytes from one socket to another without copying them, and the buffers that
//! copies use otherwise. Each core keeps a few of both: a copy needs one only while bytes are in it.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use crate::limits::{COPY_BYTES, PIPE_BYTES, SPARE_PIPES};
use crate::net::pipe_io;

#[derive(Default)]
pub(super) struct Spares {
    pub(super) pipes: Vec<Ends>,
    pub(super) buffers: Vec<Box<[u8]>>,
}

crate::core_local! {
    pub(super) static SPARES: RefCell<Spares> = RefCell::default();
}

/// Both ends of a pipe, non-blocking.
pub(super) struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Ends {
    fn open() -> io::Result<Ends> {
        let [reader, writer] = pipe_io::open()?;
        Ok(Ends { reader, writer })
    }
}

/// A pipe on loan. Dropped empty, it is kept for the next copy on this core; with bytes in it, it is closed.
pub(super) struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

impl Pipe {
    pub(super) fn take() -> io::Result<Pipe> {
        let spare = SPARES.try_with(|spares| spares.borrow_mut().pipes.pop()).flatten();
        let ends = spare.map_or_else(Ends::open, Ok)?;
        Ok(Pipe { ends: Some(ends), held: 0 })
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("they are there until it is dropped")
    }

    /// Bytes in the pipe.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves what a socket has received into the pipe, which must be empty. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of splice(2). As the pipe is empty, `WouldBlock` means that the socket is.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0);
        self.held = splice(from.as_raw_fd(), self.ends().writer.as_raw_fd(), PIPE_BYTES)?;
        Ok(self.held)
    }

    /// Moves bytes from the pipe into a socket, as many as it takes. Not for an empty pipe.
    ///
    /// # Errors
    ///
    /// Those of splice(2). As the pipe is not empty, `WouldBlock` means that the socket has no room.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        // No more than there is: else the system would hold the last packet back and wait for the rest.
        let moved = splice(self.ends().reader.as_raw_fd(), to.as_raw_fd(), self.held)?;
        self.held -= moved;
        Ok(moved)
    }

    /// Reads out what is in the pipe.
    pub(super) fn rescue(&mut self) -> io::Result<Box<[u8]>> {
        let mut bytes = vec![0; self.held].into_boxed_slice();
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            // SAFETY: pointer and length are those of a live, writable slice.
            let got = check(unsafe {
                libc::read(self.ends().reader.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len())
            });
            match got {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => done += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.held = 0;
        Ok(bytes)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take().filter(|_| self.held == 0) else { return };
        SPARES.try_with(|spares| {
            let pipes = &mut spares.borrow_mut().pipes;
            if pipes.len() < SPARE_PIPES {
                pipes.push(ends);
            }
        });
    }
}

/// A buffer of `size`; its content is anything.
pub(super) fn take_buffer(size: usize) -> Box<[u8]> {
    let spare = match size {
        COPY_BYTES => SPARES.try_with(|spares| spares.borrow_mut().buffers.pop()).flatten(),
        _ => None,
    };
    spare.unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

/// Keeps a buffer for the next [`take_buffer`].
pub(super) fn keep_buffer(buffer: Box<[u8]>) {
    if buffer.len() == COPY_BYTES {
        SPARES.try_with(|spares| {
            let buffers = &mut spares.borrow_mut().buffers;
            if buffers.len() < SPARE_PIPES {
                buffers.push(buffer);
            }
        });
    }
}

/// Whether a read would find bytes.
pub(super) fn has_bytes(socket: BorrowedFd<'_>) -> bool {
    let mut byte = 0_u8;
    let room = ptr::from_mut(&mut byte).cast();
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: there is room for one byte.
    unsafe { libc::recv(socket.as_raw_fd(), room, 1, flags) > 0 }
}

/// True when a write to a peer that is gone would end the process: splice(2) cannot be told to leave the signal out.
pub(super) fn broken_pipes_kill() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: changes nothing, and there is room for the answer.
    let asked = unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call has filled it in.
    asked != 0 || unsafe { action.assume_init() }.sa_sigaction == libc::SIG_DFL
}

fn splice(from: i32, to: i32, length: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: takes no offsets, and so no pointers.
    check(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), length, flags) })
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
