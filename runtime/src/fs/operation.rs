//! Reads, writes and syncs of a shared file.

use std::io;
use std::task::Waker;

use super::buffer::StableBufMut;
use super::error::FileError;
use crate::driver::{FileId, FileOp, Order, Outcome, StableBuf, Work, parcel};
use crate::limits::LONGEST_TRANSFER;
use crate::machine::runtime::Handle;
use crate::time::clock;

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
pub struct Transferred<B> {
    /// How many bytes: 0 at the end of the file, and maybe fewer than there was room or data for.
    pub result: Result<usize, FileError>,
    /// `None` only when the core that worked on it has ended and may not have let go of the buffer.
    pub buffer: Option<B>,
}

pub(super) struct Read<B> {
    pub(super) buffer: B,
    pub(super) offset: u64,
}

pub(super) struct Write<B> {
    pub(super) buffer: B,
    pub(super) offset: u64,
}

pub(super) struct Sync {
    pub(super) data_only: bool,
}

fn length(length: usize) -> u32 {
    length.min(LONGEST_TRANSFER) as u32
}

// SAFETY: by the rules of `StableBufMut`.
unsafe impl<B: StableBufMut> Work for Read<B> {
    fn order(&mut self) -> Order {
        let (to, most) = self.buffer.space();
        Order::Read { to, length: length(most), offset: self.offset }
    }

    unsafe fn done(&mut self, count: usize) {
        // SAFETY: so many bytes have been read, and no more than were asked for.
        unsafe { self.buffer.filled(count) };
    }

    fn into_parcel(self) -> Waker {
        parcel(self.buffer)
    }
}

// SAFETY: by the rules of `StableBuf`. It is only read from.
unsafe impl<B: StableBuf> Work for Write<B> {
    fn order(&mut self) -> Order {
        let bytes = self.buffer.bytes();
        Order::Write { from: bytes.as_ptr(), length: length(bytes.len()), offset: self.offset }
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        parcel(self.buffer)
    }
}

// SAFETY: there is no memory.
unsafe impl Work for Sync {
    fn order(&mut self) -> Order {
        Order::Sync { data_only: self.data_only }
    }

    unsafe fn done(&mut self, _: usize) {}

    fn into_parcel(self) -> Waker {
        Waker::noop().clone()
    }
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
