//! Operations on files, one of the table or one of its own, until they are done.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::error::FileError;
use crate::context;
use crate::driver::{FileId, FileOp, Lease, Outcome, Work};
use crate::machine::blocking::Call;
use crate::machine::runtime::Handle;
use crate::time::clock::{self, Hold};

/// What became of a read or a write.
///
/// # Examples
///
/// A buffer that serves for one read after the other:
///
/// ```
/// use multikernel::fs::{SharedFile, Transferred};
///
/// # multikernel::runtime::Builder::new_test().run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// let file = SharedFile::open("/proc/self/exe", &options).await?;
/// let mut buffer = Vec::with_capacity(4096);
/// for page in 0..3 {
///     let Transferred { result, buffer: back } = file.read_at(buffer, page * 4096).await;
///     assert_eq!(result?, 4096);
///     buffer = back.unwrap_or_default();
/// }
/// # file.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Debug)]
#[must_use = "the result says how much was read or written"]
pub struct Transferred<B, E = FileError> {
    /// How many bytes: 0 at the end of the file, and maybe fewer than there was room or data for.
    pub result: Result<usize, E>,
    /// `None` only when the core that worked on it has ended and may not have let go of the buffer.
    pub buffer: Option<B>,
}

/// Does the work on this core, or on some core if this thread is none.
pub(super) async fn perform<W: Work>(file: FileId, work: W) -> (Result<usize, FileError>, Option<W>) {
    let _time_waits_for_files = clock::hold();
    match FileOp::new(file, work).await {
        Outcome::Away(work) => match crate::spawn(perform_here(file, work)).await {
            Ok(done) => done,
            Err(_) => (Err(FileError::Io(io::Error::other("the runtime is ending"))), None),
        },
        outcome => finish(outcome).await,
    }
}

async fn perform_here<W: Work>(file: FileId, work: W) -> (Result<usize, FileError>, Option<W>) {
    finish(FileOp::new(file, work).await).await
}

async fn finish<W: Work>(outcome: Outcome<W>) -> (Result<usize, FileError>, Option<W>) {
    match outcome {
        Outcome::Done(result, work) => (result.map_err(FileError::Io), work),
        Outcome::Closed(work) => (Err(FileError::Closed), Some(work)),
        Outcome::Away(_) => unreachable!("tasks run on cores"),
        Outcome::Blocking(lease, mut work) => {
            let blocking = Handle::current().machine.blocking.clone();
            let call = move || {
                let result = lease.carry_out(&mut work);
                // The file is out of use before anybody hears of it.
                drop(lease);
                (result.map_err(FileError::Io), Some(work))
            };
            blocking.run(call).await
        }
    }
}

/// One operation on a file of its own: by this core's ring, or else by a thread for calls that block.
pub(super) struct Transfer<W: Work> {
    step: Step<W>,
    _time_waits_for_files: Option<Hold>,
}

enum Step<W: Work> {
    Here(FileOp<W>),
    Called(Call<(io::Result<usize>, W)>),
}

impl<W: Work> Transfer<W> {
    pub(super) fn new(file: &Arc<File>, work: W) -> Self {
        Self::begin(FileOp::new(file.clone(), work))
    }

    /// One that a call does, whatever the driver.
    pub(super) fn by_call(file: &Arc<File>, work: W) -> Self {
        Self::begin(FileOp::blocking(file.clone(), work))
    }

    fn begin(operation: FileOp<W>) -> Self {
        Transfer { step: Step::Here(operation), _time_waits_for_files: clock::hold() }
    }

    /// Polls without regard to the task's budget. The work is gone only if the core that did it has ended.
    pub(super) fn poll_now(&mut self, cx: &mut Context<'_>) -> Poll<(io::Result<usize>, Option<W>)> {
        if let Step::Here(operation) = &mut self.step {
            let (lease, mut work) = match ready!(operation.poll_now(cx)) {
                Outcome::Done(result, work) => return Poll::Ready((result, work)),
                Outcome::Blocking(lease, work) => (lease, work),
                Outcome::Away(work) | Outcome::Closed(work) => {
                    let file = operation.file().expect("it was made for one");
                    (Lease::own(file.clone()), work)
                }
            };
            let call = move || {
                let result = lease.carry_out(&mut work);
                // The file is out of use before anybody hears of it.
                drop(lease);
                (result, work)
            };
            self.step = Step::Called(Handle::current().machine.blocking.start(call));
        }
        let Step::Called(call) = &mut self.step else { unreachable!("it was just made") };
        let (result, work) = ready!(Pin::new(call).poll(cx));
        Poll::Ready((result, Some(work)))
    }
}

impl<W: Work> Future for Transfer<W> {
    type Output = (io::Result<usize>, Option<W>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let progress = ready!(context::poll_proceed(cx));
        let done = ready!(self.get_mut().poll_now(cx));
        progress.made();
        Poll::Ready(done)
    }
}
