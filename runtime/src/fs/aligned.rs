//! Buffers for direct I/O.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::buffer::StableBufMut;
use crate::driver::{Arena, StableBuf};
use crate::limits::{DIRECT_ALIGNMENT, DIRECT_BUFFER_BYTES};

/// A buffer at an address that direct I/O takes (`O_DIRECT`): a multiple of 4096, or of more if asked for.
///
/// It has a capacity, into which reads go, and a length: what has been read or put there. Writes write its length. With
/// `O_DIRECT` offsets and lengths must be multiples of the disk's block as well, mostly 512 or 4096; the last read of a file
/// whose length is none gets less.
///
/// [`registered`](Self::registered) gives one of a few that the core's io_uring knows already, so that each transfer saves
/// looking up its memory.
///
/// # Examples
///
/// ```
/// use multikernel::fs::AlignedBuf;
///
/// let mut buffer = AlignedBuf::with_capacity(4096);
/// assert!(buffer.as_ptr().addr().is_multiple_of(4096) && buffer.is_empty());
/// buffer.resize(512);
/// buffer[0] = 1;
/// assert_eq!(buffer.len(), 512);
/// ```
pub struct AlignedBuf {
    memory: Memory,
    /// Where it is, and how much. All of it is initialised.
    base: NonNull<u8>,
    capacity: usize,
    length: usize,
}

enum Memory {
    Heap(Layout),
    /// A part of a core's arena.
    Part(Arc<Arena>, u16),
}

// SAFETY: it owns the memory alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above; by shared reference it is only read.
unsafe impl Sync for AlignedBuf {}

/// A buffer could not be made as asked for.
///
/// # Examples
///
/// ```
/// use multikernel::fs::{AlignedBuf, AlignmentError};
///
/// assert_eq!(AlignedBuf::with_alignment(4096, 1000).unwrap_err(), AlignmentError::NoPowerOfTwo(1000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignmentError {
    /// An alignment is a power of two.
    NoPowerOfTwo(usize),
    /// There is no room for so much at any address.
    TooLarge(usize),
}

impl fmt::Display for AlignmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlignmentError::NoPowerOfTwo(alignment) => {
                write!(f, "an alignment is a power of two, and {alignment} is none")
            }
            AlignmentError::TooLarge(capacity) => write!(f, "no buffer has {capacity} bytes"),
        }
    }
}

impl std::error::Error for AlignmentError {}

impl AlignedBuf {
    /// An empty buffer with room for `capacity` bytes, at a multiple of 4096.
    ///
    /// # Panics
    ///
    /// When no buffer has that many bytes. Ends the process when the memory is not there, as `Vec` does.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::AlignedBuf;
    ///
    /// assert_eq!(AlignedBuf::with_capacity(8192).capacity(), 8192);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        Self::with_alignment(capacity, DIRECT_ALIGNMENT).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same at a multiple of `alignment`.
    ///
    /// # Errors
    ///
    /// It is no power of two, or no buffer has that many bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::AlignedBuf;
    ///
    /// let buffer = AlignedBuf::with_alignment(512, 1 << 16)?;
    /// assert!(buffer.as_ptr().addr().is_multiple_of(1 << 16));
    /// # Ok::<(), multikernel::fs::AlignmentError>(())
    /// ```
    pub fn with_alignment(capacity: usize, alignment: usize) -> Result<AlignedBuf, AlignmentError> {
        if !alignment.is_power_of_two() {
            return Err(AlignmentError::NoPowerOfTwo(alignment));
        }
        // One without room has an address too.
        let layout = Layout::from_size_align(capacity.max(1), alignment);
        let layout = layout.map_err(|_| AlignmentError::TooLarge(capacity))?;
        // SAFETY: the layout has a size.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        let base = base.unwrap_or_else(|| handle_alloc_error(layout));
        Ok(AlignedBuf { memory: Memory::Heap(layout), base, capacity, length: 0 })
    }

    /// An empty buffer of 64 KiB, one of the 64 that this core's io_uring knows, or from the heap if none is left, or there is no
    /// ring, or the memory may not be locked. It goes back when it is dropped, and works for any core: the gain is this one's.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::{AlignedBuf, File};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let read = file.read_at(AlignedBuf::registered(), 0).await;
    /// assert!(read.result? > 0);
    /// assert!(read.buffer.unwrap().starts_with(b"\x7fELF"));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn registered() -> AlignedBuf {
        match Arena::take() {
            Some((arena, index)) => {
                let base = arena.part(index);
                AlignedBuf {
                    memory: Memory::Part(arena, index),
                    base,
                    capacity: DIRECT_BUFFER_BYTES,
                    length: 0,
                }
            }
            None => AlignedBuf::with_capacity(DIRECT_BUFFER_BYTES),
        }
    }

    /// Whether a core's io_uring knows it.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::AlignedBuf;
    ///
    /// assert!(!AlignedBuf::with_capacity(4096).is_registered());
    /// ```
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.memory, Memory::Part(..))
    }

    /// How much there is room for.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::AlignedBuf;
    ///
    /// assert_eq!(AlignedBuf::registered().capacity(), 64 * 1024);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the length. What comes into it is what was there before: zeros at first.
    ///
    /// # Panics
    ///
    /// When that is more than the capacity.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::AlignedBuf;
    ///
    /// let mut buffer = AlignedBuf::with_capacity(4096);
    /// buffer.resize(4096);
    /// assert!(buffer.iter().all(|byte| *byte == 0));
    /// ```
    pub fn resize(&mut self, length: usize) {
        assert!(length <= self.capacity, "{length} bytes in a buffer for {}", self.capacity);
        self.length = length;
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: within the memory, all of which is initialised.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.length) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; it is owned alone.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.length) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf")
            .field("len", &self.length)
            .field("capacity", &self.capacity)
            .field("is_registered", &self.is_registered())
            .finish_non_exhaustive()
    }
}

// SAFETY: the bytes are on the heap and owned alone.
unsafe impl StableBuf for AlignedBuf {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn ring(&self) -> u64 {
        match &self.memory {
            Memory::Part(arena, _) => arena.ring(),
            Memory::Heap(_) => 0,
        }
    }
}

/// Reads from the beginning up to its capacity; then its length is what was read.
// SAFETY: as above.
unsafe impl StableBufMut for AlignedBuf {
    fn space(&mut self) -> (*mut u8, usize) {
        (self.base.as_ptr(), self.capacity)
    }

    unsafe fn filled(&mut self, count: usize) {
        self.length = count;
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        match &self.memory {
            // SAFETY: allocated with this layout, and nobody else has it.
            Memory::Heap(layout) => unsafe { dealloc(self.base.as_ptr(), *layout) },
            Memory::Part(arena, index) => arena.clone().give_back(*index),
        }
    }
}
