//! What a file is made of and what becomes of it: its descriptor, std's file, the size of its buffer.

use std::fmt;
use std::fs::File as StdFile;
use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use super::File;
use crate::task::yield_now;

impl File {
    /// Gives the file to the standard library, once nothing is under way on it, at the position up to which it has been read.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// use std::io::Read;
    ///
    /// let mut file = File::open("/proc/self/exe").await?.into_std().await;
    /// let mut magic = [0; 4];
    /// file.read_exact(&mut magic)?;
    /// assert_eq!(&magic, b"\x7fELF");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn into_std(self) -> StdFile {
        let (mut file, mut stream) = self.into_parts();
        // What has no position, or refuses to move, is given away as it is.
        let _ = poll_fn(|cx| stream.poll_rewound(cx)).await;
        let _ = stream.hand_over_position();
        drop(stream);
        // A ring may have yet to let go of an operation whose future was dropped.
        loop {
            file = match Arc::try_unwrap(file) {
                Ok(file) => return file,
                Err(shared) => shared,
            };
            match file.try_clone() {
                Ok(copy) => return copy,
                Err(_) => yield_now().await,
            }
        }
    }

    /// Gives the file to the standard library if nothing is under way on it and nothing is in its buffer.
    ///
    /// # Errors
    ///
    /// Gives the file back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let file: std::fs::File = file.try_into_std().expect("nothing is under way");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[expect(clippy::result_large_err, reason = "it gives the file back, as tokio's does")]
    pub fn try_into_std(mut self) -> Result<StdFile, File> {
        let stream = self.stream_mut();
        if !stream.is_settled() || stream.hand_over_position().is_err() {
            return Err(self);
        }
        let most = self.most;
        let (file, stream) = self.into_parts();
        let place = stream.place().clone();
        // It has one of the references.
        drop(stream);
        Arc::try_unwrap(file).map_err(|file| {
            let mut file = File::with_place(file, place);
            file.set_max_buf_size(most);
            file
        })
    }

    /// How much one read or write of the stream moves at most, and so how much memory it may take. 2 MiB if it is not said.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut file = File::open("/proc/self/exe").await?;
    /// file.set_max_buf_size(64 * 1024);
    /// assert_eq!(file.max_buf_size(), 64 * 1024);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn max_buf_size(&self) -> usize {
        self.most
    }

    /// Sets [`max_buf_size`](Self::max_buf_size). At least 1 byte.
    ///
    /// # Examples
    ///
    /// See there:
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut file = File::open("/proc/self/exe").await?;
    /// file.set_max_buf_size(0);
    /// assert_eq!(file.max_buf_size(), 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn set_max_buf_size(&mut self, most: usize) {
        self.most = most.max(1);
        self.stream_mut().most = self.most;
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(self.shared()).finish()
    }
}

impl From<StdFile> for File {
    fn from(file: StdFile) -> File {
        File::from_std(file)
    }
}

impl From<OwnedFd> for File {
    fn from(file: OwnedFd) -> File {
        File::from_std(file.into())
    }
}

impl FromRawFd for File {
    /// # Safety
    ///
    /// The descriptor is open, and nobody else owns it.
    unsafe fn from_raw_fd(descriptor: RawFd) -> File {
        // SAFETY: the caller answers for both, which is all that is asked for here.
        unsafe { OwnedFd::from_raw_fd(descriptor) }.into()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared().as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.shared().as_raw_fd()
    }
}
