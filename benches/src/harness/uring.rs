//! What the client and the hand-written server both need of io_uring: a ring set up for one thread, a push that
//! makes room for itself, and a pool of provided buffers.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue::Entry;
use io_uring::types::BufRingEntry;
use io_uring::{IoUring, cqueue};

/// The buffer group all rings here use.
pub const GROUP: u16 = 0;

/// A ring for one thread that enters once per batch.
///
/// # Errors
/// Whatever io_uring_setup(2) refuses with.
pub fn ring(entries: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(entries * 4)
        .build(entries)
}

/// Queues `entry`, submitting what is queued when there is no room.
///
/// # Errors
/// Whatever io_uring_enter(2) refuses with.
///
/// # Safety
/// Memory and descriptors that `entry` names stay valid until its last completion.
pub unsafe fn push(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    loop {
        // SAFETY: passed on to our caller.
        if unsafe { ring.submission().push(entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}

/// Buffers that the kernel picks from as data arrives.
///
/// The memory is never freed: closing a ring does not wait for what is in flight, so nothing could say when the
/// kernel has stopped writing. A process makes a handful of pools at most.
pub struct Pool {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    count: u16,
    size: usize,
    tail: u16,
}

/// Alignment that the kernel asks of the ring of entries.
#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

impl Pool {
    /// Gives `count` buffers (a power of two) of `size` bytes to `ring` as group [`GROUP`].
    ///
    /// # Errors
    /// Whatever io_uring_register(2) refuses with.
    pub fn register(ring: &IoUring, count: u16, size: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "a buffer ring's size is a power of two");
        let pages = |bytes: usize| vec![Page([0; 4096]); bytes.div_ceil(4096)].leak().as_mut_ptr();
        let entries: *mut BufRingEntry = pages(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let bytes: *mut u8 = pages(usize::from(count) * size).cast();
        // SAFETY: page-aligned memory for `count` entries, leaked above and so valid for as long as the ring lives.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, 0)? };
        let mut pool = Self { entries, bytes, count, size, tail: 0 };
        (0..count).for_each(|id| pool.give_back(id));
        pool.publish();
        Ok(pool)
    }

    /// The first `len` bytes of buffer `id`.
    ///
    /// # Safety
    /// A completion handed out `id` with at least `len` bytes, and it has not been given back since; it is not
    /// given back while the slice lives.
    #[must_use]
    pub unsafe fn bytes(&self, id: u16, len: usize) -> &[u8] {
        debug_assert!(id < self.count && len <= self.size);
        // SAFETY: in bounds by the kernel's word; the kernel does not write a buffer that it handed out.
        unsafe { std::slice::from_raw_parts(self.bytes.add(usize::from(id) * self.size), len) }
    }

    /// Puts buffer `id` back; the kernel sees it at the next [`publish`](Self::publish).
    pub fn give_back(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below `count`. The kernel reads entries between its head and the published tail only,
        // and with at most `count` buffers in existence this slot is outside of that.
        let entry = unsafe { &mut *self.entries.add(slot) };
        entry.set_addr(self.bytes as u64 + (usize::from(id) * self.size) as u64);
        entry.set_len(u32::try_from(self.size).expect("a buffer is smaller than 4 GiB"));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all buffers given back so far.
    pub fn publish(&self) {
        // SAFETY: the tail lies within the first entry, is aligned, and on our side only this thread touches it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries).cast_mut()) };
        // Release pairs with the kernel's acquire load of the tail: entries are written before they are seen.
        tail.store(self.tail, Ordering::Release);
    }
}

/// The buffer that a receive completion carries, if it carries one.
#[must_use]
pub fn buffer_of(entry: &cqueue::Entry) -> Option<u16> {
    cqueue::buffer_select(entry.flags())
}
