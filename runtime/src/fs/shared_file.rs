//! The handle of a file that all cores share.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use futures::channel::oneshot;
use multikernel_replicate::Replicated;

use super::buffer::StableBufMut;
use super::drain::Drain;
use super::error::{CloseError, FileError, OpenError};
use super::operation::{Transferred, perform};
use super::table::{Command, FileTable};
use super::work::{Read, Sync, Write};
use crate::context;
use crate::driver::{At, FileId, StableBuf};
use crate::machine::objects;
use crate::machine::runtime::Handle;
use crate::time::clock;

const _: () = assert!(size_of::<SharedFile>() <= 16);

/// Numbers files. Only uniqueness hangs on it; of all files of the process, so that two Machines are not confused.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A file that is open on every core of the Machine.
///
/// The handle is a small value to copy and send at will. Dropping it closes nothing: [`close`](Self::close) does, for all
/// copies. A handle whose file is closed gets an error, never another file. The files that are open when the Machine ends
/// are closed then.
///
/// Operations run on the core that asks for them, and several at once, in no order. On a guest's thread (inside
/// [`Runtime::block_on`](crate::runtime::Runtime::block_on)) a core does them.
///
/// # Examples
///
/// ```
/// use multikernel::fs::SharedFile;
///
/// # multikernel::runtime::Builder::new_test().cores(4).run(|| async {
/// # let options = std::fs::OpenOptions::new().read(true).clone();
/// let file = SharedFile::open("/proc/self/exe", &options).await?;
/// for task in multikernel::on_each_core(move || async move {
///     let read = file.read_at(Vec::with_capacity(4), 0).await;
///     read.result.map(|_| read.buffer)
/// }) {
///     assert_eq!(&task.await??.unwrap()[..4], b"\x7fELF");
/// }
/// file.close().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedFile {
    id: FileId,
}

/// The table of the Machine whose core this thread is.
async fn table() -> Option<Replicated<FileTable>> {
    Replicated::fixed(objects::FILES, FileTable::default).await.ok()
}

/// A file in the table of which nobody knows yet. It is closed if nobody asks for it.
struct Unclaimed {
    table: Replicated<FileTable>,
    file: Option<SharedFile>,
}

