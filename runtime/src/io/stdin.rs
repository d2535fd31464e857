//! The standard input.
//!
//! A read may block for ever, so a thread of the pool makes it: one at a time for the whole process. What it has read
//! waits here for whoever reads next, so that nothing is lost with a future, or a handle, that is dropped meanwhile.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::stdio::{Waiters, insist};
use crate::context;
use crate::limits::STDIO_BYTES;
use crate::runtime::Handle;

static INPUT: Mutex<Input> = Mutex::new(Input::new());

struct Input {
    /// Read, but for the first `start` not handed out yet.
    bytes: Vec<u8>,
    start: usize,
    /// How the last read ended, if it brought no bytes: `Ok` is the end.
    end: Option<io::Result<()>>,
    reading: bool,
    waiters: Waiters,
}

impl Input {
    const fn new() -> Input {
        Input { bytes: Vec::new(), start: 0, end: None, reading: false, waiters: Waiters::new() }
    }
}

fn input() -> MutexGuard<'static, Input> {
    INPUT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A read on its way to a thread of the pool, or there.
struct Reading {
    room: Vec<u8>,
    got: usize,
    end: Option<io::Result<()>>,
}

impl Reading {
    fn run(mut self) {
        let stdin = io::stdin();
        let room = &mut self.room;
        match insist(stdin.as_fd(), libc::POLLIN, || stdin.lock().read(room)) {
            Ok(0) => self.end = Some(Ok(())),
            Ok(got) => self.got = got,
            Err(error) => self.end = Some(Err(error)),
        }
    }
}

impl Drop for Reading {
    /// Delivers what it has. Nothing, if it never ran, for the runtime has ended: the next reader begins anew.
    fn drop(&mut self) {
        let mut input = input();
        input.bytes = std::mem::take(&mut self.room);
        input.bytes.truncate(self.got);
        input.start = 0;
        input.end = self.end.take();
        input.reading = false;
        let waiters = input.waiters.take();
        drop(input);
        waiters.wake();
    }
}

/// The standard input of this process.
///
/// All handles read from one place. A read may block, so a thread of the pool for blocking calls makes it, one at a time;
/// what it brings waits for the next read, also when the future or the handle that asked for it is gone. The end of a
/// Machine does not wait for a read that is under way. Code that reads [`std::io::stdin`] at the same time gets what
/// comes while it reads.
///
/// # Examples
///
/// ```
/// use multikernel::io::{AsyncBufReadExt, BufReader, stdin};
///
/// async fn commands() -> std::io::Result<()> {
///     let mut lines = BufReader::new(stdin()).lines();
///     while let Some(line) = lines.next_line().await? {
///         println!("no such command: {line}");
///     }
///     Ok(())
/// }
/// # // The input of a test may be a terminal, which has no end.
/// # drop(commands());
/// ```
#[derive(Debug)]
pub struct Stdin {
    _only_by_call: (),
}

/// A handle of the standard input. See [`Stdin`], also for an example that reads lines.
///
/// # Examples
///
/// ```
/// use multikernel::io::stdin;
/// use std::io::IsTerminal;
/// use std::os::fd::AsFd;
///
/// if stdin().as_fd().is_terminal() {
///     println!("your name?");
/// }
/// ```
pub fn stdin() -> Stdin {
    Stdin { _only_by_call: () }
}

impl AsyncRead for Stdin {
    /// # Panics
    ///
    /// When it has to read on a thread that is neither a core nor inside a `block_on`.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let progress = ready!(context::poll_proceed(cx));
        // Cloned before the lock: a waker's functions are foreign code.
        let waker = cx.waker().clone();
        let mut input = input();
        let count = buf.remaining().min(input.bytes.len() - input.start);
        if count > 0 {
            buf.put_slice(&input.bytes[input.start..input.start + count]);
            input.start += count;
        } else if let Some(end) = input.end.take() {
            end?;
        } else {
            let surplus = input.waiters.add(waker);
            let begins = !input.reading;
            input.reading = true;
            let mut room = if begins { std::mem::take(&mut input.bytes) } else { Vec::new() };
            input.start = 0;
            drop(input);
            drop(surplus);
            if begins {
                room.clear();
                room.resize(buf.remaining().min(STDIO_BYTES), 0);
                // Dropped, it says that nobody reads: also when there is no runtime to read with.
                let reading = Reading { room, got: 0, end: None };
                drop(Handle::current().machine.blocking.start(|| reading.run()));
            }
            return Poll::Pending;
        }
        drop(input);
        progress.made();
        Poll::Ready(Ok(()))
    }
}

impl AsFd for Stdin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        static STREAM: LazyLock<io::Stdin> = LazyLock::new(io::stdin);
        STREAM.as_fd()
    }
}

impl AsRawFd for Stdin {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
