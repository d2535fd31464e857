//! A file of one's own.

use std::fs::{File as StdFile, FileTimes, Metadata, Permissions};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures::lock::Mutex;

use super::OpenOptions;
use super::asyncify::asyncify;
use super::operation::Transfer;
use super::stream::{Place, Stream};
use super::work::{Allocate, Sync, Truncate};
use crate::limits::FILE_BUFFER_BYTES;

/// An open file, with tokio's methods and traits, and operations at offsets that take a buffer and give it back.
///
/// # As a stream
///
/// Through tokio's `AsyncRead`, `AsyncWrite` and `AsyncSeek` (feature `tokio`, on by default) or those of `futures` (feature
/// `futures-io`) a file is read and written at its position, one operation at a time, through a buffer of the file's.
///
/// A write is done when its bytes are in that buffer, and is on its way to the file by then. So **flush before you drop a
/// file**: what is under way goes on, but nobody hears of its errors, and if the Machine ends it may be lost. What `flush` has
/// confirmed, the system has, and other readers see; what [`sync_all`](Self::sync_all) has confirmed, the disk has. An error of a
/// write is reported once, by the next write, flush or sync.
///
/// A read that is given up is not lost: the next read begins with what it brought, and a seek or a write counts from what has
/// been handed out.
///
/// The position of a file that was opened here is kept here, and shared by its clones. The descriptor's own is set when
/// the file goes to the standard library. Of a file that comes from there, the descriptor's position counts, as it may have other
/// users; such a file is read and written as a stream on a thread for calls that block.
///
/// # At offsets
///
/// [`read_at`](Self::read_at), [`write_at`](Self::write_at) and their kin take `&self`, and many may run at once. They go past the
/// stream's buffer: flush before, if you mix the two.
///
/// Either way operations run on the ring of the core that asks, and where there is none, on a thread for calls that block. A file
/// belongs to no core, and works inside [`Runtime::block_on`](crate::runtime::Runtime::block_on) as well. On any other thread what
/// waits panics.
///
/// The descriptor is closed with the last operation on it, or at once if there is none.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// use multikernel::fs::File;
/// use multikernel::io::{AsyncReadExt, AsyncWriteExt};
///
/// # let path = std::env::temp_dir().join(format!("multikernel-own-{}", std::process::id()));
/// let mut file = File::create(&path).await?;
/// file.write_all(b"hello, all").await?;
/// file.flush().await?;
///
/// let mut text = String::new();
/// File::open(&path).await?.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello, all");
/// # std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct File {
    file: Arc<StdFile>,
    stream: Mutex<Stream>,
    /// What the stream moves at once.
    pub(super) most: usize,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest. The same holds for all that waits.
    ///
    /// # Cancel safety
    ///
    /// A future dropped early leaves no file open.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// assert!(file.metadata().await?.is_file());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Opens a file for writing. It is made if there is none, and emptied if there is.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Cancel safety
    ///
    /// A future dropped early leaves no file open, though it may have been created or emptied.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::create("/dev/null").await?;
    /// file.write_at(&b"gone"[..], 0).await.result?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Makes a file, for reading and writing. It is an error if there is one.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, and those of the system.
    ///
    /// # Cancel safety
    ///
    /// A future dropped early leaves no file open, though it may have been created.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let error = File::create_new("/dev/null").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// # }).unwrap();
    /// ```
    pub async fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).await
    }

    /// [`OpenOptions::new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// File::options().append(true).open("/dev/null").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of the standard library.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::File;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::from_std(std::fs::File::open("/proc/self/exe")?);
    /// assert!(file.metadata().await?.is_file());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn from_std(file: StdFile) -> File {
        File::with_place(Arc::new(file), Place::Shared)
    }

    /// A file that has just been opened.
    pub(super) fn from_new(file: StdFile) -> File {
        let place = Place::of_new(&file);
        File::with_place(Arc::new(file), place)
    }

    pub(super) fn with_place(file: Arc<StdFile>, place: Place) -> File {
        File { stream: Mutex::new(Stream::new(file.clone(), place)), file, most: FILE_BUFFER_BYTES }
    }

    pub(super) fn shared(&self) -> &Arc<StdFile> {
        &self.file
    }

    pub(super) fn into_parts(self) -> (Arc<StdFile>, Stream) {
        (self.file, self.stream.into_inner())
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        self.stream.get_mut()
    }

    /// Lets writes under way end, and reports their error.
    async fn flushed(&self) -> io::Result<()> {
        let mut stream = self.stream.lock().await;
        poll_fn(|cx| stream.poll_flush(cx)).await
    }

    /// Has all that was written reach the disk, with all about the file: fsync(2).
    ///
    /// # Errors
    ///
    /// That of a write before, which nobody has heard of yet; then nothing is synced. Those of the system.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-fsync-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// file.write_at(&b"hello"[..], 0).await.result?;
    /// file.sync_all().await?;
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn sync_all(&self) -> io::Result<()> {
        self.flushed().await?;
        Transfer::new(&self.file, Sync { data_only: false }).await.0.map(drop)
    }

    /// As [`sync_all`](Self::sync_all), without what is only about the file, such as its times: fdatasync(2).
    ///
    /// # Errors
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
    /// # let path = std::env::temp_dir().join(format!("multikernel-fdatasync-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// file.write_at(&b"hello"[..], 0).await.result?;
    /// file.sync_data().await?;
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn sync_data(&self) -> io::Result<()> {
        self.flushed().await?;
        Transfer::new(&self.file, Sync { data_only: true }).await.0.map(drop)
    }

    /// Makes the file so many bytes long: cuts it, or fills it up with zeros. The position stays.
    ///
    /// # Errors
    ///
    /// Those of the system; `InvalidInput` when the file is not open for writing, or `length` is beyond what it may be.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-length-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// file.set_len(1 << 40).await?; // it takes no space
    /// assert_eq!(file.metadata().await?.len(), 1 << 40);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn set_len(&self, length: u64) -> io::Result<()> {
        let mut stream = self.stream.lock().await;
        // What was read ahead may be cut off.
        poll_fn(|cx| stream.poll_rewound(cx)).await?;
        Transfer::new(&self.file, Truncate { length }).await.0.map(drop)
    }

    /// Has the disk set aside space for a part of the file, which grows if need be: fallocate(2). Writes there cannot fail for
    /// want of space afterwards.
    ///
    /// # Errors
    ///
    /// Those of the system: `StorageFull`, `Unsupported` by a file system that does not know it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-allocate-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// file.allocate(0, 4096).await?;
    /// assert_eq!(file.metadata().await?.len(), 4096);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        Transfer::new(&self.file, Allocate { offset, length }).await.0.map(drop)
    }

    /// What the system knows of the file. Writes under way are waited for, so that its length includes them.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let metadata = File::open("/proc/self/exe").await?.metadata().await?;
    /// assert!(metadata.len() > 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let mut stream = self.stream.lock().await;
        poll_fn(|cx| stream.poll_written(cx)).await;
        drop(stream);
        let file = self.file.clone();
        asyncify(move || file.metadata()).await
    }

    /// Changes who may do what with the file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-permissions-{}", std::process::id()));
    /// let file = File::create(&path).await?;
    /// let mut permissions = file.metadata().await?.permissions();
    /// permissions.set_readonly(true);
    /// file.set_permissions(permissions).await?;
    /// assert!(file.metadata().await?.permissions().readonly());
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn set_permissions(&self, permissions: Permissions) -> io::Result<()> {
        let file = self.file.clone();
        asyncify(move || file.set_permissions(permissions)).await
    }

    /// Changes when the file was last read and changed, as far as `times` says. Writes under way are waited for, so that they do
    /// not change that again.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-times-{}", std::process::id()));
    /// use std::time::SystemTime;
    ///
    /// use multikernel::fs::FileTimes;
    ///
    /// let file = File::create(&path).await?;
    /// file.set_times(FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH)).await?;
    /// assert_eq!(file.metadata().await?.accessed()?, SystemTime::UNIX_EPOCH);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        let mut stream = self.stream.lock().await;
        poll_fn(|cx| stream.poll_written(cx)).await;
        drop(stream);
        let file = self.file.clone();
        asyncify(move || file.set_times(times)).await
    }

    /// As [`set_times`](Self::set_times), for when it was changed.
    ///
    /// # Errors
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
    /// # let path = std::env::temp_dir().join(format!("multikernel-modified-{}", std::process::id()));
    /// use std::time::SystemTime;
    ///
    /// let file = File::create(&path).await?;
    /// file.set_modified(SystemTime::UNIX_EPOCH).await?;
    /// assert_eq!(file.metadata().await?.modified()?, SystemTime::UNIX_EPOCH);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Another handle to the same open file, with the same position. Writes under way are waited for; what was read and not
    /// handed out stays with this one.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::File;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = File::open("/proc/self/exe").await?;
    /// let other = file.try_clone().await?;
    /// drop(file);
    /// assert!(other.metadata().await?.is_file());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn try_clone(&self) -> io::Result<File> {
        let mut stream = self.stream.lock().await;
        poll_fn(|cx| stream.poll_written(cx)).await;
        // Waits for nothing.
        let copy = self.file.try_clone()?;
        Ok(File::with_place(Arc::new(copy), stream.place().clone()))
    }
}
