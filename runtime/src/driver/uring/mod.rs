//! Readiness through io_uring: a multishot poll for each watched direction of a descriptor.
//!
//! Entries are issued in the order they were queued, in the submission queue or, while that is full, in `backlog`.
//! That order is what makes descriptor numbers safe: the entry that closes a number is queued last, so no entry
//! queued before it can meet the number's next owner.

mod door;
mod files;
mod ops;
mod pool;
mod receiver;
mod setup;
mod streams;
mod token;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use io_uring::cqueue::{self, CompletionStatus};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, opcode};

use super::interest::{Interest, Ready};
use super::slots::{Key, Slots};
use super::source::Descriptor;
use super::{Peer, Wait};
use door::{Door, Peers};
use files::Table;
pub(super) use ops::COPIED;
use ops::Ops;
pub(super) use ops::Progress;
pub(super) use ops::Subject;
pub(super) use pool::{Chunk, Pool};
pub(super) use receiver::Next;
use receiver::Receiver;
pub(super) use setup::{Refusal, probe};
use token::Token;

/// System calls in one turn while completions overflow, so that tasks get their turn.
const ROUNDS: usize = 4;

pub(super) struct Uring {
    /// Tells without a system call whether completions are waiting. Declared before `ring`, which it points into.
    completions: CompletionStatus,
    ring: IoUring,
    /// Entries that found the submission queue full.
    backlog: VecDeque<Entry>,
    /// Entries in the submission queue.
    queued: usize,
    /// Requests that will complete at least once more.
    in_flight: usize,
    bell: RawFd,
    bell_armed: bool,
    pub(super) ops: Ops,
    receiver: Receiver,
    door: Arc<Door>,
    /// A failed ring is told by the peer's number here.
    peers: Peers,
    table: Table,
    /// The core's arena is registered.
    arena: bool,
}