impl Unclaimed {
    fn claim(mut self) -> SharedFile {
        self.file.take().expect("claimed once")
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some(file) = self.file else { return };
        if context::with_core(|core| core.is_some()) {
            drop(crate::spawn_local(file.close_here(false)));
        } else {
            let close = self.table.propose(file.closing(&Arc::default(), false));
            // The first poll proposes it. Nobody waits for the answer; a core that sleeps lets go when it wakes.
            let _ = pin!(close).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl SharedFile {
    /// Opens a file, on a thread for calls that block, and puts it into the table of every core.
    ///
    /// What is neither a file nor a device with offsets is refused with `ESPIPE`.
    ///
    /// # Errors
    ///
    /// Those of the system as [`OpenError::Io`]; [`OpenError::Full`] and [`OpenError::Register`] name the core that did not
    /// take it. Then no core has it.
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
    /// use multikernel::fs::SharedFile;
    /// use std::fs::OpenOptions;
    ///
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// let file = SharedFile::open("/proc/self/exe", OpenOptions::new().read(true)).await?;
    /// file.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<SharedFile, OpenError> {
        let (path, options) = (path.as_ref().to_owned(), options.clone());
        let blocking = Handle::current().machine.blocking.clone();
        let opened = blocking.run(move || {
            let file = OwnedFd::from(options.open(path)?);
            // Without offsets there is no reading at one. A ring would not mind, where pread(2) does.
            // SAFETY: takes no pointers.
            match unsafe { libc::lseek64(file.as_raw_fd(), 0, libc::SEEK_CUR) } {
                0.. => Ok(file),
                _ => Err(io::Error::last_os_error()),
            }
        });
        Self::share(opened.await.map_err(OpenError::Io)?).await
    }

    /// Puts an open descriptor into the table.
    pub(super) async fn share(file: OwnedFd) -> Result<SharedFile, OpenError> {
        let (reply, answer) = oneshot::channel();
        // A task of its own, so that whoever waits for it may go.
        let put = async move {
            // If nobody waits any more, the answer is dropped, and that closes the file.
            let _ = reply.send(put(file).await);
        };
        if context::with_core(|core| core.is_some()) {
            drop(crate::spawn_local(put));
        } else {
            drop(crate::spawn(put));
        }
        match answer.await {
            Ok(put) => put.map(Unclaimed::claim),
            Err(oneshot::Canceled) => Err(OpenError::Ended),
        }
    }

    /// Reads into `buffer` what the file has at `offset`, and gives it back.
    ///
    /// As pread(2): may read less than there is room for, and 0 bytes at the end of the file. A `Vec` is filled up to its
    /// capacity, from the beginning, and is then as long as what was read.
    ///
    /// # Errors
    ///
    /// As the `result` of [`Transferred`]: those of the system, and [`FileError::Closed`].
    ///
    /// # Panics
    ///
    /// The future panics on a thread that is neither a core nor a guest.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, the buffer is lost. It is freed when the system has let go of it; until then
    /// the operation is in flight, and a [`close`](Self::close) waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let options = std::fs::OpenOptions::new().read(true).clone();
    /// # let file = SharedFile::open("/proc/self/exe", &options).await?;
    /// let read = file.read_at(Vec::with_capacity(4), 0).await;
    /// let count = read.result?;
    /// assert_eq!(&read.buffer.unwrap()[..count], b"\x7fELF");
    /// # file.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn read_at<B: StableBufMut>(self, buffer: B, offset: u64) -> Transferred<B> {
        let (result, work) = perform(self.id, Read::new(buffer, At::Offset(offset))).await;
        Transferred { result, buffer: work.map(|work| work.buffer) }
    }

    /// Writes `buffer` to the file at `offset`, and gives it back.
    ///
    /// As pwrite(2): may write less than there is. A file opened to append grows, whatever the offset.
    ///
    /// # Errors
    ///
    /// As for [`read_at`](Self::read_at).
    ///
    /// # Panics
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there; and what was written, all of the buffer, a part or nothing, is not known.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-write-{}", std::process::id()));
    /// # let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).clone();
    /// # let file = SharedFile::open(&path, &options).await?;
    /// assert_eq!(file.write_at(b"hello".to_vec(), 0).await.result?, 5);
    /// assert_eq!(file.write_at(&b"!"[..], 5).await.result?, 1);
    /// # assert_eq!(std::fs::read(&path)?, b"hello!");
    /// # std::fs::remove_file(&path)?;
    /// # file.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn write_at<B: StableBuf>(self, buffer: B, offset: u64) -> Transferred<B> {
        let (result, work) = perform(self.id, Write::new(buffer, At::Offset(offset))).await;
        Transferred { result, buffer: work.map(|work| work.buffer) }
    }

