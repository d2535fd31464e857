//! The operations the ring is working on, and everything they use.
//!
//! A future that waits for its operation keeps the buffer itself, so an operation costs no allocation. A future that
//! goes away first leaves its buffer here, until the completion says that nobody reads it any more.

use std::fs::File;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::super::file::Place;
use super::super::mailbox::Mailbox;
use super::super::open_op::OpenRequest;
use super::super::slots::Key;
use super::super::source::Descriptor;

/// A generation fits the token's 28 bits.
const GENERATION_MASK: u32 = (1 << 28) - 1;

struct Op {
    generation: u32,
    state: State,
    subject: Subject,
    /// The result of a zero-copy send that the system still reads from. Its state changes with the notification.
    noticed_later: Option<i32>,
}

/// In the result of a zero-copy send, beside the count: the system had to copy.
pub(in super::super) const COPIED: i32 = 1 << 30;

/// What an operation works on. Keeps the descriptor's number from being reused while an entry may still name it.
pub(in super::super) enum Subject {
    Source(#[expect(dead_code, reason = "it is only held")] Arc<Descriptor>),
    /// A file of the table, whose place counts what is in flight.
    Place(Place),
    /// A file that the future keeps.
    Kept,
    /// A file that the future has left.
    File(#[expect(dead_code, reason = "it is only held")] Arc<File>),
    /// It holds the path, and takes the file.
    Opening(Arc<OpenRequest>),
}

enum State {
    /// Its future waits on this core.
    Awaited(Waker),
    /// Its future waits on another thread.
    AwaitedElsewhere(Arc<Mailbox>),
    /// Its future is gone. The buffer is kept in the shape of a waker that wakes nobody: it is handed out with the
    /// wakers and so freed outside of the borrow.
    Abandoned(Waker),
    /// The same, and the operation is not to be cancelled.
    GoesOn(Waker),
    Done(i32),
}

impl Subject {
    fn place(&self) -> Option<Place> {
        match self {
            Subject::Place(place) => Some(*place),
            Subject::Source(_) | Subject::Kept | Subject::File(_) | Subject::Opening(_) => None,
        }
    }

    /// A file that was opened is put where it is closed if nobody asks for it.
    fn take(&self, result: i32) {
        if let Subject::Opening(request) = self
            && result >= 0
        {
            // SAFETY: the ring has just opened it for us, and tells nobody else.
            request.put(unsafe { OwnedFd::from_raw_fd(result) });
        }
    }
}

/// What a look at an operation found.
pub(in super::super) enum Progress {
    Done(i32),
    /// Still at work; the waker this one replaced.
    Pending(Option<Waker>),
}

#[derive(Default)]
pub(in super::super) struct Ops {
    ops: Slab<Op>,
    last_generation: u32,
    unfinished: usize,
    /// Files of which an operation has completed, once for each.
    pub(in super::super) through: Vec<Place>,
}

impl Ops {
    pub(super) fn start(&mut self, subject: Subject, waker: Waker) -> Key {
        self.last_generation = (self.last_generation + 1) & GENERATION_MASK;
        let generation = self.last_generation;
        self.unfinished += 1;
        let op = Op { generation, state: State::Awaited(waker), subject, noticed_later: None };
        Key { index: self.ops.insert(op) as u32, generation }
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Op> {
        self.ops.get_mut(key.index as usize).filter(|op| op.generation == key.generation)
    }

    /// Takes the result if there is one.
    pub(in super::super) fn take(&mut self, key: Key) -> Option<i32> {
        let Some(op) = self.get_mut(key) else { return Some(-libc::ECANCELED) };
        let State::Done(result) = op.state else { return None };
        self.ops.remove(key.index as usize);
        Some(result)
    }

    /// Takes the result if there is one, else waits with `waker`.
    pub(in super::super) fn poll(&mut self, key: Key, waker: Waker) -> Progress {
        if let Some(result) = self.take(key) {
            return Progress::Done(result);
        }
        let Some(op) = self.get_mut(key) else { unreachable!("it is still at work") };
        match mem::replace(&mut op.state, State::Awaited(waker)) {
            State::Awaited(old) => Progress::Pending(Some(old)),
            _ => Progress::Pending(None),
        }
    }

    /// The result goes to `mailbox`, now or later. Gives back the waker that is not needed here any more.
    pub(in super::super) fn redirect(&mut self, key: Key, mailbox: Arc<Mailbox>) -> Option<Waker> {
        let op = self.get_mut(key)?;
        if let State::Done(result) = op.state {
            self.ops.remove(key.index as usize);
            return mailbox.put(result);
        }
        match mem::replace(&mut op.state, State::AwaitedElsewhere(mailbox)) {
            State::Awaited(old) => Some(old),
            _ => None,
        }
    }

    /// The future is gone: keeps `buffer`, and `file` if there is one, until the completion. Gives back what need not be kept, and
    /// whether there is something left to cancel.
    pub(super) fn abandon(
        &mut self,
        key: Key,
        buffer: Waker,
        goes_on: bool,
        file: Option<Arc<File>>,
    ) -> (Option<Waker>, bool) {
        let Some(op) = self.get_mut(key) else { return (Some(buffer), false) };
        if let State::Done(_) = op.state {
            self.ops.remove(key.index as usize);
            return (Some(buffer), false);
        }
        if let Some(file) = file {
            op.subject = Subject::File(file);
        }
        let state = if goes_on { State::GoesOn(buffer) } else { State::Abandoned(buffer) };
        let at_work = op.noticed_later.is_none();
        match mem::replace(&mut op.state, state) {
            State::Awaited(old) => (Some(old), at_work),
            _ => (None, at_work),
        }
    }

    /// A zero-copy send has its result, and the system still reads the buffer: for TCP until the peer has acknowledged all of it.
    pub(super) fn sent(&mut self, key: Key, result: i32) {
        if let Some(op) = self.get_mut(key) {
            op.noticed_later = Some(result);
            // No entry names the socket any more. Who drops it meanwhile closes it, which waits for no peer.
            op.subject = Subject::Kept;
        }
    }

    /// The system has let go of the buffer of a zero-copy send; `copied` if it had only read it to copy it.
    pub(super) fn noticed(&mut self, key: Key, copied: bool, woken: &mut Vec<Waker>) {
        let Some(result) = self.get_mut(key).and_then(|op| op.noticed_later.take()) else { return };
        self.finish(key, if copied && result > 0 { result | COPIED } else { result }, woken);
    }

    /// The operation is over, and nobody uses its buffer any more.
    pub(super) fn finish(&mut self, key: Key, result: i32, woken: &mut Vec<Waker>) {
        let Some(op) = self.get_mut(key) else { return };
        let before = mem::replace(&mut op.state, State::Done(result));
        let place = op.subject.place();
        op.subject.take(result);
        self.unfinished -= 1;
        self.through.extend(place);
        match before {
            State::Awaited(waker) => woken.push(waker),
            State::AwaitedElsewhere(mailbox) => {
                self.ops.remove(key.index as usize);
                woken.extend(mailbox.put(result));
            }
            State::Abandoned(buffer) | State::GoesOn(buffer) => {
                self.ops.remove(key.index as usize);
                woken.push(buffer);
            }
            State::Done(_) => unreachable!("an operation completes once"),
        }
    }

    /// How many sends have a result, and their buffers still in use.
    #[cfg(test)]
    pub(in super::super) fn noticed_later(&self) -> usize {
        self.ops.iter().filter(|(_, op)| op.noticed_later.is_some()).count()
    }

    /// What has failed, and nobody has noticed yet, was interrupted instead. Says how many that were.
    #[cfg(test)]
    pub(in super::super) fn interrupt_failed(&mut self) -> usize {
        let results = self.ops.iter_mut().filter_map(|(_, op)| match &mut op.state {
            State::Done(result) if *result < 0 => Some(result),
            _ => None,
        });
        results.map(|result| *result = -libc::EINTR).count()
    }

    /// The operations that a cancel could end, without those that go on.
    pub(super) fn to_cancel(&self) -> impl Iterator<Item = Key> {
        self.ops
            .iter()
            .filter(|(_, op)| {
                !matches!(op.state, State::Done(_) | State::GoesOn(_)) && op.noticed_later.is_none()
            })
            .map(|(index, op)| Key { index: index as u32, generation: op.generation })
    }
}

impl Drop for Ops {
    /// Whatever the ring may still read is leaked.
    fn drop(&mut self) {
        if self.unfinished > 0 {
            mem::forget(mem::take(&mut self.ops));
        }
    }
}
