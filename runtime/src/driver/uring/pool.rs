//! The buffers that all streaming sockets of a core share: Linux takes a free one for each piece it receives.

use std::io;
use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use super::super::recv_buf::{RecvBuf, Region};
use crate::context::CoreUid;
use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_LOW};

/// The pool's name among the ring's buffer groups; it is the only one.
pub(super) const GROUP: u16 = 0;

/// A filled buffer that nobody holds yet. Whoever takes it out of its queue lends it out or gives it back.
#[derive(Debug)]
pub(in super::super) struct Chunk {
    id: u16,
    /// What was read from it already.
    start: u16,
    end: u16,
}

pub(in super::super) struct Pool {
    region: Arc<Region>,
    /// Where the next free buffer is listed.
    tail: u16,
    /// Where Linux was told that the list ends.
    published: u16,
    /// Buffers in the list, as far as completions have told.
    free: u16,
}

impl Pool {
    /// Maps the memory and registers it with `ring`.
    pub(super) fn open(ring: &IoUring, home: CoreUid) -> io::Result<Pool> {
        let region = Region::map(home)?;
        let mut pool = Pool { region, tail: 0, published: 0, free: 0 };
        for id in 0..RECEIVE_BUFFERS {
            pool.give_back(id);
        }
        let address = pool.region.ring().as_ptr() as u64;
        // SAFETY: the memory stays mapped until the group is unregistered or, when that fails, for good: `Pool::close`
        // and `Pool::leak` see to it.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(address, RECEIVE_BUFFERS, GROUP, 0)?;
        }
        pool.publish();
        Ok(pool)
    }

    /// Linux may fill buffers for another socket without running out at once.
    pub(super) fn has_plenty(&self) -> bool {
        self.free >= RECEIVE_BUFFERS_LOW
    }

    #[cfg(test)]
    pub(in super::super) fn free(&self) -> u16 {
        self.free
    }

    pub(in super::super) fn is(&self, region: &Arc<Region>) -> bool {
        Arc::ptr_eq(&self.region, region)
    }

    /// Linux has filled buffer `id` with `length` bytes, and it is ours again.
    pub(super) fn filled(&mut self, id: u16, length: usize) -> Chunk {
        assert!(id < RECEIVE_BUFFERS && length <= RECEIVE_BUFFER_BYTES);
        self.free -= 1;
        Chunk { id, start: 0, end: length as u16 }
    }

    /// Lists buffer `id` as free; Linux learns of it with [`Pool::publish`].
    pub(in super::super) fn give_back(&mut self, id: u16) {
        let at = self.tail & (RECEIVE_BUFFERS - 1);
        let mut entry: NonNull<BufRingEntry> = self.region.ring().cast();
        // SAFETY: the ring has `RECEIVE_BUFFERS` entries and lies page-aligned in the mapping. Linux reads no entry
        // from the published tail on, and since no more buffers exist than entries, this one is beyond it. The setters
        // leave alone the word of entry 0 that is the tail.
        let entry = unsafe {
            entry = entry.add(usize::from(at));
            entry.as_mut()
        };
        entry.set_addr(self.region.buffer(id).as_ptr() as u64);
        entry.set_len(RECEIVE_BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    pub(in super::super) fn give_back_chunk(&mut self, chunk: Chunk) {
        self.give_back(chunk.id);
    }

    /// Shows Linux the buffers given back since the last time.
    pub(super) fn publish(&mut self) {
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        // SAFETY: entry 0 is a valid entry in the mapping (zeroes at first).
        let tail = unsafe { BufRingEntry::tail(self.region.ring().cast().as_ptr()) };
        // SAFETY: an aligned 16-bit word in writable memory, which nobody else writes and everybody accesses
        // atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: pairs with the acquire load of the tail in Linux, which then reads whole entries.
        tail.store(self.tail, Ordering::Release);
    }

    pub(in super::super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let (start, end) = (usize::from(chunk.start), usize::from(chunk.end));
        // SAFETY: the chunk is filled up to `end`, not listed as free, and cannot be given back or lent out while it
        // is borrowed.
        unsafe { std::slice::from_raw_parts(self.region.buffer(chunk.id).add(start).as_ptr(), end - start) }
    }

    pub(in super::super) fn lend(&self, chunk: Chunk) -> RecvBuf {
        // SAFETY: a chunk is a filled buffer that is in nobody's use, and it ends here.
        unsafe { RecvBuf::shared(self.region.clone(), chunk.id, chunk.start, chunk.end) }
    }

    /// Takes the buffers from the ring. No receive may be at work.
    pub(super) fn close(self, ring: &IoUring) {
        if let Err(error) = ring.submitter().unregister_buf_ring(GROUP) {
            tracing::warn!(%error, "receive buffers stay registered");
            self.leak();
        }
    }

    /// Linux may still write to the buffers.
    pub(super) fn leak(self) {
        mem::forget(self.region);
    }
}

impl Chunk {
    pub(in super::super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// `count` more bytes of it were read.
    pub(in super::super) fn advance(&mut self, count: usize) {
        self.start += u16::try_from(count).expect("no more than a buffer has");
        assert!(self.start <= self.end);
    }
}
