//! A file as a stream: what is read and written at its own position, one operation at a time.
//!
//! An operation belongs to the stream, not to the future that waits for it. So a read that is given up is not lost: what it
//! brings is `unread`, and comes first in the next read. And a write that is given up goes on.
//!
//! The position is ahead of what the caller has seen by what is unread. A seek takes that into account, and a write goes back
//! before it begins.
//!
//! Whose position it is, is a [`Place`]'s affair. A ring that is to read or write at a file's own position and gets only a part
//! done before an error (a disk is full) tells how much, and leaves the position where it was: who went on from there would write
//! over what he has just written. So a ring is told offsets. Where others may have the same open file, and its position counts,
//! calls do the work.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use super::operation::Transfer;
use super::work::{Put, Take, Write};
use crate::context;
use crate::driver::{At, Work};
use crate::limits::FILE_BUFFER_BYTES;
use crate::machine::blocking::Call;
use crate::machine::runtime::Handle;

/// Where the next byte is read or written.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Here. All handles that were cloned from one share it. [`HANDED_OVER`] when one of them has gone to std.
    Kept(Arc<AtomicU64>),
    /// Wherever it goes: a pipe, or a file that is only appended to.
    Flow,
    /// The open file's own, which may be shared with others.
    Shared,
}

/// No position: the open file's own counts.
const HANDED_OVER: u64 = u64::MAX;

impl Place {
    /// Of a file that has just been opened, and that nobody else has.
    pub(crate) fn of_new(file: &File) -> Place {
        // SAFETY: take no pointers. Neither waits: of a file that nobody else uses, memory tells.
        let (flags, position) = unsafe {
            (libc::fcntl(file.as_raw_fd(), libc::F_GETFL), libc::lseek64(file.as_raw_fd(), 0, libc::SEEK_CUR))
        };
        let (appends, reads) = (flags & libc::O_APPEND != 0, flags & libc::O_ACCMODE != libc::O_WRONLY);
        match (position, appends, reads) {
            (..0, _, _) | (_, true, false) => Place::Flow,
            (_, true, true) => Place::Shared,
            (0.., false, _) => Place::Kept(Arc::new(AtomicU64::new(position as u64))),
        }
    }

    pub(crate) fn is_flow(&self) -> bool {
        matches!(self, Place::Flow)
    }

    pub(crate) fn at(&self) -> At {
        self.kept().map_or(At::Position, |position| At::Offset(position.load(Ordering::Relaxed)))
    }

    /// The position that is kept here.
    fn kept(&self) -> Option<&AtomicU64> {
        match self {
            // Relaxed, as everywhere: it is a number, and who uses two handles at once gets what he asks for.
            Place::Kept(position) if position.load(Ordering::Relaxed) != HANDED_OVER => Some(position),
            Place::Kept(_) | Place::Flow | Place::Shared => None,
        }
    }

