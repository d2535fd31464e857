//! How a file is opened.

use std::ffi::CString;
use std::fs::File as StdFile;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::File;
use super::asyncify::asyncify;
use crate::driver::{OpenOp, OpenRequest};
use crate::net::pipe_io;
use crate::time::clock;

/// How a file is to be opened, with the names and the meaning of std's and tokio's.
///
/// # Examples
///
/// ```
/// use multikernel::fs::OpenOptions;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let path = std::env::temp_dir().join(format!("multikernel-options-{}", std::process::id()));
/// let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).await?;
/// assert_eq!(file.metadata().await?.len(), 0);
/// # std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What counts.
    std: std::fs::OpenOptions,
    /// The same for a ring, which std does not tell.
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: u32,
    flags: i32,
}

/// What a ring has opened.
pub(super) struct Opened {
    pub(super) file: File,
    /// A pipe to read from, whose first writer a call would have waited for.
    pub(super) is_early: bool,
}

impl Known {
    /// Whether a call waits until somebody writes, if it is a pipe. A ring tries first without waiting, and so opens it.
    fn waits_for_writer(&self) -> bool {
        !self.write && !self.append && self.flags & libc::O_NONBLOCK == 0
    }

    /// Flags for open(2). `None` for what std refuses.
    fn flags(&self) -> Option<i32> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) => return None,
        };
        let makes = self.truncate || self.create || self.create_new;
        let is_refused = match (self.write, self.append) {
            (true, false) => false,
            (false, false) => makes,
            (_, true) => self.truncate && !self.create_new,
        };
        let creation = match (self.create, self.truncate, self.create_new) {
            _ if is_refused => return None,
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
            (true, true, false) => libc::O_CREAT | libc::O_TRUNC,
            (true, false, false) => libc::O_CREAT,
            (false, true, false) => libc::O_TRUNC,
            (false, false, false) => 0,
        };
        Some(access | creation | libc::O_CLOEXEC | self.flags & !libc::O_ACCMODE)
    }
}

impl OpenOptions {
    /// Nothing is allowed yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::OpenOptions;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let error = OpenOptions::new().open("/proc/self/exe").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # }).unwrap();
    /// ```
    #[expect(clippy::new_without_default, reason = "std and tokio have none either")]
    pub fn new() -> OpenOptions {
        let known = Known {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            flags: 0,
        };
        OpenOptions { std: std::fs::OpenOptions::new(), known: Some(known) }
    }