    /// Has everything that was written reach the disk, with all about the file: fsync(2).
    ///
    /// Writes that have not completed need not be covered.
    ///
    /// # Errors
    ///
    /// Those of the system, and [`FileError::Closed`].
    ///
    /// # Panics
    ///
    /// As for [`read_at`](Self::read_at).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped early, it is not known whether it was done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-sync-{}", std::process::id()));
    /// # let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).clone();
    /// # let file = SharedFile::open(&path, &options).await?;
    /// file.write_at(b"hello".to_vec(), 0).await.result?;
    /// file.sync_all().await?;
    /// # std::fs::remove_file(&path)?;
    /// # file.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn sync_all(self) -> Result<(), FileError> {
        perform(self.id, Sync { data_only: false }).await.0.map(drop)
    }

    /// As [`sync_all`](Self::sync_all), without what is only about the file, such as its times: fdatasync(2).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
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
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let path = std::env::temp_dir().join(format!("multikernel-data-{}", std::process::id()));
    /// # let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).clone();
    /// # let file = SharedFile::open(&path, &options).await?;
    /// file.write_at(b"hello".to_vec(), 0).await.result?;
    /// file.sync_data().await?;
    /// # std::fs::remove_file(&path)?;
    /// # file.close().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn sync_data(self) -> Result<(), FileError> {
        perform(self.id, Sync { data_only: true }).await.0.map(drop)
    }

    /// Closes the file on every core.
    ///
    /// When the cores have agreed on it no core starts anything on the file any more. The answer comes when what was in flight
    /// by then has completed everywhere; the operations succeed as if nothing had happened. A core that has died or left
    /// counts as having nothing in flight.
    ///
    /// Nothing is written out: [`sync_all`](Self::sync_all) does that, and reports what went wrong.
    ///
    /// # Errors
    ///
    /// [`CloseError::Closed`] if it is closed already, also when its last operations are still in flight.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest.
    ///
    /// # Cancel safety
    ///
    /// A future dropped before its first poll closes nothing. Later the file is closed all the same, and only the answer is
    /// lost.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let options = std::fs::OpenOptions::new().read(true).clone();
    /// let file = SharedFile::open("/proc/self/exe", &options).await?;
    /// let reading = multikernel::spawn(file.read_at(vec![0; 1 << 20], 0));
    /// multikernel::task::yield_now().await; // it is in flight now
    /// file.close().await?;
    /// assert!(reading.await?.result? > 0);
    /// assert!(file.read_at(Vec::with_capacity(4), 0).await.result.is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn close(self) -> Result<(), CloseError> {
        self.close_when(false).await
    }

    /// Closes the file if nothing is in flight on it, on any core.
    ///
    /// While the cores vote, operations that are about to start wait. Then they go on, or fail because the file is closed.
    ///
    /// # Errors
    ///
    /// [`CloseError::Busy`] with a core that has operations in flight; then the file is as before. [`CloseError::Closed`] if it
    /// is closed already.
    ///
    /// # Panics
    ///
    /// On a thread that is neither a core nor a guest.
    ///
    /// # Cancel safety
    ///
    /// A future dropped before its first poll closes nothing. Later it is not known whether the file is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use multikernel::fs::SharedFile;
    /// # multikernel::runtime::Builder::new_test().run(|| async {
    /// # let options = std::fs::OpenOptions::new().read(true).clone();
    /// let file = SharedFile::open("/proc/self/exe", &options).await?;
    /// file.read_at(Vec::with_capacity(4), 0).await.result?;
    /// file.try_close().await?; // nothing is in flight
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap().unwrap();
    /// ```
    pub async fn try_close(self) -> Result<(), CloseError> {
        self.close_when(true).await
    }

    async fn close_when(self, only_if_idle: bool) -> Result<(), CloseError> {
        // A task of its own, so that whoever waits for it may go.
        let closing = if context::with_core(|core| core.is_some()) {
            crate::spawn_local(self.close_here(only_if_idle))
        } else {
            crate::spawn(self.close_here(only_if_idle))
        };
        closing.await.unwrap_or(Err(CloseError::Ended))
    }

    async fn close_here(self, only_if_idle: bool) -> Result<(), CloseError> {
        let _time_waits_for_files = clock::hold();
        let table = table().await.ok_or(CloseError::Ended)?;
        let drain = Arc::new(Drain::default());
        table.propose(self.closing(&drain, only_if_idle)).await.map_err(CloseError::of)?;
        if !drain.is_over() {
            wake_sleepers();
            drain.over().await;
        }
        Ok(())
    }

    fn closing(self, drain: &Arc<Drain>, only_if_idle: bool) -> Command {
        Command::Close { generation: self.id.generation, drain: drain.clone(), only_if_idle }
    }

    #[cfg(test)]
    pub(super) fn id(self) -> FileId {
        self.id
    }
}

/// A core that has gone to sleep after its vote has the decision in its rings, and reads it when it wakes: before it runs
/// anything, which is all that the agreement promises. Until then it keeps its share of a drain.
fn wake_sleepers() {
    for core in &Handle::current().machine.cores {
        if core.doorbell.must_ring() {
            core.ring();
        }
    }
}

/// Puts a file into the table. On a core.
async fn put(file: OwnedFd) -> Result<Unclaimed, OpenError> {
    let table = table().await.ok_or(OpenError::Ended)?;
    // Relaxed: only the count matters.
    let generation = NEXT.fetch_add(1, Ordering::Relaxed);
    table.propose(Command::Open { generation, file: Arc::new(file) }).await.map_err(OpenError::of)?;
    let id = table.try_read(|table| table.find(generation)).ok().flatten().ok_or(OpenError::Ended)?;
    Ok(Unclaimed { table, file: Some(SharedFile { id }) })
}