    pub(crate) fn advance(&self, count: usize) {
        if let Some(position) = self.kept() {
            position.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

pub(crate) struct Stream {
    file: Arc<File>,
    place: Place,
    state: State,
    /// What has been read. The first `taken` bytes have been handed out.
    unread: Vec<u8>,
    taken: usize,
    /// Memory for the next write.
    spare: Vec<u8>,
    /// Of a write whose success was reported when it began. The next call that may report it does.
    failed: Option<io::Error>,
    /// Where the last seek went.
    position: u64,
    pub(crate) most: usize,
}

enum State {
    Idle,
    Reading(Transfer<Take>),
    Writing(Transfer<Put>),
    Seeking(
        #[cfg_attr(not(feature = "futures-io"), expect(dead_code, reason = "see `poll_seek_to`"))] SeekFrom,
        Call<io::Result<u64>>,
    ),
    /// Back by what is unread.
    Rewinding(Call<io::Result<u64>>),
}

impl Stream {
    pub(crate) fn new(file: Arc<File>, place: Place) -> Stream {
        Stream {
            file,
            place,
            state: State::Idle,
            unread: Vec::new(),
            taken: 0,
            spare: Vec::new(),
            failed: None,
            position: 0,
            most: FILE_BUFFER_BYTES,
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Gives the open file the position that was kept here. Waits for nobody, for with such a place nobody uses the file's own.
    pub(crate) fn hand_over_position(&self) -> io::Result<()> {
        if let Some(position) = self.place.kept() {
            (&*self.file).seek(SeekFrom::Start(position.load(Ordering::Relaxed)))?;
            position.store(HANDED_OVER, Ordering::Relaxed);
        }
        Ok(())
    }

    fn transfer<W: Work>(&self, work: W) -> Transfer<W> {
        if self.place.is_flow() || self.place.kept().is_some() {
            Transfer::new(&self.file, work)
        } else {
            Transfer::by_call(&self.file, work)
        }
    }

    fn ahead(&self) -> usize {
        self.unread.len() - self.taken
    }

    /// Nothing is under way, and the file's position is the caller's.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, State::Idle) && self.ahead() == 0 && self.failed.is_none()
    }

    /// Lets the operation under way end. What it brings is kept.
    pub(crate) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.state {
                State::Idle => return Poll::Ready(()),
                State::Reading(read) => {
                    let (result, work) = ready!(read.poll_now(cx));
                    // Whoever asked for it is gone; a read that fails changes nothing, and the next one may find the same.
                    drop(self.read_ended(result, work));
                }
                State::Writing(_) => ready!(self.poll_written(cx)),
                State::Seeking(_, seek) => {
                    let result = ready!(Pin::new(seek).poll(cx));
                    let _ = self.seek_ended(result);
                }
                State::Rewinding(rewind) => {
                    let result = ready!(Pin::new(rewind).poll(cx));
                    let _ = self.rewind_ended(result);
                }
            }
        }
    }

    /// Lets a write under way end. An error is kept.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let State::Writing(write) = &mut self.state {
            let (result, work) = ready!(write.poll_now(cx));
            self.state = State::Idle;
            self.place.advance(*result.as_ref().unwrap_or(&0));
            let error = match (result, work) {
                (Ok(_), Some(work)) if work.0.start == work.0.buffer.len() => {
                    self.spare = work.0.buffer;
                    continue;
                }
                (Ok(0), _) => io::ErrorKind::WriteZero.into(),
                (Ok(_), Some(mut work)) => {
                    work.0.at = self.place.at();
                    self.state = State::Writing(self.transfer(work));
                    continue;
                }
                (Ok(_), None) => io::Error::other("the core that wrote has ended"),
                (Err(error), _) => error,
            };
            self.failed.get_or_insert(error);
        }
        Poll::Ready(())
    }

    fn read_ended(&mut self, result: io::Result<usize>, work: Option<Take>) -> io::Result<usize> {
        self.state = State::Idle;
        self.unread = work.map(|work| work.bytes).unwrap_or_default();
        self.taken = 0;
        match &result {
            Ok(count) => self.place.advance(*count),
            Err(_) => self.unread.clear(),
        }
        result
    }

    fn seek_ended(&mut self, result: io::Result<u64>) -> io::Result<u64> {
        self.state = State::Idle;
        let position = result?;
        Ok(self.arrive(position))
    }

    fn rewind_ended(&mut self, result: io::Result<u64>) -> io::Result<()> {
        self.state = State::Idle;
        match result {
            Ok(_) => self.forget_unread(),
            // A pipe or a terminal has no position, and writing does not disturb what was read.
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn forget_unread(&mut self) {
        self.unread.clear();
        self.taken = 0;
    }

    fn arrive(&mut self, position: u64) -> u64 {
        if let Some(kept) = self.place.kept() {
            kept.store(position, Ordering::Relaxed);
        }
        self.position = position;
        self.forget_unread();
        position
    }

    fn call_seek(&self, to: SeekFrom) -> Call<io::Result<u64>> {
        let file = self.file.clone();
        Handle::current().machine.blocking.start(move || (&*file).seek(to))
    }

    /// Makes the file's position the caller's, once nothing is under way. Does nothing to what has no position.
    pub(crate) fn poll_rewound(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Rewinding(_)) {
            ready!(self.poll_idle(cx));
            if self.ahead() == 0 {
                return Poll::Ready(Ok(()));
            }
            if let Some(position) = self.place.kept() {
                position.fetch_sub(self.ahead() as u64, Ordering::Relaxed);
                self.forget_unread();
                return Poll::Ready(Ok(()));
            }
            self.state = State::Rewinding(self.call_seek(SeekFrom::Current(-(self.ahead() as i64))));
        }
        let State::Rewinding(rewind) = &mut self.state else { unreachable!("it was just made") };
        let result = ready!(Pin::new(rewind).poll(cx));
        Poll::Ready(self.rewind_ended(result))
    }

    /// Writes what was read to the front of `room`, and says how much.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        let unread = ready!(self.poll_unread(cx, room.len()))?;
        let count = unread.len().min(room.len());
        room[..count].write_copy_of_slice(&unread[..count]);
        self.take(count);
        Poll::Ready(Ok(count))
    }

