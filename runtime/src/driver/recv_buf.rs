//! Received bytes, in one of a core's shared buffers or on the heap.

use std::fmt;
use std::io;
use std::mem;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::send::StableBuf;
use crate::context::{self, CoreUid};
use crate::limits::{RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS};

/// Bytes of all buffers of a region.
const BUFFERS_BYTES: usize = RECEIVE_BUFFERS as usize * RECEIVE_BUFFER_BYTES;
/// An entry of the ring by which Linux gets free buffers.
const RING_ENTRY_BYTES: usize = 16;
const REGION_BYTES: usize = BUFFERS_BYTES + RECEIVE_BUFFERS as usize * RING_ENTRY_BYTES;
/// The largest page of any Linux: the ring behind the buffers must start on a page.
const LARGEST_PAGE: usize = 64 * 1024;
const _: () = assert!(BUFFERS_BYTES.is_multiple_of(LARGEST_PAGE));

/// The memory of one core's shared buffers, and behind them the ring that lists the free ones. It lives as long as
/// the core's driver or any buffer in use.
pub(super) struct Region {
    base: NonNull<u8>,
    home: CoreUid,
}

// SAFETY: the region itself is an address and a number. Who may touch which bytes: a free buffer, and the ring, are
// touched by Linux and the home's driver alone; a filled one by its one `RecvBuf` or the home's driver.
unsafe impl Send for Region {}
// SAFETY: as above; nothing is written through a shared region.
unsafe impl Sync for Region {}

impl Region {
    pub(super) fn map(home: CoreUid) -> io::Result<Arc<Region>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at an address of the system's choice, harms nobody.
        let base = unsafe {
            libc::mmap(ptr::null_mut(), REGION_BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>()).expect("a mapping is never at address 0");
        let region = Region { base, home };
        // A forked child must not make these pages copy-on-write: Linux would keep the old ones.
        // SAFETY: exactly the mapping made above.
        if unsafe { libc::madvise(base.as_ptr().cast(), REGION_BYTES, libc::MADV_DONTFORK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Arc::new(region))
    }

    pub(super) fn buffer(&self, id: u16) -> NonNull<u8> {
        assert!(id < RECEIVE_BUFFERS);
        // SAFETY: the buffer with this number lies within the mapping.
        unsafe { self.base.add(usize::from(id) * RECEIVE_BUFFER_BYTES) }
    }

    pub(super) fn ring(&self) -> NonNull<u8> {
        // SAFETY: the ring lies behind the buffers, within the mapping.
        unsafe { self.base.add(BUFFERS_BYTES) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `map`; this was the last reference, so no buffer is in use any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), REGION_BYTES) };
    }
}

/// Bytes that were received from a socket, at most 4096 of them; empty at the end of the stream.
///
/// On io_uring the bytes lie in one of the 128 buffers that a core's sockets share, so they were not copied. Dropping
/// the value, on whatever thread, gives the buffer back. Keeping many slows nobody down but oneself: when few are
/// left, sockets receive into memory of their own. A `RecvBuf` may outlive its socket and the runtime.
///
/// It is read as a slice of bytes, and can be sent as it is:
///
/// ```
/// # use multikernel::net::{TcpListener, TcpStream};
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// client.send_all(&b"hello, all"[..]).await.result?;
/// let bytes = server.recv().await?;
/// assert!(bytes.starts_with(b"hello"));
/// server.send_all(bytes).await.result?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct RecvBuf {
    memory: Memory,
    start: u32,
    end: u32,
}

enum Memory {
    Shared { region: Arc<Region>, id: u16 },
    Heap(Vec<u8>),
}

impl RecvBuf {
    /// # Safety
    ///
    /// Buffer `id` was filled by Linux, at least up to `end`, is not free, and is in nobody else's use.
    pub(super) unsafe fn shared(region: Arc<Region>, id: u16, start: u16, end: u16) -> RecvBuf {
        assert!(start <= end && usize::from(end) <= RECEIVE_BUFFER_BYTES);
        RecvBuf { memory: Memory::Shared { region, id }, start: start.into(), end: end.into() }
    }

    pub(crate) fn heap(bytes: Vec<u8>) -> RecvBuf {
        let end = u32::try_from(bytes.len()).expect("no longer than a receive buffer");
        RecvBuf { memory: Memory::Heap(bytes), start: 0, end }
    }

    pub(super) fn empty() -> RecvBuf {
        RecvBuf::heap(Vec::new())
    }

    /// Leaves the first `count` bytes out.
    pub(super) fn advance(&mut self, count: usize) {
        assert!(count <= self.len());
        self.start += count as u32;
    }

    #[cfg(test)]
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.memory, Memory::Shared { .. })
    }
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let (start, end) = (self.start as usize, self.end as usize);
        match &self.memory {
            // SAFETY: within the buffer (`shared` checked it, `start` never passes `end`), which Linux has filled
            // that far and does not touch again before the drop of this value gives it back.
            Memory::Shared { region, id } => unsafe {
                std::slice::from_raw_parts(region.buffer(*id).add(start).as_ptr(), end - start)
            },
            Memory::Heap(bytes) => &bytes[start..end],
        }
    }
}

impl AsRef<[u8]> for RecvBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

// SAFETY: the bytes are in a mapping or on the heap, so a move of the value leaves them in place; until its drop they
// are its alone, and nothing writes to them.
unsafe impl StableBuf for RecvBuf {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        match mem::replace(&mut self.memory, Memory::Heap(Vec::new())) {
            Memory::Heap(bytes) if bytes.capacity() == 0 => {}
            Memory::Heap(bytes) => keep_spare(bytes),
            Memory::Shared { region, id } => give_back(region, id),
        }
    }
}

/// Leaves the memory to this core for its next receive, if it is one.
fn keep_spare(bytes: Vec<u8>) {
    context::with_core(|core| {
        // Busy when a driver in mid-turn drops it; then the memory is just freed.
        if let Some(mut reactor) = core.and_then(|core| core.reactor.try_borrow_mut().ok()) {
            reactor.keep_spare(bytes);
        }
    });
}

fn give_back(region: Arc<Region>, id: u16) {
    if super::is_forked_child() {
        // Not mapped here, and not ours.
        return mem::forget(region);
    }
    let region = context::with_core(|core| {
        let Some(mut reactor) = core.and_then(|core| core.reactor.try_borrow_mut().ok()) else {
            return Some(region);
        };
        // A region of another core is refused.
        if reactor.give_back(&region, id) { None } else { Some(region) }
    });
    let Some(region) = region else { return };
    // Refused when the home has ended: nobody fills the buffer again, and only the memory is left to free.
    let _ = context::post(region.home, move |core| {
        core.reactor.borrow_mut().give_back(&region, id);
    });
}
