//! One direction of a copy between two of our streams.
//!
//! It begins with a buffer. When that comes back full, there is a lot to move, and a pipe does it without copying;
//! when the pieces are small again, the buffer costs less. Nothing is read while anything is held, so what is in flight
//! is bounded by one buffer or one pipe, and a slow receiver slows the sender down. While nothing is in flight, a
//! direction holds neither.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::Interest;
use super::pipe::{Pipe, broken_pipes_kill, has_bytes, keep_buffer, take_buffer};
use crate::compat::tokio::poll_read;
use crate::limits::{COPY_BYTES, COPY_BYTES_PER_POLL, PIPE_PATIENCE, SMALL_PIECES};
use crate::net::StreamIo;

pub(super) struct Pump {
    /// Bytes read at once into a buffer.
    size: usize,
    buffer: Option<Buffer>,
    pipe: Option<Pipe>,
    way: Way,
    /// Full buffers that are wanted before the next pipe; `None` once the system has refused to splice.
    patience: Option<u16>,
    copied: u64,
    ended: bool,
}

/// Bytes that were read and have to be written.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// How the next bytes are read.
enum Way {
    Buffer,
    Pipe {
        /// Pieces in a row that a buffer would have held.
        small: u8,
    },
}

impl Pump {
    pub(super) fn new(size: usize) -> Pump {
        Pump { size, buffer: None, pipe: None, way: Way::Buffer, patience: Some(1), copied: 0, ended: false }
    }

    /// Moves bytes until `from` ends, and says how many have been written to `to`.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &StreamIo,
        to: &StreamIo,
    ) -> Poll<io::Result<u64>> {
        let enough = self.copied + COPY_BYTES_PER_POLL as u64;
        loop {
            ready!(self.poll_write(cx, to))?;
            if self.ended {
                self.release();
                return Poll::Ready(Ok(self.copied));
            }
            if self.copied >= enough {
                self.release();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let read = match self.way {
                Way::Buffer => self.poll_read(cx, from),
                Way::Pipe { .. } => self.poll_fill(cx, from),
            };
            if read.is_pending() {
                self.release();
            }
            ready!(read)?;
        }
    }

    #[cfg(test)]
    pub(super) fn held_in_pipe(&self) -> usize {
        self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Writes all that is held.
    fn poll_write(&mut self, cx: &mut Context<'_>, to: &StreamIo) -> Poll<io::Result<()>> {
        loop {
            let moved = if let Some(buffer) = self.buffer.as_mut().filter(|buffer| buffer.start < buffer.end)
            {
                let moved = ready!(to.poll_write(cx, &buffer.bytes[buffer.start..buffer.end]))?;
                buffer.start += moved;
                moved
            } else if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
                match ready!(to.source().poll_io(cx, Interest::WRITABLE, || pipe.drain(to.as_fd()))) {
                    Err(error) if is_refusal(&error) => {
                        // The bytes are read already: they take the other way.
                        let bytes = pipe.rescue()?;
                        self.buffer = Some(Buffer { start: 0, end: bytes.len(), bytes });
                        self.refused();
                        continue;
                    }
                    drained => drained?,
                }
            } else {
                return Poll::Ready(Ok(()));
            };
            if moved == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.copied += moved as u64;
        }
    }

    /// Reads into the buffer, which is empty.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &StreamIo) -> Poll<io::Result<()>> {
        let buffer = buffer(&mut self.buffer, self.size);
        let mut room = ReadBuf::new(&mut buffer.bytes);
        ready!(poll_read(from, cx, &mut room))?;
        let got = room.filled().len();
        (buffer.start, buffer.end) = (0, got);
        self.ended = got == 0;
        if got >= self.large()
            && let Some(patience) = &mut self.patience
        {
            *patience = patience.saturating_sub(1);
            if *patience == 0 {
                self.enter_pipe();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads into the pipe, which is empty; first what was received ahead of us, into the buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>, from: &StreamIo) -> Poll<io::Result<()>> {
        let ahead = buffer(&mut self.buffer, self.size);
        let left_over = from.source().poll_left_over(cx, |bytes| {
            let count = bytes.len().min(ahead.bytes.len());
            ahead.bytes[..count].copy_from_slice(&bytes[..count]);
            (ahead.start, ahead.end) = (0, count);
            count
        });
        if let Some(result) = ready!(left_over) {
            return Poll::Ready(result);
        }
        if self.pipe.is_none() {
            let Ok(pipe) = Pipe::take() else {
                // Descriptors or memory are short. The buffer does as well.
                self.leave_pipe(PIPE_PATIENCE);
                return Poll::Ready(Ok(()));
            };
            self.pipe = Some(pipe);
        }
        let pipe = self.pipe.as_mut().expect("just made sure of");
        let filled = from.source().poll_io(cx, Interest::READABLE, || match pipe.fill(from.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && has_bytes(from.as_fd()) => Ok(None),
            filled => filled.map(Some),
        });
        match ready!(filled) {
            Ok(Some(got)) => self.found(got),
            // Bytes that splice(2) does not see: urgent data is in the way. A plain read gets past it.
            Ok(None) => self.leave_pipe(1),
            Err(error) if is_refusal(&error) => self.refused(),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }

    /// From so many bytes at once on, a pipe costs less.
    fn large(&self) -> usize {
        self.size.min(COPY_BYTES)
    }

    fn found(&mut self, got: usize) {
        self.ended = got == 0;
        let large = self.large();
        let Way::Pipe { small } = &mut self.way else { return };
        *small = if got < large { *small + 1 } else { 0 };
        if *small == SMALL_PIECES {
            self.leave_pipe(1);
        }
    }

    fn enter_pipe(&mut self) {
        if broken_pipes_kill() {
            self.patience = None;
        } else {
            self.way = Way::Pipe { small: 0 };
        }
    }

    fn leave_pipe(&mut self, patience: u16) {
        self.way = Way::Buffer;
        self.patience = self.patience.map(|_| patience);
    }

    /// These two sockets, or this process, cannot splice.
    fn refused(&mut self) {
        self.leave_pipe(0);
        self.patience = None;
    }

    /// Nothing is held: others may have the buffer and the pipe.
    fn release(&mut self) {
        self.pipe = None;
        if let Some(buffer) = self.buffer.take() {
            keep_buffer(buffer.bytes);
        }
    }
}

/// The buffer of a pump that holds nothing.
fn buffer(slot: &mut Option<Buffer>, size: usize) -> &mut Buffer {
    if slot.as_ref().is_some_and(|buffer| buffer.bytes.len() != size) {
        *slot = None; // it was filled by a rescue
    }
    slot.get_or_insert_with(|| Buffer { bytes: take_buffer(size), start: 0, end: 0 })
}

/// The answers of a system, a sandbox or a socket that does not splice. None of them loses bytes.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EOPNOTSUPP)
    )
}