impl Uring {
    pub(super) fn open(entries: u32, bell: BorrowedFd<'_>) -> io::Result<Uring> {
        let mut ring = setup::open(entries)?;
        // SAFETY: the value is kept beside the ring and dropped with it.
        let completions = unsafe { ring.completion().status() };
        // SAFETY: `ring` has it open.
        let ring_fd = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) };
        let door = Door::new(ring_fd.try_clone_to_owned()?);
        let mut driver = Uring {
            completions,
            ring,
            backlog: VecDeque::new(),
            queued: 0,
            in_flight: 0,
            bell: bell.as_raw_fd(),
            bell_armed: false,
            ops: Ops::default(),
            receiver: Receiver::default(),
            door,
            peers: Peers::default(),
            table: Table::default(),
            arena: false,
        };
        driver.arm_bell();
        driver.enter(Wait::No)?;
        Ok(driver)
    }

    pub(super) fn door(&self) -> RawFd {
        self.door.number()
    }

    pub(super) fn has_completions(&self) -> bool {
        !self.completions.is_empty() || self.wants_entering()
    }

    pub(super) fn has_submissions(&self) -> bool {
        self.queued > 0 || !self.backlog.is_empty()
    }

    /// Completions exist that only a system call brings to the queue.
    fn wants_entering(&self) -> bool {
        // SAFETY: every other view of the submission queue lives within one method that holds `&mut self`.
        let queue = unsafe { self.ring.submission_shared() };
        queue.taskrun() || queue.cq_overflow()
    }

    /// Watches `directions`, which are not watched now. What is ready already completes at once.
    pub(super) fn arm(&mut self, fd: RawFd, key: Key, directions: Interest) {
        for direction in Interest::DIRECTIONS.into_iter().filter(|one| directions.overlaps(*one)) {
            // The system does not look at POLLPRI when it decides whether to complete a poll, but sockets tell with what is urgent
            // that there is "band" data.
            let band = if direction.is_priority() { libc::POLLRDBAND } else { 0 };
            self.poll_always(fd, direction.poll_mask() | band, Token::Poll(direction, key));
        }
    }

    /// Stops watching `directions`. Each still completes once more.
    pub(super) fn cancel(&mut self, key: Key, directions: Interest) {
        for direction in Interest::DIRECTIONS.into_iter().filter(|one| directions.overlaps(*one)) {
            self.cancel_token(Token::Poll(direction, key));
        }
    }

    /// Closes `fd` after everything queued so far, without a system call of its own.
    pub(super) fn close_fd(&mut self, fd: OwnedFd) {
        let close = opcode::Close::new(Fd(fd.into_raw_fd())).build();
        self.push(close.flags(Flags::SKIP_SUCCESS).user_data(Token::Silent.pack()));
    }

    /// Queues a message that wakes `peer`; wakes it the slow way when none can be queued.
    pub(super) fn ring_peer(&mut self, peer: &Peer, target: RawFd) {
        let Some(number) = self.peers.index_of(peer, target) else { return peer.ring_slowly() };
        let message = opcode::MsgRingData::new(Fd(target), 0, Token::Rung.pack(), None).build();
        let message = message.flags(Flags::SKIP_SUCCESS).user_data(Token::Ring(number).pack());
        if !self.backlog.is_empty() || !self.push_now(&message) {
            peer.ring_slowly();
        }
    }

    /// Queues a send of all `bytes`. With `zero_copy` it is done when the system has let go of them.
    ///
    /// # Safety
    ///
    /// The bytes must stay valid and unchanged until the operation is done, or for good.
    pub(super) unsafe fn start_send(
        &mut self,
        descriptor: &Arc<Descriptor>,
        bytes: &[u8],
        zero_copy: bool,
        waker: Waker,
    ) -> Key {
        let key = self.ops.start(Subject::Source(descriptor.clone()), waker);
        let (fd, start) = (Fd(descriptor.as_raw_fd()), bytes.as_ptr());
        // A longer one is sent in parts: the caller goes on after what the result says.
        let length = bytes.len().min(LONGEST_SEND) as u32;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let send = if zero_copy {
            opcode::SendZc::new(fd, start, length).flags(flags).zc_flags(SEND_ZC_REPORT_USAGE).build()
        } else {
            opcode::Send::new(fd, start, length).flags(flags).build()
        };
        self.in_flight += 1;
        self.push(send.user_data(Token::Op(key).pack()));
        key
    }

    /// Cancels an operation whose future is gone, unless it goes on, and keeps its buffer and its file meanwhile.
    pub(super) fn abandon(
        &mut self,
        key: Key,
        buffer: Waker,
        goes_on: bool,
        file: Option<Arc<File>>,
    ) -> Option<Waker> {
        let (surplus, at_work) = self.ops.abandon(key, buffer, goes_on, file);
        if at_work && !goes_on {
            self.cancel_token(Token::Op(key));
        }
        surplus
    }

    fn arm_bell(&mut self) {
        self.bell_armed = true;
        // Edge mode: every ring is an event of its own, so the counter need not be read back.
        self.poll_always(self.bell, libc::POLLIN, Token::Bell);
    }

    fn poll_always(&mut self, fd: RawFd, events: i16, token: Token) {
        let poll = opcode::PollAdd::new(Fd(fd), events as u32).multi(true).build();
        self.in_flight += 1;
        self.push(poll.user_data(token.pack()));
    }

    fn cancel_token(&mut self, token: Token) {
        let cancel = opcode::AsyncCancel::new(token.pack()).build();
        self.push(cancel.flags(Flags::SKIP_SUCCESS).user_data(Token::Silent.pack()));
    }

    /// Queues an entry behind all others, whatever it takes.
    fn push(&mut self, entry: Entry) {
        self.refill();
        if !self.backlog.is_empty() || !self.push_now(&entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Moves the backlog into the submission queue, as far as it goes.
    fn refill(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.push_now(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// Queues an entry, after submitting the others if the queue is full. False when even that makes no room.
    fn push_now(&mut self, entry: &Entry) -> bool {
        let mut pushed = self.try_push(entry);
        if !pushed {
            // An error shows in the queue staying full; the next turn meets and reports it.
            let submitted = self.ring.submit();
            self.queued = self.ring.submission().len();
            pushed = submitted.is_ok() && self.try_push(entry);
        }
        pushed
    }

    fn try_push(&mut self, entry: &Entry) -> bool {
        // SAFETY: the only memory that entries name is that of operations, and `start_send` and `start_file` were promised
        // that it stays.
        let pushed = unsafe { self.ring.submission().push(entry) }.is_ok();
        self.queued += usize::from(pushed);
        pushed
    }

    pub(super) fn turn(&mut self, wait: Wait, slots: &mut Slots, woken: &mut Vec<Waker>) -> io::Result<()> {
        if !self.bell_armed {
            self.arm_bell();
        }
        self.refill();
        let busy = !self.completions.is_empty() || !self.backlog.is_empty();
        let wait = if busy { Wait::No } else { wait };
        if wait != Wait::No || self.has_submissions() || self.wants_entering() {
            slots.counts.note_batch(self.queued);
            let entered = self.enter(wait);
            self.reap(slots, woken);
            entered?;
        } else {
            self.reap(slots, woken);
        }
        for _ in 1..ROUNDS {
            if self.backlog.is_empty() && !self.wants_entering() {
                break;
            }
            self.refill();
            slots.counts.note_batch(self.queued);
            self.enter(Wait::No)?;
            self.reap(slots, woken);
        }
        Ok(())
    }

    /// Submits what is queued, lets completions arrive and waits for one if told to.
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.receiver.publish();
        let no_iowait = self.ring.params().is_feature_no_iowait();
        let submitter = self.ring.submitter();
        let count = self.queued as u32;
        let mut flags = EnterFlags::GETEVENTS;
        if no_iowait && wait != Wait::No {
            flags |= EnterFlags::NO_IOWAIT;
        }
        let result = match wait {
            // SAFETY: no argument is passed; every queued entry was complete when it was pushed.
            Wait::No => unsafe { submitter.enter::<libc::sigset_t>(count, 0, flags.bits(), None) },
            // SAFETY: as above.
            Wait::Forever => unsafe { submitter.enter::<libc::sigset_t>(count, 1, flags.bits(), None) },
            Wait::For(time) => {
                let time = Timespec::from(time.min(LONGEST_WAIT));
                let arguments = SubmitArgs::new().timespec(&time);
                flags |= EnterFlags::EXT_ARG;
                // SAFETY: EXT_ARG says that the argument is what `SubmitArgs` is; it and `time` live across the call.
                unsafe { submitter.enter(count, 1, flags.bits(), Some(&arguments)) }
            }
        };
        self.queued = self.ring.submission().len();
        match result {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Handles every completion in the queue.
    fn reap(&mut self, slots: &mut Slots, woken: &mut Vec<Waker>) {
        for completion in self.ring.completion() {
            slots.counts.events += 1;
            let result = completion.result();
            let ended = !cqueue::more(completion.flags());
            match Token::unpack(completion.user_data()) {
                Some(Token::Poll(direction, key)) => {
                    self.in_flight -= usize::from(ended);
                    polled(slots, key, direction, result, ended, woken);
                    if ended {
                        self.receiver.release_if_idle(slots, key);
                    }
                }
                Some(Token::Bell) => {
                    self.in_flight -= usize::from(ended);
                    self.bell_armed &= !ended;
                }
                Some(Token::Op(key)) => {
                    self.in_flight -= usize::from(ended);
                    if cqueue::notif(completion.flags()) {
                        self.ops.noticed(key, result as u32 & NOTIF_USAGE_ZC_COPIED != 0, woken);
                    } else if ended {
                        self.ops.finish(key, result, woken);
                    } else {
                        // Also of errors: what says that a notification follows is the flag.
                        self.ops.sent(key, result);
                    }
                }
                Some(Token::Receive(key)) => {
                    self.in_flight -= usize::from(ended);
                    self.receiver.completed(slots, key, result, completion.flags(), woken);
                }
                Some(Token::Stop(key)) => self.receiver.cancel_failed(slots, key),
                // The message did not get through: that ring is gone, full or not ready for it.
                Some(Token::Ring(number)) => {
                    if let Some(peer) = self.peers.get(number) {
                        peer.ring_slowly();
                    }
                }
                Some(Token::Silent | Token::Rung) => {}
                None => tracing::debug!(?completion, "a completion that belongs to nothing"),
            }
        }
        for key in std::mem::take(&mut self.receiver.cancels) {
            self.cancel_receive(key);
        }
        for descriptor in std::mem::take(&mut self.receiver.released) {
            if let Some(descriptor) = Arc::into_inner(descriptor) {
                self.close_fd(descriptor.into_fd());
            }
        }
    }

    /// Cancels everything and waits, at most until the deadline, for the last completion.
    pub(super) fn close(mut self, slots: &mut Slots, deadline: Duration) {
        let end = Instant::now() + deadline;
        let armed: Vec<_> = slots.keys().map(|(key, slot)| (key, slot.armed)).collect();
        for (key, directions) in armed {
            self.cancel(key, directions);
        }
        for key in self.ops.to_cancel().collect::<Vec<_>>() {
            self.cancel_token(Token::Op(key));
        }
        if self.bell_armed {
            self.cancel_token(Token::Bell);
        }
        let mut woken = Vec::new();
        for key in self.receiver.stop_all(slots, &mut woken) {
            self.cancel_receive(key);
        }
        while self.in_flight > 0 || self.has_submissions() {
            let left = end.saturating_duration_since(Instant::now());
            self.refill();
            // With nothing in flight no completion will come, only submissions are left to make.
            let wait = if self.in_flight > 0 { Wait::For(left) } else { Wait::No };
            let entered = self.enter(wait);
            self.reap(slots, &mut woken);
            if entered.is_err() || left.is_zero() {
                tracing::warn!(in_flight = self.in_flight, ?entered, "io_uring did not come to rest");
                self.receiver.give_up(slots, &mut woken);
                break;
            }
        }
        if self.in_flight == 0 {
            self.receiver.close(&self.ring);
            self.close_table();
        }
        woken.into_iter().for_each(Waker::wake);
    }
}

/// One operation's share of a longer send. Less than [`COPIED`], which comes in the same number.
const LONGEST_SEND: usize = 1 << 29;
const _: () = assert!(LONGEST_SEND < COPIED as usize);

/// The system's numbers, which the bindings do not give: the notification is to say whether there was a copy, and says so.
const SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
const NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// Longer waits overflow the system's clock arithmetic; a wait may always end early.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 30);

/// Errors of io_uring_enter after which a later call goes on: a signal, the time being up, completions to be taken
/// first, memory short for a moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN))
}

/// A poll of one direction completed.
fn polled(
    slots: &mut Slots,
    key: Key,
    direction: Interest,
    result: i32,
    ended: bool,
    woken: &mut Vec<Waker>,
) {
    let Some(slot) = slots.get_mut(key) else { return };
    if ended {
        slot.armed = slot.armed.without(direction);
    }
    if slot.leaving {
        return;
    }
    if result >= 0 {
        let mut ready = Ready::from_poll(result as u32);
        if ready.is_priority() {
            // Sockets tell of any data as if it were urgent.
            ready = slot.descriptor.level(direction);
        }
        if !ready.is_empty() {
            slot.arrive(ready, woken);
        }
    } else if -result == libc::ECANCELED {
        // A stream took its place. Who waits all the same watches again.
        slot.wake_readers(woken);
    } else if ended {
        slot.fail(direction, -result, woken);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_backlog_goes_out_before_what_is_queued_later() {
        let (Ok(()), (bell, _other)) = (probe(), UnixStream::pair().unwrap()) else { return };
        let mut uring = Uring::open(8, bell.as_fd()).unwrap();
        let (ours, mut theirs): (Vec<_>, Vec<_>) = (0..50).map(|_| UnixStream::pair().unwrap()).unzip();
        // As if the ring had taken none of them, for want of memory.
        for ours in ours {
            let close = opcode::Close::new(Fd(ours.into_raw_fd())).build();
            uring.backlog.push_back(close.flags(Flags::SKIP_SUCCESS).user_data(Token::Silent.pack()));
        }
        assert!(uring.has_submissions());
        uring.cancel_token(Token::Bell);
        assert!(uring.backlog.is_empty(), "a newer entry went first");
        let (mut slots, mut woken) = (Slots::new(), Vec::new());
        uring.turn(Wait::No, &mut slots, &mut woken).unwrap();
        assert!(!uring.has_submissions());
        theirs.iter_mut().for_each(|peer| assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0));
    }
}
