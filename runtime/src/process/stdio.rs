//! The pipes to a child's standard streams.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::Stdio;

use crate::driver::{Interest, RecvBuf, Sent, StableBuf};
use crate::net::PipeIo;

/// Writes to a child's standard input. Dropping it is the end of that input.
///
/// It implements `AsyncWrite` of tokio and of `futures`, with those features. Shutting the writer down changes
/// nothing, as for tokio's: only dropping it ends the input.
///
/// A child that has closed its input makes writing an error, `BrokenPipe`. That is so while the process ignores
/// `SIGPIPE`, as Rust programs do from their start; their children get it back.
///
/// # Examples
///
/// ```
/// use multikernel::process::{ChildStdin, Command};
/// use std::process::Stdio;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let input: ChildStdin = child.stdin.take().unwrap();
/// input.send_all(&b"hello"[..]).await.result?;
/// drop(input);
/// assert_eq!(child.wait_with_output().await?.stdout, b"hello");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct ChildStdin {
    pipe: PipeIo,
}

/// Reads what a child writes to its standard output.
///
/// It implements `AsyncRead` of tokio and of `futures`, with those features. When it is dropped, the child gets
/// `SIGPIPE` for what it writes next.
///
/// # Examples
///
/// ```
/// use multikernel::process::{ChildStdout, Command};
/// use std::process::Stdio;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn()?;
/// let output: ChildStdout = child.stdout.take().unwrap();
/// assert_eq!(&output.recv().await?[..], b"hello\n");
/// assert!(output.recv().await?.is_empty());
/// # child.wait().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct ChildStdout {
    pipe: PipeIo,
}

/// Reads what a child writes to its standard error. As [`ChildStdout`].
///
/// # Examples
///
/// ```
/// use multikernel::process::{ChildStderr, Command};
/// use std::process::Stdio;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut child = Command::new("sh").args(["-c", "echo oh >&2"]).stderr(Stdio::piped()).spawn()?;
/// let errors: ChildStderr = child.stderr.take().unwrap();
/// assert_eq!(&errors.recv().await?[..], b"oh\n");
/// # child.wait().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct ChildStderr {
    pipe: PipeIo,
}
macro_rules! stdio {
    ($($name:ident, $field:literal;)*) => {$(
        impl $name {
            /// Takes over std's end of a pipe, and makes it non-blocking.
            ///
            /// # Errors
            ///
            /// The system's.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("use multikernel::process::", stringify!($name), ";")]
            /// use std::process::{Command, Stdio};
            ///
            /// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped())
            ///     .stderr(Stdio::piped()).spawn()?;
            #[doc = concat!("let end = ", stringify!($name), "::from_std(child.", $field, ".take().unwrap())?;")]
            /// # drop((end, child.stdin.take()));
            /// # child.wait()?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn from_std(std: std::process::$name) -> io::Result<Self> {
                OwnedFd::from(std).try_into()
            }

            /// The descriptor, blocking as it was when the pipe was made.
            ///
            /// # Errors
            ///
            /// No descriptor number is free: one that a driver watches comes back under a new one.
            ///
            /// # Examples
            ///
            /// ```
            /// use multikernel::process::Command;
            /// use std::process::Stdio;
            ///
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            /// let mut child = Command::new("true").stdin(Stdio::piped()).stdout(Stdio::piped())
            ///     .stderr(Stdio::piped()).spawn()?;
            #[doc = concat!("let end = child.", $field, ".take().unwrap().into_owned_fd()?;")]
            /// # drop(end);
            /// # child.wait().await?;
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                self.pipe.into_blocking_fd()
            }

            pub(crate) fn io(&self) -> &PipeIo {
                &self.pipe
            }
        }

        /// Takes over one end of a pipe, and makes it non-blocking.
        impl TryFrom<OwnedFd> for $name {
            type Error = io::Error;

            fn try_from(end: OwnedFd) -> io::Result<$name> {
                Ok($name { pipe: PipeIo::new(end)? })
            }
        }

        /// The descriptor, blocking again: for another child's standard stream.
        impl TryFrom<$name> for Stdio {
            type Error = io::Error;

            fn try_from(end: $name) -> io::Result<Stdio> {
                end.into_owned_fd().map(Stdio::from)
            }
        }

        impl TryFrom<$name> for OwnedFd {
            type Error = io::Error;

            fn try_from(end: $name) -> io::Result<OwnedFd> {
                end.into_owned_fd()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.pipe.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.pipe.as_fd().as_raw_fd()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.as_raw_fd()).finish()
            }
        }

        const _: fn() = || {
            fn is_send_sync<T: Send + Sync + Unpin>() {}
            is_send_sync::<$name>();
        };
    )*};
}

stdio! {
    ChildStdin, "stdin";
    ChildStdout, "stdout";
    ChildStderr, "stderr";
}