    /// What comes next; nothing at the end. If it has yet to be read, at most `most` is, which may be 0.
    pub(crate) fn poll_unread(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<&[u8]>> {
        let progress = ready!(context::poll_proceed(cx));
        loop {
            if let State::Reading(read) = &mut self.state {
                let (result, work) = ready!(read.poll_now(cx));
                if self.read_ended(result, work)? == 0 {
                    progress.made();
                    return Poll::Ready(Ok(&[]));
                }
            }
            ready!(self.poll_idle(cx));
            if self.ahead() > 0 || most == 0 {
                progress.made();
                return Poll::Ready(Ok(&self.unread[self.taken..]));
            }
            let work = Take {
                bytes: std::mem::take(&mut self.unread),
                most: most.min(self.most),
                at: self.place.at(),
            };
            self.taken = 0;
            self.state = State::Reading(self.transfer(work));
        }
    }

    /// Says that so many of the bytes that come next have been handed out.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
    }

    /// Takes some of `bytes`, and begins to write them. Reports the error of the write before.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_put(cx, bytes.len(), |spare, most| spare.extend_from_slice(&bytes[..most]))
    }

    /// As [`poll_write`](Self::poll_write), of the bytes of several slices one after the other.
    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).fold(0, usize::saturating_add);
        self.poll_put(cx, all, |spare, most| {
            for slice in slices {
                let part = slice.len().min(most - spare.len());
                spare.extend_from_slice(&slice[..part]);
            }
        })
    }

    fn poll_put(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        fill: impl FnOnce(&mut Vec<u8>, usize),
    ) -> Poll<io::Result<usize>> {
        let progress = ready!(context::poll_proceed(cx));
        ready!(self.poll_written(cx));
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.rewinds() {
            ready!(self.poll_rewound(cx))?;
        }
        let most = length.min(self.most);
        if most > 0 {
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.clear();
            fill(&mut buffer, most);
            self.state = State::Writing(self.transfer(Put(Write::new(buffer, self.place.at()))));
            // Begins it; when it ends is the next call's affair.
            let _ = self.poll_written(cx);
        }
        progress.made();
        Poll::Ready(Ok(most))
    }

    /// There is something to do before a write.
    fn rewinds(&self) -> bool {
        !matches!(self.state, State::Idle) || self.ahead() > 0
    }

    /// Lets what was written reach the file.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx));
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }

    /// Begins to move the position. Nothing else may be under way.
    pub(crate) fn start_seek(&mut self, to: SeekFrom) -> io::Result<()> {
        if !matches!(self.state, State::Idle) {
            return Err(io::Error::other("another operation on the file is under way: wait for it first"));
        }
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let by_system = match (to, self.place.at()) {
            (SeekFrom::Start(position), At::Offset(_)) => {
                let position = i64::try_from(position).map_err(|_| invalid())?;
                self.arrive(position as u64);
                return Ok(());
            }
            (SeekFrom::Current(by), At::Offset(position)) => {
                let position = (position as i64 - self.ahead() as i64).checked_add(by);
                let position = position.filter(|position| *position >= 0).ok_or_else(invalid)?;
                self.arrive(position as u64);
                return Ok(());
            }
            (SeekFrom::Current(by), At::Position) => {
                SeekFrom::Current(by.checked_sub(self.ahead() as i64).ok_or_else(invalid)?)
            }
            (SeekFrom::Start(_) | SeekFrom::End(_), _) => to,
        };
        self.state = State::Seeking(to, self.call_seek(by_system));
        Ok(())
    }

    /// Moves the position, in one step. A seek to the same place that was given up is taken for this one.
    #[cfg(feature = "futures-io")] // tokio's trait has two steps
    pub(crate) fn poll_seek_to(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let progress = ready!(context::poll_proceed(cx));
        if !matches!(self.state, State::Seeking(before, _) if before == to) {
            ready!(self.poll_idle(cx));
            self.start_seek(to)?;
        }
        let position = ready!(self.poll_sought(cx));
        progress.made();
        Poll::Ready(position)
    }

    /// Lets what is under way end, and says where the last seek went.
    pub(crate) fn poll_seek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let progress = ready!(context::poll_proceed(cx));
        let position = ready!(self.poll_sought(cx));
        progress.made();
        Poll::Ready(position)
    }

    fn poll_sought(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if let State::Seeking(_, seek) = &mut self.state {
            let result = ready!(Pin::new(seek).poll(cx));
            return Poll::Ready(self.seek_ended(result));
        }
        ready!(self.poll_idle(cx));
        Poll::Ready(Ok(self.position))
    }
}
