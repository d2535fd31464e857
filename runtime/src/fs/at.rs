//! Operations at offsets, which take a buffer and give it back.

use std::io;

use super::File;
use super::buffer::StableBufMut;
use super::operation::{Transfer, Transferred};
use super::work::{Read, ReadVectored, Write, WriteVectored};
use crate::driver::{At, StableBuf};

impl File {
    /// Reads into `buffer` from `offset` on, and gives it back.
    ///
    /// As pread(2): may read less than there is room for, and 0 bytes at the end of the file. The file's position plays no part.
    ///
    /// # Errors
    ///
    /// Those of the system. An offset beyond 2^63 is `InvalidInput`.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, the buffer is gone, and nothing else has happened.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let read = file.read_at(Vec::with_capacity(4), 0).await;
    /// assert_eq!(read.result?, 4);
    /// assert_eq!(read.buffer.unwrap(), b"\x7fELF");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_at<B: StableBufMut>(&self, buffer: B, offset: u64) -> Transferred<B, io::Error> {
        let (result, work) = Transfer::new(self.shared(), Read::new(buffer, At::Offset(offset))).await;
        Transferred { result, buffer: work.map(|work| work.buffer) }
    }

    /// Writes `buffer` to the file at `offset`, and gives it back.
    ///
    /// As pwrite(2): may write less than there is. A file opened to append grows, whatever the offset.
    ///
    /// # Errors
    ///
    /// Those of the system, such as `StorageFull`. An offset beyond 2^63 is `InvalidInput`.
    ///
    /// # Panics
    ///
    /// As for [`read_at`](Self::read_at).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, the buffer is gone, and all of it, a part or nothing has been written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-at-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// assert_eq!(file.write_at(b"hello".to_vec(), 0).await.result?, 5);
    /// assert_eq!(file.write_at(&b"!"[..], 5).await.result?, 1);
    /// # assert_eq!(std::fs::read(&path)?, b"hello!");
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_at<B: StableBuf>(&self, buffer: B, offset: u64) -> Transferred<B, io::Error> {
        let (result, work) = Transfer::new(self.shared(), Write::new(buffer, At::Offset(offset))).await;
        Transferred { result, buffer: work.map(|work| work.buffer) }
    }

    /// Fills all of `buffer` from `offset` on, and gives it back. A `Vec` is filled up to its capacity.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](Self::read_at); `UnexpectedEof` when the file ends before. What was read by then is in the buffer.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let page = file.read_exact_at(vec![0; 4096].into_boxed_slice(), 0).await;
    /// assert_eq!(page.result?, 4096);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_exact_at<B: StableBufMut>(
        &self,
        mut buffer: B,
        offset: u64,
    ) -> Transferred<B, io::Error> {
        let (_, all) = buffer.space();
        let mut work = Read::new(buffer, At::Offset(offset));
        while work.start < all {
            let (result, back) = Transfer::new(self.shared(), work).await;
            let ended = match (result, back) {
                (Ok(0), back) => (io::ErrorKind::UnexpectedEof.into(), back),
                (Ok(_), Some(back)) => {
                    work = back;
                    work.at = At::Offset(offset.saturating_add(work.start as u64));
                    continue;
                }
                (Ok(_), None) => (io::ErrorKind::UnexpectedEof.into(), None),
                (Err(error), back) => (error, back),
            };
            let (error, back) = ended;
            return Transferred { result: Err(error), buffer: back.map(|work| work.buffer) };
        }
        Transferred { result: Ok(all), buffer: Some(work.buffer) }
    }

    /// Writes all of `buffer` to the file at `offset`, and gives it back.
    ///
    /// # Errors
    ///
    /// As for [`write_at`](Self::write_at). A part may have been written before.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-all-at-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// assert_eq!(file.write_all_at(vec![7; 1 << 20], 0).await.result?, 1 << 20);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_all_at<B: StableBuf>(&self, buffer: B, offset: u64) -> Transferred<B, io::Error> {
        let all = buffer.bytes().len();
        let mut work = Write::new(buffer, At::Offset(offset));
        while work.start < all {
            let (result, back) = Transfer::new(self.shared(), work).await;
            let (error, back) = match (result, back) {
                (Ok(1..), Some(back)) => {
                    work = back;
                    work.at = At::Offset(offset.saturating_add(work.start as u64));
                    continue;
                }
                (Ok(_), back) => (io::ErrorKind::WriteZero.into(), back),
                (Err(error), back) => (error, back),
            };
            return Transferred { result: Err(error), buffer: back.map(|work| work.buffer) };
        }
        Transferred { result: Ok(all), buffer: Some(work.buffer) }
    }

    /// Reads into several buffers one after the other from `offset` on, and gives them back: preadv(2). More than 1024 are left
    /// as they are.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](Self::read_at).
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let buffers = vec![Vec::with_capacity(4), Vec::with_capacity(12)];
    /// let read = file.read_vectored_at(buffers, 0).await;
    /// assert_eq!(read.result?, 16);
    /// assert_eq!(read.buffer.unwrap()[0], b"\x7fELF");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_vectored_at<B: StableBufMut>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> Transferred<Vec<B>, io::Error> {
        let (result, work) = Transfer::new(self.shared(), ReadVectored::new(buffers, offset)).await;
        Transferred { result, buffer: work.map(|work| work.buffers) }
    }

    /// Writes several buffers one after the other to the file at `offset`, and gives them back: pwritev(2). More than 1024 are
    /// not written.
    ///
    /// # Errors
    ///
    /// As for [`write_at`](Self::write_at).
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-vectored-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// assert_eq!(file.write_vectored_at(vec![&b"hello, "[..], &b"all"[..]], 0).await.result?, 10);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_vectored_at<B: StableBuf>(
        &self,
        buffers: Vec<B>,
        offset: u64,
    ) -> Transferred<Vec<B>, io::Error> {
        let (result, work) = Transfer::new(self.shared(), WriteVectored::new(buffers, offset)).await;
        Transferred { result, buffer: work.map(|work| work.buffers) }
    }
}