macro_rules! reads {
    ($($name:ident, $field:literal, $command:literal;)*) => {$(
        impl $name {
            /// The next bytes, at most 4096 of them; none at the end of the stream. While it waits it holds no buffer.
            ///
            /// # Errors
            ///
            /// The system's.
            ///
            /// # Panics
            ///
            /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe: bytes that have arrived wait for the next call.
            ///
            /// # Examples
            ///
            /// ```
            /// # use multikernel::process::Command;
            /// # use std::process::Stdio;
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = concat!("let mut command = Command::new(\"sh\"); command.args([\"-c\", \"", $command, "\"]);")]
            #[doc = concat!("let mut child = command.", $field, "(Stdio::piped()).spawn()?;")]
            #[doc = concat!("let output = child.", $field, ".take().unwrap();")]
            /// let mut all = Vec::new();
            /// loop {
            ///     let bytes = output.recv().await?;
            ///     if bytes.is_empty() {
            ///         break;
            ///     }
            ///     all.extend_from_slice(&bytes);
            /// }
            /// assert_eq!(all, b"hello\n");
            /// # child.wait().await?;
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub async fn recv(&self) -> io::Result<RecvBuf> {
                self.pipe.recv().await
            }

            /// Waits until there is something to read, the end included. It may be wrong: what is tried next may still
            /// find nothing.
            ///
            /// # Errors
            ///
            /// The driver cannot watch the pipe.
            ///
            /// # Panics
            ///
            /// On a thread that is neither a core nor inside a `block_on`.
            ///
            /// # Cancel safety
            ///
            /// Readiness is not lost when the future is dropped: the next one finds it.
            ///
            /// # Examples
            ///
            /// ```
            /// # use multikernel::process::Command;
            /// # use std::process::Stdio;
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = concat!("let mut command = Command::new(\"sh\"); command.args([\"-c\", \"", $command, "\"]);")]
            #[doc = concat!("let mut child = command.", $field, "(Stdio::piped()).spawn()?;")]
            #[doc = concat!("let output = child.", $field, ".take().unwrap();")]
            /// output.readable().await?;
            /// let mut room = [0; 64];
            /// assert_eq!(output.try_read(&mut room)?, 6);
            /// # child.wait().await?;
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub async fn readable(&self) -> io::Result<()> {
                self.pipe.ready(Interest::READABLE).await.map(drop)
            }

            /// Reads what is there, without waiting. `Ok(0)` is the end of the stream, if `buf` is not empty.
            ///
            /// # Errors
            ///
            /// `WouldBlock` when there is nothing, or when this core has not heard of anything new since it last found
            /// nothing: wait with [`readable`](Self::readable) between attempts.
            ///
            /// # Examples
            ///
            /// ```
            /// # use multikernel::process::Command;
            /// # use std::{io::ErrorKind, process::Stdio};
            /// # multikernel::runtime::Builder::new_test().run(|| async {
            #[doc = concat!("let mut child = Command::new(\"sleep\").arg(\"60\").", $field, "(Stdio::piped()).spawn()?;")]
            #[doc = concat!("let output = child.", $field, ".take().unwrap();")]
            /// assert_eq!(output.try_read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
            /// child.kill().await?;
            /// output.readable().await?;
            /// assert_eq!(output.try_read(&mut [0; 64])?, 0);
            /// # std::io::Result::Ok(())
            /// # }).unwrap().unwrap();
            /// ```
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.pipe.try_read(buf)
            }
        }
    )*};
}

reads! {
    ChildStdout, "stdout", "echo hello";
    ChildStderr, "stderr", "echo hello >&2";
}

impl ChildStdin {
    /// Writes all of `buffer`, and gives it back.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when the child has closed its input or has ended, as the `result` of [`Sent`]. Some of the bytes
    /// may have been written.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a future dropped early has written a part of the buffer, or none.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::process::Command;
    /// use std::process::Stdio;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("wc").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let input = child.stdin.take().unwrap();
    /// input.send_all(vec![b'x'; 1_000_000]).await.result?;
    /// drop(input);
    /// assert_eq!(child.wait_with_output().await?.stdout.trim_ascii(), b"1000000");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn send_all<B: StableBuf>(&self, buffer: B) -> Sent<B> {
        self.pipe.send_all(buffer).await
    }

    /// Waits until there is room to write, or writing fails. It may be wrong: what is tried next may still find no
    /// room.
    ///
    /// # Errors
    ///
    /// The driver cannot watch the pipe.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Readiness is not lost when the future is dropped: the next one finds it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # use std::process::Stdio;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    /// let input = child.stdin.take().unwrap();
    /// input.writable().await?;
    /// assert_eq!(input.try_write(b"hello")?, 5);
    /// # drop(input);
    /// # child.wait().await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn writable(&self) -> io::Result<()> {
        self.pipe.ready(Interest::WRITABLE).await.map(drop)
    }

    /// Writes what fits, without waiting, and says how much that was.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing fits: wait with [`writable`](Self::writable) between attempts. `BrokenPipe` when the
    /// child has closed its input or has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # use std::{io::ErrorKind, process::Stdio};
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// // It reads nothing.
    /// let mut child = Command::new("sleep").arg("60").stdin(Stdio::piped()).spawn()?;
    /// let input = child.stdin.take().unwrap();
    /// while input.try_write(&[0; 4096]).is_ok() {}
    /// assert_eq!(input.try_write(b"more").unwrap_err().kind(), ErrorKind::WouldBlock);
    /// child.kill().await?;
    /// input.writable().await?;
    /// assert_eq!(input.try_write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.pipe.try_write(buf)
    }

    /// Nothing is kept back, and only a drop ends the stream.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
