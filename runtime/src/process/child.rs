//! A child process as its parent sees it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::process::{ExitStatus, Output};
use std::task::{Context, Poll, ready};

use super::orphans;
use super::running::Running;
use super::{ChildStderr, ChildStdin, ChildStdout};
use crate::driver::is_forked_child;
use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::net::PipeIo;

/// A child process. From [`Command::spawn`](super::Command::spawn).
///
/// Dropping it leaves the child running, unless [`kill_on_drop`](super::Command::kill_on_drop) says otherwise. Either
/// way it is reaped when it ends: no zombie is left, whatever becomes of this value, of its futures and of the Machine.
/// (Not when the drop happens in a forked child, where nothing is done, or when nothing is dropped, as in `forget`.)
///
/// It may be used on any core and on threads inside a `block_on`, and may move between Machines.
///
/// # Examples
///
/// ```
/// use multikernel::process::{Child, Command};
/// use std::process::Stdio;
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// let mut child: Child = Command::new("sort").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let input = child.stdin.take().expect("it was asked for");
/// input.send_all(&b"pear\napple\n"[..]).await.result?;
/// drop(input); // the end of its input
///
/// let output = child.wait_with_output().await?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"apple\npear\n");
/// # std::io::Result::Ok(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
pub struct Child {
    state: State,
    /// Writes to the child's standard input, if that was [piped](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// Reads the child's standard output, if that was piped.
    pub stdout: Option<ChildStdout>,
    /// Reads the child's standard error, if that was piped.
    pub stderr: Option<ChildStderr>,
}

#[derive(Debug)]
enum State {
    Running(Guard),
    Ended(ExitStatus),
}

/// Leaves the child to the orphans when dropped.
struct Guard {
    /// `None` once it has been given away or reaped.
    running: Option<Running>,
    kill_on_drop: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        if is_forked_child() {
            return std::mem::forget(running); // it is the parent's
        }
        if self.kill_on_drop
            && let Err(error) = running.kill()
        {
            tracing::warn!(%error, pid = running.id(), "a child that was dropped cannot be killed");
        }
        orphans::adopt(running);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.running.as_ref().map(Running::id);
        f.debug_struct("Running").field("id", &id).field("kill_on_drop", &self.kill_on_drop).finish()
    }
}

impl Child {
    /// Takes over a child that std has started.
    ///
    /// # Errors
    ///
    /// A pipe cannot be made non-blocking. The child is killed and reaped then.
    pub(super) fn new(std: std::process::Child, kill_on_drop: bool) -> io::Result<Child> {
        let guard = Guard { running: Some(Running::new(std.id())), kill_on_drop: true };
        let mut child = Child { state: State::Running(guard), stdin: None, stdout: None, stderr: None };
        child.stdin = std.stdin.map(ChildStdin::from_std).transpose()?;
        child.stdout = std.stdout.map(ChildStdout::from_std).transpose()?;
        child.stderr = std.stderr.map(ChildStderr::from_std).transpose()?;
        if let State::Running(guard) = &mut child.state {
            guard.kill_on_drop = kill_on_drop;
        }
        Ok(child)
    }

    /// The child's process id. `None` once it has been waited for: the number may then be another's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("true").spawn()?;
    /// assert!(child.id().is_some());
    /// child.wait().await?;
    /// assert!(child.id().is_none());
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn id(&self) -> Option<u32> {
        match &self.state {
            State::Running(guard) => guard.running.as_ref().map(Running::id),
            State::Ended(_) => None,
        }
    }

    /// Sends `SIGKILL` to the child. It has to be waited for still, or dropped.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the child has been waited for; the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.start_kill()?;
    /// assert_eq!(child.wait().await?.signal(), Some(9));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn start_kill(&mut self) -> io::Result<()> {
        let State::Running(Guard { running: Some(running), .. }) = &self.state else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the child has ended already"));
        };
        running.kill()
    }

    /// Sends `SIGKILL` to the child and waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`start_kill`](Self::start_kill) and of [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped after its first poll, the child has been killed, and can be waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use multikernel::process::Command;
    /// use multikernel::time::{Duration, timeout};
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// if timeout(Duration::from_millis(1), child.wait()).await.is_err() {
    ///     child.kill().await?;
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Waits until the child has ended, and says how. Closes its standard input first, if that is still in
    /// [`stdin`](Self::stdin), so that a child that reads to the end can end.
    ///
    /// Take its output elsewhere at the same time, or use [`wait_with_output`](Self::wait_with_output): a child whose
    /// output nobody reads waits when the pipe is full.
    ///
    /// # Errors
    ///
    /// The child has been reaped by somebody else (a library that waits for any child, or a process that ignores
    /// `SIGCHLD`); no core can watch it.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next call finds the same end, also when it was found before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn()?;
    /// assert_eq!(child.wait().await?.code(), Some(3));
    /// assert_eq!(child.wait().await?.code(), Some(3));
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        poll_fn(|cx| self.state.poll_wait(cx)).await
    }

    /// Says how the child has ended, if it has. Does not wait, and leaves [`stdin`](Self::stdin) open.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn()?;
    /// assert!(child.try_wait()?.is_none()); // it sleeps
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let running = match &self.state {
            State::Running(guard) => guard.running.as_ref().expect("given away in the drop alone"),
            State::Ended(status) => return Ok(Some(*status)),
        };
        let status = running.try_reap()?;
        if let Some(status) = status {
            self.state.end(status);
        }
        Ok(status)
    }

    /// Waits until the child has ended, and meanwhile reads what it writes to the pipes that are still in
    /// [`stdout`](Self::stdout) and [`stderr`](Self::stderr), both at once. Closes its standard input first.
    ///
    /// The output is kept in memory, however much it is: read the pipes for a child that is not trusted.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait), and those of reading. The child is then dropped.
    ///
    /// # Panics
    ///
    /// When it has to wait on a thread that is neither a core nor inside a `block_on`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the child is dropped with the future, and what it has written so far is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::process::Command;
    /// use std::process::Stdio;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let mut date = Command::new("date");
    /// let child = date.args(["-u", "-d", "@0", "+%F"]).stdout(Stdio::piped()).spawn()?;
    /// assert_eq!(child.wait_with_output().await?.stdout, b"1970-01-01\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let stdout = read_to_end(stdout.as_ref().map(ChildStdout::io));
        let stderr = read_to_end(stderr.as_ref().map(ChildStderr::io));
        let (status, stdout, stderr) = futures::future::try_join3(self.wait(), stdout, stderr).await?;
        Ok(Output { status, stdout, stderr })
    }
}

impl State {
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let status = match self {
            State::Running(guard) => {
                ready!(guard.running.as_mut().expect("given away in the drop alone").poll_reap(cx))?
            }
            State::Ended(status) => *status,
        };
        self.end(status);
        Poll::Ready(Ok(status))
    }

    /// The child has been reaped: nobody need look after it.
    fn end(&mut self, status: ExitStatus) {
        if let State::Running(guard) = self {
            drop(guard.running.take());
        }
        *self = State::Ended(status);
    }
}

async fn read_to_end(pipe: Option<&PipeIo>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok(bytes) };
    let read = poll_fn(|cx| {
        loop {
            bytes.reserve(RECEIVE_BUFFER_BYTES);
            if ready!(pipe.poll_read_into(cx, &mut bytes))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    });
    read.await.map(|()| bytes)
}

const _: fn() = || {
    fn is_send_sync<T: Send + Sync + Unpin>() {}
    is_send_sync::<Child>();
};
