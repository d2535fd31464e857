//! What operations on files do, each with the buffer it owns.

use std::task::Waker;

use super::buffer::StableBufMut;
use crate::driver::{At, Order, StableBuf, Work, parcel};
use crate::limits::{BUFFERS_PER_CALL, LONGEST_TRANSFER};

fn length(length: usize) -> u32 {
    length.min(LONGEST_TRANSFER) as u32
}

/// Fills a buffer from `start` on.
pub(super) struct Read<B> {
    pub(super) buffer: B,
    pub(super) start: usize,
    pub(super) at: At,
}

impl<B> Read<B> {
    pub(super) fn new(buffer: B, at: At) -> Self {
        Read { buffer, start: 0, at }
    }
}

// SAFETY: by the rules of `StableBufMut`; `start` is no more than has been read into the space.
unsafe impl<B: StableBufMut> Work for Read<B> {
    fn order(&mut self) -> Order {
        let ring = self.buffer.ring();
        let (to, most) = self.buffer.space();
        // SAFETY: within the space.
        let to = unsafe { to.add(self.start) };
        Order::Read { to, length: length(most - self.start), at: self.at, ring }
    }

    unsafe fn done(&mut self, count: usize) {
        self.start += count;
        // SAFETY: so many bytes have been read one after the other, and no more than were asked for.
        unsafe { self.buffer.filled(self.start) };
    }

    fn into_parcel(self) -> Waker {
        parcel(self.buffer)
    }
}

/// Writes a buffer from `start` on.
pub(super) struct Write<B> {
    pub(super) buffer: B,
    pub(super) start: usize,
    pub(super) at: At,
}

impl<B> Write<B> {
    pub(super) fn new(buffer: B, at: At) -> Self {
        Write { buffer, start: 0, at }
    }
}

impl<B: StableBuf> Write<B> {
    fn give(&self) -> Order {
        let rest = &self.buffer.bytes()[self.start..];
        Order::Write {
            from: rest.as_ptr(),
            length: length(rest.len()),
            at: self.at,
            ring: self.buffer.ring(),
        }
    }
}

// SAFETY: by the rules of `StableBuf`. It is only read from.
unsafe impl<B: StableBuf> Work for Write<B> {
    fn order(&mut self) -> Order {
        self.give()
    }

    unsafe fn done(&mut self, count: usize) {
        self.start += count;
    }

    fn into_parcel(self) -> Waker {
        parcel(self.buffer)
    }
}

/// A write that goes on when nobody waits for it any more: what a stream was given, it writes.
pub(super) struct Put(pub(super) Write<Vec<u8>>);

// SAFETY: as for `Write`.
unsafe impl Work for Put {
    const GOES_ON: bool = true;

    fn order(&mut self) -> Order {
        self.0.give()
    }

    unsafe fn done(&mut self, count: usize) {
        self.0.start += count;
    }

    fn into_parcel(self) -> Waker {
        parcel(self.0.buffer)
    }
}

/// Reads up to so many bytes, into memory that is kept for that.
pub(super) struct Take {
    pub(super) bytes: Vec<u8>,
    pub(super) most: usize,
    pub(super) at: At,
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl Work for Take {
    fn order(&mut self) -> Order {
        self.bytes.clear();
        self.bytes.reserve(self.most);
        Order::Read { to: self.bytes.as_mut_ptr(), length: length(self.most), at: self.at, ring: 0 }
    }

    unsafe fn done(&mut self, count: usize) {
        // SAFETY: so many bytes have been read, of the `most` for which there is room.
        unsafe { self.bytes.set_len(count) };
    }

    fn into_parcel(self) -> Waker {
        parcel(self.bytes)
    }
}

/// Pieces of memory, as the system wants to be told of them.
struct Pieces(Vec<libc::iovec>);

// SAFETY: addresses of memory that the buffers beside it own, and that is `Send` and `Sync` as they are.
unsafe impl Send for Pieces {}
// SAFETY: as above.
unsafe impl std::marker::Sync for Pieces {}

/// Fills several buffers, one after the other.
pub(super) struct ReadVectored<B> {
    pub(super) buffers: Vec<B>,
    pieces: Pieces,
    offset: u64,
}

impl<B: StableBufMut> ReadVectored<B> {
    pub(super) fn new(mut buffers: Vec<B>, offset: u64) -> Self {
        let piece = |buffer: &mut B| {
            let (base, length) = buffer.space();
            libc::iovec { iov_base: base.cast(), iov_len: length }
        };
        let pieces = buffers.iter_mut().take(BUFFERS_PER_CALL).map(piece).collect();
        ReadVectored { buffers, pieces: Pieces(pieces), offset }
    }
}

// SAFETY: by the rules of `StableBufMut` for each buffer; the list is on the heap, and kept with them.
unsafe impl<B: StableBufMut> Work for ReadVectored<B> {
    fn order(&mut self) -> Order {
        let Pieces(pieces) = &self.pieces;
        Order::ReadVectored { to: pieces.as_ptr(), count: pieces.len() as u32, offset: self.offset }
    }

    unsafe fn done(&mut self, count: usize) {
        let mut left = count;
        let Pieces(pieces) = &self.pieces;
        for (buffer, piece) in self.buffers.iter_mut().zip(pieces) {
            let part = left.min(piece.iov_len);
            // SAFETY: they are filled in order, each to its end before the next.
            unsafe { buffer.filled(part) };
            left -= part;
        }
    }

    fn into_parcel(self) -> Waker {
        parcel((self.buffers, self.pieces))
    }
}

/// Writes several buffers, one after the other.
pub(super) struct WriteVectored<B> {
    pub(super) buffers: Vec<B>,
    pieces: Pieces,
    offset: u64,
}

impl<B: StableBuf> WriteVectored<B> {
    pub(super) fn new(buffers: Vec<B>, offset: u64) -> Self {
        let piece = |buffer: &B| {
            let bytes = buffer.bytes();
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
        };
        let pieces = buffers.iter().take(BUFFERS_PER_CALL).map(piece).collect();
        WriteVectored { buffers, pieces: Pieces(pieces), offset }
    }
}

// SAFETY: by the rules of `StableBuf` for each buffer, which are only read from; the list is on the heap, and kept with them.
unsafe impl<B: StableBuf> Work for WriteVectored<B> {
    fn order(&mut self) -> Order {
        let Pieces(pieces) = &self.pieces;
        Order::WriteVectored { from: pieces.as_ptr(), count: pieces.len() as u32, offset: self.offset }
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        parcel((self.buffers, self.pieces))
    }
}

/// What needs no memory.
macro_rules! bare {
    ($name:ty, $this:ident => $order:expr) => {
        // SAFETY: there is no memory.
        unsafe impl Work for $name {
            fn order(&mut self) -> Order {
                let $this = self;
                $order
            }

            unsafe fn done(&mut self, _: usize) {}

            fn into_parcel(self) -> Waker {
                Waker::noop().clone()
            }
        }
    };
}

pub(super) struct Sync {
    pub(super) data_only: bool,
}

pub(super) struct Truncate {
    pub(super) length: u64,
}

pub(super) struct Allocate {
    pub(super) offset: u64,
    pub(super) length: u64,
}

bare!(Sync, this => Order::Sync { data_only: this.data_only });
bare!(Truncate, this => Order::Truncate { length: this.length });
bare!(Allocate, this => Order::Allocate { mode: 0, offset: this.offset, length: this.length });
