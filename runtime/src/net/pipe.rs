//! How a pipe is made, or opened where it has a name.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::pipe_io::{self, PipeIo};
use super::pipe_receiver::Receiver;
use super::pipe_sender::Sender;

/// Makes a pipe without a name.
///
/// For a child's standard streams [`Stdio::piped`](std::process::Stdio::piped) is shorter.
///
/// # Errors
///
/// The system's: no descriptor is free.
///
/// # Examples
///
/// What several children write, read in one place:
///
/// ```
/// use multikernel::net::unix::pipe;
/// use multikernel::process::Command;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let (sender, receiver) = pipe::pipe()?;
/// let end = sender.into_blocking_fd()?; // as children expect
/// let first = Command::new("echo").arg("hello").stdout(end.try_clone()?).spawn()?.wait_with_output();
/// let second = Command::new("echo").arg("hello").stdout(end).spawn()?.wait_with_output();
/// first.await?;
/// second.await?;
/// assert_eq!(&receiver.recv().await?[..], b"hello\nhello\n");
/// assert!(receiver.recv().await?.is_empty());
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let [reader, writer] = pipe_io::open()?.map(PipeIo::from_nonblocking);
    Ok((Sender::new(writer), Receiver::new(reader)))
}

/// How to open a pipe that has a name in the file system (a FIFO).
///
/// # Examples
///
/// ```
/// use multikernel::net::unix::pipe;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let path = std::env::temp_dir().join(format!("multikernel-example-fifo-{}", std::process::id()));
/// assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
///
/// let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
/// let sender = pipe::OpenOptions::new().open_sender(&path)?; // not before there is a reader
/// std::fs::remove_file(&path)?; // the open ends do not need it
/// sender.send_all(&b"hello"[..]).await.result?;
/// assert_eq!(&receiver.recv().await?[..], b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read_write: bool,
    unchecked: bool,
}

impl OpenOptions {
    /// For one direction only, and for nothing but pipes.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::net::unix::pipe;
    ///
    /// let error = pipe::OpenOptions::new().open_receiver("/nowhere/fifo").unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Whether the end is opened for both directions. A sender then needs no reader to be there; a receiver never comes
    /// to an end, since it could itself be written to.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::unix::pipe;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-example-both-{}", std::process::id()));
    /// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    /// let sender = pipe::OpenOptions::new().read_write(true).open_sender(&path)?;
    /// sender.send_all(&b"for whoever comes"[..]).await.result?;
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn read_write(&mut self, value: bool) -> &mut OpenOptions {
        self.read_write = value;
        self
    }

    /// Whether to leave out the look at what kind of file it is. What is no pipe then waits, or fails, in its own way.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::unix::pipe;
    /// let nothing = pipe::OpenOptions::new().unchecked(true).open_receiver("/dev/null")?;
    /// assert_eq!(nothing.try_read(&mut [0; 8])?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unchecked(&mut self, value: bool) -> &mut OpenOptions {
        self.unchecked = value;
        self
    }

    /// Opens the pipe at `path` to read from it, without waiting for anyone to write.
    ///
    /// Until the first writer comes, reading finds the end of the stream at once;
    /// [`readable`](Receiver::readable) waits for it.
    ///
    /// # Errors
    ///
    /// The system's, such as `NotFound`; `InvalidInput` when the file is no pipe.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::unix::pipe;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-example-receiver-{}", std::process::id()));
    /// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    /// let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
    /// assert!(receiver.recv().await?.is_empty()); // nobody writes
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn open_receiver<P: AsRef<Path>>(&self, path: P) -> io::Result<Receiver> {
        let file = self.open(path.as_ref(), true)?;
        Receiver::from_file_unchecked(file)
    }

    /// Opens the pipe at `path` to write to it.
    ///
    /// # Errors
    ///
    /// `ENXIO` when nobody has it open to read from, unless it is opened for
    /// [both directions](Self::read_write): try again later. `InvalidInput` when the file is no pipe. Else the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::net::unix::pipe;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-example-sender-{}", std::process::id()));
    /// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    /// let error = pipe::OpenOptions::new().open_sender(&path).unwrap_err();
    /// assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
    ///
    /// let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
    /// let sender = pipe::OpenOptions::new().open_sender(&path)?;
    /// # drop((receiver, sender));
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn open_sender<P: AsRef<Path>>(&self, path: P) -> io::Result<Sender> {
        let file = self.open(path.as_ref(), false)?;
        Sender::from_file_unchecked(file)
    }

    fn open(&self, path: &Path, to_read: bool) -> io::Result<File> {
        let mut options = File::options();
        options.read(to_read || self.read_write).write(!to_read || self.read_write);
        let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
        if self.unchecked { Ok(file) } else { only_pipes(file) }
    }
}

fn only_pipes(file: File) -> io::Result<File> {
    if file.metadata()?.file_type().is_fifo() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pipe"))
}

/// Takes over a pipe that was opened for `mode`, or for both directions, and makes it non-blocking.
pub(super) fn checked(fd: OwnedFd, mode: libc::c_int) -> io::Result<PipeIo> {
    let file = only_pipes(File::from(fd))?;
    if ![mode, libc::O_RDWR].contains(&pipe_io::access_mode(file.as_fd())?) {
        let why = "the pipe is not open for this direction";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    PipeIo::new(file.into())
}
