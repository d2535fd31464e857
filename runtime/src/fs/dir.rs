//! Folders: what is in them, and making them.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;

use super::asyncify::asyncify;
use crate::context;
use crate::limits::ENTRIES_PER_CALL;
use crate::machine::blocking::Call;
use crate::machine::runtime::Handle;

/// Begins to read what is in a folder. The entries come in no order, without `.` and `..`.
///
/// # Errors
///
/// Those of the system.
///
/// # Panics
///
/// On a thread that is neither a core nor a guest.
///
/// # Cancel safety
///
/// If the future is dropped early, nothing has happened.
///
/// # Examples
///
/// ```
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut entries = fs::read_dir("/proc/self").await?;
/// let mut links = 0;
/// while let Some(entry) = entries.next_entry().await? {
///     links += usize::from(entry.file_type().await?.is_symlink());
/// }
/// assert!(links > 2); // cwd, exe, root
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    asyncify(move || {
        let mut batch = Batch { entries: VecDeque::new(), rest: Some(std::fs::read_dir(path)?) };
        batch.fill();
        Ok(ReadDir(State::Here(batch)))
    })
    .await
}

/// What is in a folder, as [`read_dir`] finds it: by [`next_entry`](Self::next_entry), or as a `Stream`. It is read some entries
/// at a time.
///
/// # Examples
///
/// As a stream:
///
/// ```
/// use futures::TryStreamExt;
/// use multikernel::fs;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let entries: Vec<_> = fs::read_dir("/proc/self").await?.try_collect().await?;
/// assert!(entries.iter().any(|entry| entry.file_name() == "exe"));
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[must_use = "entries are read as they are asked for"]
pub struct ReadDir(State);

enum State {
    Here(Batch),
    Away(Call<Batch>),
}

struct Batch {
    entries: VecDeque<io::Result<DirEntry>>,
    /// `None` at the end.
    rest: Option<std::fs::ReadDir>,
}

impl Batch {
    /// Blocks.
    fn fill(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        while self.entries.len() < ENTRIES_PER_CALL {
            match rest.next() {
                Some(entry) => self.entries.push_back(entry.map(|entry| DirEntry(Arc::new(entry)))),
                None => {
                    self.rest = None;
                    break;
                }
            }
        }
    }
}

impl ReadDir {
    /// The next entry; `None` when there is none left.
    ///
    /// # Errors
    ///
    /// Those of the system. There may be more entries after an error.
    ///
    /// # Panics
    ///
    /// As for [`read_dir`].
    ///
    /// # Cancel safety
    ///
    /// No entry is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
    /// let first = entries.next_entry().await?.expect("it is not empty");
    /// assert!(first.path().starts_with("/proc/self"));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// Polls what [`next_entry`](Self::next_entry) waits for.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::poll_fn;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
    /// assert!(poll_fn(|cx| entries.poll_next_entry(cx)).await?.is_some());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        let progress = ready!(context::poll_proceed(cx));
        loop {
            match &mut self.0 {
                State::Here(batch) => match (batch.entries.pop_front(), &batch.rest) {
                    (Some(entry), _) => {
                        progress.made();
                        return Poll::Ready(entry.map(Some));
                    }
                    (None, None) => return Poll::Ready(Ok(None)),
                    (None, Some(_)) => {
                        let mut batch = Batch { entries: VecDeque::new(), rest: batch.rest.take() };
                        let call = move || {
                            batch.fill();
                            batch
                        };
                        self.0 = State::Away(Handle::current().machine.blocking.start(call));
                    }
                },
                State::Away(call) => self.0 = State::Here(ready!(Pin::new(call).poll(cx))),
            }
        }
    }
}

impl Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_entry(cx).map(Result::transpose)
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").finish_non_exhaustive()
    }
}

/// One thing in a folder.
///
/// # Examples
///
/// ```
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
/// while let Some(entry) = entries.next_entry().await? {
///     assert_eq!(entry.path().file_name(), Some(&*entry.file_name()));
/// }
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct DirEntry(Arc<std::fs::DirEntry>);

impl DirEntry {
    /// The path that was given to [`read_dir`], and the name in it.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
    /// assert!(entries.next_entry().await?.unwrap().path().starts_with("/proc/self"));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// The name, without the path.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
    /// assert!(!entries.next_entry().await?.unwrap().file_name().is_empty());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// What the system knows of it, or of the link if it is one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// As for [`read_dir`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self/task").await?;
    /// assert!(entries.next_entry().await?.unwrap().metadata().await?.is_dir());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = self.0.clone();
        asyncify(move || entry.metadata()).await
    }

    /// Whether it is a file, a folder, a link. Mostly the folder itself says so, and nothing more need be read.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// As for [`read_dir`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self/task").await?;
    /// assert!(entries.next_entry().await?.unwrap().file_type().await?.is_dir());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn file_type(&self) -> io::Result<FileType> {
        let entry = self.0.clone();
        asyncify(move || entry.file_type()).await
    }

    /// The number of its inode.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut entries = multikernel::fs::read_dir("/proc/self").await?;
    /// assert_ne!(entries.next_entry().await?.unwrap().ino(), 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    #[must_use]
    pub fn ino(&self) -> u64 {
        self.0.ino()
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirEntry").field(&self.path()).finish()
    }
}

/// How a folder is to be made.
///
/// # Examples
///
/// ```
/// use multikernel::fs::DirBuilder;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let folder = std::env::temp_dir().join(format!("multikernel-builder-{}", std::process::id()));
/// DirBuilder::new().recursive(true).mode(0o700).create(folder.join("a/b")).await?;
/// # std::fs::remove_dir_all(&folder)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// One folder, for all whom the umask of the process does not exclude.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::DirBuilder;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// assert!(DirBuilder::new().create("/").await.is_err());
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn new() -> DirBuilder {
        DirBuilder::default()
    }

    /// Whether the folders that it is to be in are made too, and it is no error if it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::DirBuilder;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// DirBuilder::new().recursive(true).create("/").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// The permissions of what is made, less the umask.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::DirBuilder;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// DirBuilder::new().recursive(true).mode(0o700).create("/").await?; // it is there
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Makes it, on a thread for calls that block.
    ///
    /// # Errors
    ///
    /// Those of the system.
    ///
    /// # Panics
    ///
    /// As for [`read_dir`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is done or not, and nobody can tell.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::DirBuilder;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let error = DirBuilder::new().create("/proc/self").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// # }).unwrap();
    /// ```
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        let path = path.as_ref().to_owned();
        asyncify(move || builder.create(path)).await
    }
}
