//! Buffers that Linux may write to while their owner does something else.

use crate::driver::StableBuf;

/// A buffer to read into, whose memory stays where it is when the value moves. What
/// [`read_at`](super::SharedFile::read_at) takes: `Vec<u8>`, `Box<[u8]>`, and what you implement it for.
///
/// # Safety
///
/// `space` returns the same memory every time, valid for writes of that many bytes until the value is dropped, also while it
/// is moved, and for good when it is forgotten. Nobody else uses that memory meanwhile.
///
/// # Examples
///
/// ```
/// use multikernel::fs::{StableBuf, StableBufMut};
///
/// /// A page, and how much of it has been read.
/// struct Page {
///     bytes: Box<[u8; 4096]>,
///     used: usize,
/// }
///
/// // SAFETY: the bytes are on the heap and owned alone.
/// unsafe impl StableBuf for Page {
///     fn bytes(&self) -> &[u8] {
///         &self.bytes[..self.used]
///     }
/// }
///
/// // SAFETY: the same.
/// unsafe impl StableBufMut for Page {
///     fn space(&mut self) -> (*mut u8, usize) {
///         (self.bytes.as_mut_ptr(), self.bytes.len())
///     }
///     unsafe fn filled(&mut self, count: usize) {
///         self.used = count;
///     }
/// }
/// # use multikernel::fs::SharedFile;
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// let file = SharedFile::open("/proc/self/exe", &options).await?;
/// let page = Page { bytes: Box::new([0; 4096]), used: 0 };
/// let page = file.read_at(page, 0).await.buffer.unwrap();
/// assert!(page.bytes().starts_with(b"\x7fELF"));
/// # file.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
pub unsafe trait StableBufMut: StableBuf {
    /// Where to read to, and how much at most.
    fn space(&mut self) -> (*mut u8, usize);

    /// A read has put so many bytes there, from the beginning. Not called if it failed.
    ///
    /// # Safety
    ///
    /// They are initialised, and no more than `space` has said.
    unsafe fn filled(&mut self, count: usize);
}

/// Reads from the beginning up to its capacity; then its length is what was read.
// SAFETY: the bytes are on the heap and owned alone.
unsafe impl StableBufMut for Vec<u8> {
    fn space(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.capacity())
    }

    unsafe fn filled(&mut self, count: usize) {
        // SAFETY: the caller's promise; `space` has said the capacity.
        unsafe { self.set_len(count) };
    }
}

/// Reads from the beginning up to its length.
// SAFETY: the bytes are on the heap and owned alone.
unsafe impl StableBufMut for Box<[u8]> {
    fn space(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }

    unsafe fn filled(&mut self, _: usize) {}
}
