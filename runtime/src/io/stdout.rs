//! The standard output and the standard error.
//!
//! What is written waits in one queue for each, so that all handles agree on an order, and a thread of the pool writes it
//! out. The end of a Machine waits until that has happened.

use std::io::{self, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::stdio::{Waiters, insist};
use crate::context;
use crate::limits::STDIO_BYTES;
use crate::runtime::Handle;

static STDOUT: Output = Output {
    queue: Mutex::new(Queue::new()),
    write: |bytes| {
        let stream = io::stdout();
        write_out(stream.as_fd(), &mut stream.lock(), bytes)
    },
};

static STDERR: Output = Output {
    queue: Mutex::new(Queue::new()),
    write: |bytes| {
        let stream = io::stderr();
        write_out(stream.as_fd(), &mut stream.lock(), bytes)
    },
};

struct Output {
    queue: Mutex<Queue>,
    /// Writes all, blocking.
    write: fn(&[u8]) -> io::Result<()>,
}

struct Queue {
    bytes: Vec<u8>,
    /// Bytes taken into the queue so far.
    taken: u64,
    /// Bytes written out so far, or given up.
    done: u64,
    /// Writes that have failed so far, and why the last one did.
    failures: u64,
    error: Option<(io::ErrorKind, Option<i32>)>,
    writing: bool,
    waiters: Waiters,
}

impl Queue {
    const fn new() -> Queue {
        Queue {
            bytes: Vec::new(),
            taken: 0,
            done: 0,
            failures: 0,
            error: None,
            writing: false,
            waiters: Waiters::new(),
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes out what there is, on a thread that may block, until nothing is left.
    fn run(&self) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let mut queue = self.lock();
            mem::swap(&mut queue.bytes, &mut batch);
            if batch.is_empty() {
                queue.writing = false;
                return;
            }
            drop(queue);
            let result = (self.write)(&batch);
            let mut queue = self.lock();
            queue.done += batch.len() as u64;
            if let Err(error) = result {
                queue.failures += 1;
                queue.error = Some((error.kind(), error.raw_os_error()));
            }
            let waiters = queue.waiters.take();
            drop(queue);
            waiters.wake();
        }
    }
}

fn write_out(fd: BorrowedFd<'_>, stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match insist(fd, libc::POLLOUT, || stream.write(bytes))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => bytes = &bytes[count..],
        }
    }
    insist(fd, libc::POLLOUT, || stream.flush())
}

/// One handle's view of an output.
struct Writer {
    output: &'static Output,
    /// Where the queue ended when this handle last wrote.
    end: u64,
    /// Failures that this handle has told of, or that were before it.
    told: u64,
}

impl Writer {
    fn new(output: &'static Output) -> Writer {
        let told = output.lock().failures;
        Writer { output, end: 0, told }
    }

    /// The error that may have cost bytes of this handle, once.
    fn failure(&mut self, queue: &Queue) -> io::Result<()> {
        if self.told == queue.failures {
            return Ok(());
        }
        self.told = queue.failures;
        match queue.error {
            Some((_, Some(errno))) if self.end > 0 => Err(io::Error::from_raw_os_error(errno)),
            Some((kind, None)) if self.end > 0 => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = ready!(context::poll_proceed(cx));
        // Cloned before the lock: a waker's functions are foreign code.
        let waker = cx.waker().clone();
        let mut queue = self.output.lock();
        self.failure(&queue)?;
        let count = bytes.len().min(STDIO_BYTES - queue.bytes.len());
        if count == 0 && !bytes.is_empty() {
            let surplus = queue.waiters.add(waker);
            drop(queue);
            drop(surplus);
            return Poll::Pending;
        }
        // Before anything changes: it may panic.
        let machine = (!queue.writing && count > 0).then(|| Handle::current().machine);
        queue.bytes.extend_from_slice(&bytes[..count]);
        queue.taken += count as u64;
        queue.writing |= machine.is_some();
        self.end = queue.taken;
        drop(queue);
        if let Some(machine) = machine {
            let output = self.output;
            machine.blocking.owe(|| output.run());
        }
        progress.made();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waker = cx.waker().clone();
        let mut queue = self.output.lock();
        self.failure(&queue)?;
        if queue.done >= self.end {
            return Poll::Ready(Ok(()));
        }
        let surplus = queue.waiters.add(waker);
        drop(queue);
        drop(surplus);
        Poll::Pending
    }
}

/// The standard output of this process.
///
/// `Ok(n)` from a write means that the bytes have their place in the one queue of all handles, which holds 64 KiB; a
/// thread of the pool for blocking calls writes it out, in that order. [`flush`](super::AsyncWriteExt::flush) waits
/// until that has happened to what this handle wrote. The end of a Machine waits for it too; `std::process::exit` does
/// not. An error of writing comes from a later call of each handle that has written before.
///
/// It goes through [`std::io::stdout`], so pieces of `print!` stand between whole writes.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncWriteExt, Stdout, stdout};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut out: Stdout = stdout();
/// out.write_all(b"done\n").await?;
/// out.flush().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Stdout(Writer);

/// A handle of the standard output.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncWriteExt, stdout};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// stdout().write_all(b"written at the latest when the Machine ends\n").await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub fn stdout() -> Stdout {
    Stdout(Writer::new(&STDOUT))
}

/// The standard error of this process. As [`Stdout`].
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncWriteExt, Stderr, stderr};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut log: Stderr = stderr();
/// log.write_all(b"listening\n").await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub struct Stderr(Writer);

/// A handle of the standard error.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncWriteExt, stderr};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut log = stderr();
/// log.write_all(b"stopping\n").await?;
/// log.flush().await?;
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
pub fn stderr() -> Stderr {
    Stderr(Writer::new(&STDERR))
}

macro_rules! outputs {
    ($($name:ident $call:ident),*) => {$(
        impl AsyncWrite for $name {
            /// # Panics
            ///
            /// On a thread that is neither a core nor inside a `block_on`.
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.poll_write(cx, bytes)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx)
            }

            /// Flushes. The stream stays open, for others of this process.
            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.0.poll_flush(cx)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                static STREAM: LazyLock<io::$name> = LazyLock::new(io::$call);
                STREAM.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }
    )*};
}

outputs!(Stdout stdout, Stderr stderr);