    /// For reading.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::fs::OpenOptions::new().read(true).open("/proc/self/exe").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn read(&mut self, read: bool) -> &mut Self {
        self.std.read(read);
        self.know(|known| known.read = read)
    }

    /// For writing, from the beginning unless told otherwise, over what is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::fs::OpenOptions::new().write(true).open("/dev/null").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn write(&mut self, write: bool) -> &mut Self {
        self.std.write(write);
        self.know(|known| known.write = write)
    }

    /// For writing, each write at the end of the file as it is then.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::fs::OpenOptions::new().append(true).open("/dev/null").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn append(&mut self, append: bool) -> &mut Self {
        self.std.append(append);
        self.know(|known| known.append = append)
    }

    /// What is in the file is thrown away. Needs `write`.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::fs::OpenOptions::new().write(true).truncate(true).open("/dev/null").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.std.truncate(truncate);
        self.know(|known| known.truncate = truncate)
    }

    /// The file is made if there is none. Needs `write` or `append`.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// multikernel::fs::OpenOptions::new().write(true).create(true).open("/dev/null").await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.std.create(create);
        self.know(|known| known.create = create)
    }

    /// The file is made, and it is an error if there is one. Needs `write` or `append`.
    ///
    /// # Examples
    ///
    /// ```
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let options = multikernel::fs::OpenOptions::new().write(true).create_new(true).clone();
    /// let error = options.open("/dev/null").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// # }).unwrap();
    /// ```
    pub fn create_new(&mut self, create_new: bool) -> &mut Self {
        self.std.create_new(create_new);
        self.know(|known| known.create_new = create_new)
    }

    fn know(&mut self, change: impl FnOnce(&mut Known)) -> &mut Self {
        if let Some(known) = &mut self.known {
            change(known);
        }
        self
    }

    /// The permissions of a file that is made, less the umask of the process. 0o666 if it is not said.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::OpenOptions;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// OpenOptions::new().write(true).create(true).mode(0o600).open("/dev/null").await?; // it is there already
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.std.mode(mode);
        self.know(|known| known.mode = mode)
    }

    /// More flags of open(2), such as `O_DIRECT`; those that say how the file is accessed are left out.
    ///
    /// Direct I/O wants buffers, offsets and lengths that are multiples of the disk's block: see
    /// [`AlignedBuf`](super::AlignedBuf).
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::OpenOptions;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// const O_NOFOLLOW: i32 = 0x20000;
    /// let error = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open("/proc/self/exe").await;
    /// # if cfg!(target_arch = "x86_64") {
    /// assert!(error.is_err()); // it is a link
    /// # }
    /// # }).unwrap();
    /// ```
    pub fn custom_flags(&mut self, flags: i32) -> &mut Self {
        self.std.custom_flags(flags);
        self.know(|known| known.flags = flags)
    }

    /// Opens the file: by the core's ring where there is one, else on a thread for calls that block.
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
    /// A future dropped early leaves no file open, though a file may have been created or truncated.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::fs::OpenOptions;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let error = OpenOptions::new().read(true).open("/no/such/file").await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// # }).unwrap();
    /// ```
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let _time_waits_for_files = clock::hold();
        let path = path.as_ref().to_owned();
        match self.open_by_ring(&path).await {
            Some(Ok(Opened { file, is_early: false })) => Ok(file),
            Some(Ok(pipe)) => self.await_writer(path, pipe.file.into_std().await).await,
            Some(Err(error)) => Err(error),
            None => self.call(path).await,
        }
    }

    /// `None` where a call has to open it.
    pub(super) async fn open_by_ring(&self, path: &Path) -> Option<io::Result<Opened>> {
        let mut file = match OpenOp::new(self.request(path)?).await? {
            Ok(file) => File::from_new(StdFile::from(file)),
            Err(error) => return Some(Err(error)),
        };
        let mut is_early = false;
        if file.stream_mut().place().is_flow() && self.known.is_some_and(|known| known.waits_for_writer()) {
            match file.metadata().await {
                Ok(metadata) => is_early = metadata.file_type().is_fifo(),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(Opened { file, is_early }))
    }

    /// Opens a pipe by a call, which waits for a writer. One that waited for a reader has gone on with the `early` one, and may
    /// be gone again: the call would wait for the next, and what was written is there as long as the early one is.
    async fn await_writer(&self, path: PathBuf, early: StdFile) -> io::Result<File> {
        let options = self.std.clone();
        let call = move || {
            if pipe_io::has_met_writer(early.as_fd())? {
                return Ok(File::from_new(early));
            }
            let opened = options.open(path);
            drop(early);
            opened.map(File::from_new)
        };
        asyncify(call).await
    }

    async fn call(&self, path: PathBuf) -> io::Result<File> {
        let options = self.std.clone();
        asyncify(move || options.open(path).map(File::from_new)).await
    }

    /// What to ask a ring for. `None` where only std knows what to do, or refuses.
    fn request(&self, path: &Path) -> Option<OpenRequest> {
        let known = self.known?;
        let path = CString::new(path.as_os_str().as_bytes()).ok()?;
        Some(OpenRequest::new(path, known.flags()?, known.mode))
    }
}

/// Options of std's are followed as they are. Files are then opened on a thread for calls that block.
impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(std: std::fs::OpenOptions) -> OpenOptions {
        OpenOptions { std, known: None }
    }
}
