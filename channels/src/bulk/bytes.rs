//! The usual content of a pool.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A fixed number of bytes, of which the first [`len`](slice::len) are in use.
///
/// ```
/// let pool = multikernel_channels::bulk::Pool::new(1, 16);
/// let mut buffer = pool.try_take().unwrap();
/// buffer[..5].copy_from_slice(b"hello");
/// buffer.set_len(5);
/// assert_eq!(**buffer, *b"hello");
/// ```
pub struct Bytes {
    bytes: Box<[u8]>,
    len: usize,
}

impl Bytes {
    /// This many zeros, all in use.
    pub(super) fn zeroed(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), len: capacity }
    }

    pub(super) fn use_all(&mut self) {
        self.len = self.bytes.len();
    }

    /// Says how many bytes are in use. Those behind stay what they are.
    ///
    /// # Panics
    ///
    /// When `len` is more than the [capacity](Self::capacity).
    ///
    /// # Example
    ///
    /// ```
    /// let pool = multikernel_channels::bulk::Pool::new(1, 8);
    /// let mut buffer = pool.try_take().unwrap();
    /// assert_eq!(buffer.len(), 8);
    /// buffer.set_len(3);
    /// assert_eq!((buffer.len(), buffer.capacity()), (3, 8));
    /// ```
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.bytes.len(), "{len} bytes in a buffer of {}", self.bytes.len());
        self.len = len;
    }

    /// The most bytes that can be in use.
    ///
    /// ```
    /// let pool = multikernel_channels::bulk::Pool::new(1, 16);
    /// assert_eq!(pool.try_take().unwrap().capacity(), 16);
    /// ```
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bytes").field("len", &self.len).field("capacity", &self.capacity()).finish()
    }
}
