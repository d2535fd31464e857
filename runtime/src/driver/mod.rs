//! One core's driver: completions and readiness, and the sources registered for them.
//!
//! Nothing here runs user code while the reactor is borrowed: wakers that are due are handed to the executor, and
//! wakers that are not needed any more are handed back to be dropped outside.

mod arena;
mod counts;
mod epoll;
mod file;
mod file_op;
mod foreign;
mod fork;
mod handover;
mod interest;
mod mailbox;
mod nudge;
mod open_op;
mod order;
mod recv;
mod recv_buf;
mod running;
mod select;
mod send;
mod slots;
mod source;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_file;
#[cfg(test)]
mod tests_forced;
#[cfg(test)]
mod tests_interrupted;
#[cfg(test)]
mod tests_recv;
#[cfg(test)]
mod tests_recv_cores;
#[cfg(test)]
mod tests_recv_read;
#[cfg(test)]
pub(crate) mod tests_seccomp;
#[cfg(test)]
mod tests_send;
#[cfg(test)]
mod tests_source;
#[cfg(test)]
mod tests_zero_copy;
mod uring;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

pub(crate) use arena::{Arena, Arenas};
pub(crate) use file::{FileId, FileRefusal, Place};
pub(crate) use file_op::{FileOp, Lease, Outcome, Work};
pub(crate) use foreign::Seen;
pub use interest::{Interest, Ready};
pub(crate) use open_op::{OpenOp, OpenRequest};
pub(crate) use order::{At, Order};
pub use recv_buf::RecvBuf;
pub(crate) use running::parcel;
pub use select::{DriverChoice, DriverInfo, DriverKind, UnknownDriver};
pub use send::{SendAll, Sent, StableBuf};
pub(crate) use source::Source;

use epoll::Epoll;
use file::Files;
pub(crate) use fork::is_forked_child;
use fork::watch_for_forks;
use recv_buf::Region;
use slots::{Key, Leftover, Remains, Slots};
use source::{Afterlife, Descriptor};
use uring::{Chunk, Next, Pool, Uring};

use crate::context::CoreUid;
use crate::limits::{RECEIVE_BUFFER_BYTES, SPARE_BUFFERS, STREAM_AFTER_WAITS};

/// Decides on the driver: `MULTIKERNEL_DRIVER` if set, else `choice`; epoll wherever io_uring is refused. Says through
/// `tracing` what was decided: a warning when io_uring was refused, else an information.
///
/// # Errors
///
/// `InvalidInput` when the variable names no driver.
pub(crate) fn select(choice: DriverChoice) -> io::Result<DriverInfo> {
    let (info, refused) = select::choose(choice)?;
    if refused {
        tracing::warn!(driver = %info.kind, why = %info.why, "driver chosen");
    } else {
        tracing::info!(driver = %info.kind, why = %info.why, "driver chosen");
    }
    Ok(info)
}

/// What a core's driver is opened with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Length of the submission queue; rounded up to a power of two, smaller where memory is short.
    pub(crate) entries: u32,
}

/// Whether, and how long, a turn waits for something to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    For(Duration),
    Forever,
}

/// Wakes a core through its eventfd: the way that always works.
pub(crate) trait Bell: Send + Sync {
    fn ring(&self);
}

/// How one core reaches another: its ring, and its eventfd for when the ring does not answer.
#[derive(Clone)]
pub(crate) struct Peer {
    ring: Option<RawFd>,
    bell: Arc<dyn Bell>,
}

impl Peer {
    /// `ring` is the peer's [`Reactor::ring_fd`].
    pub(crate) fn new(ring: Option<RawFd>, bell: Arc<dyn Bell>) -> Peer {
        Peer { ring, bell }
    }

    fn ring_slowly(&self) {
        self.bell.ring();
    }

    fn is(&self, other: &Peer) -> bool {
        self.ring == other.ring
            && Arc::as_ptr(&self.bell).cast::<()>() == Arc::as_ptr(&other.bell).cast::<()>()
    }
}

enum Driver {
    Uring(Box<Uring>),
    Epoll(Epoll),
}

/// One core's driver and the sources registered with it.
pub(crate) struct Reactor {
    driver: Driver,
    slots: Slots,
    /// This core's part of the file table.
    files: Files,
    /// This core's buffers for direct I/O.
    pub(crate) arenas: Arenas,
    /// Receive buffers of the heap, for the next receive.
    spares: Vec<Vec<u8>>,
    /// Due to be woken by the next turn: found by a turn that had nobody to give them to.
    early: Vec<Waker>,
    /// The ring takes entries from the thread that opened it, and from no other.
    _here: PhantomData<*mut ()>,
}

/// The outcome of [`Reactor::watch`].
struct Watched {
    key: Key,
    /// The source was not registered here before.
    is_new: bool,
}

impl Reactor {
    /// Opens the driver of the calling thread, epoll if no ring is to be had. `bell`, the core's eventfd, must stay open
    /// until the reactor is closed.
    pub(crate) fn open(kind: DriverKind, settings: &Settings, bell: BorrowedFd<'_>) -> io::Result<Reactor> {
        watch_for_forks();
        let driver = match kind {
            DriverKind::Uring => match Uring::open(settings.entries, bell) {
                Ok(uring) => Driver::Uring(Box::new(uring)),
                // It was there a moment ago. Memory for rings is bounded for each user, and others may have it now.
                Err(error) => {
                    tracing::warn!(%error, "no io_uring is left for this core; it uses epoll");
                    Driver::Epoll(Epoll::open(bell)?)
                }
            },
            DriverKind::Epoll => Driver::Epoll(Epoll::open(bell)?),
        };
        Ok(Reactor {
            driver,
            slots: Slots::new(),
            files: Files::default(),
            arenas: Arenas::default(),
            spares: Vec::new(),
            early: Vec::new(),
            _here: PhantomData,
        })
    }

    /// Submits what is queued, waits if told to, and collects in `woken` those for whom something happened.
    ///
    /// A wait may end early: by the bell, by another core's ring, by a signal. An error is the driver's own; sources
    /// learn of theirs when they try again.
    pub(crate) fn turn(&mut self, wait: Wait, woken: &mut Vec<Waker>) -> io::Result<()> {
        woken.append(&mut self.early);
        // Who is due already does not wait for something else to happen.
        let wait = if woken.is_empty() { wait } else { Wait::No };
        let turned = match &mut self.driver {
            Driver::Uring(uring) => uring.turn(wait, &mut self.slots, woken),
            Driver::Epoll(epoll) => epoll.turn(wait, &mut self.slots, woken),
        };
        self.settle_files(woken);
        turned
    }

    /// True when a turn would find completions. Costs no system call; epoll cannot tell and says false.
    pub(crate) fn has_completions(&self) -> bool {
        match &self.driver {
            Driver::Uring(uring) => !self.early.is_empty() || uring.has_completions(),
            Driver::Epoll(_) => false,
        }
    }

    /// True when a turn without waiting would do something, or when only a turn can tell.
    pub(crate) fn wants_turn(&self) -> bool {
        matches!(self.driver, Driver::Epoll(_)) || self.has_completions() || self.has_submissions()
    }

    /// True when something is queued that the next turn will submit.
    pub(crate) fn has_submissions(&self) -> bool {
        match &self.driver {
            Driver::Uring(uring) => uring.has_submissions(),
            Driver::Epoll(_) => false,
        }
    }

    /// Where other cores' rings may send messages.
    pub(crate) fn ring_fd(&self) -> Option<RawFd> {
        match &self.driver {
            Driver::Uring(uring) => Some(uring.door()),
            Driver::Epoll(_) => None,
        }
    }

    /// Wakes a parked peer: by a message between the rings, sent with the next turn, else through its eventfd at once.
    pub(crate) fn ring_peer(&mut self, peer: &Peer) {
        match (&mut self.driver, peer.ring) {
            (Driver::Uring(uring), Some(target)) => uring.ring_peer(peer, target),
            _ => peer.ring_slowly(),
        }
    }

    /// Stops watching everything, waits until the driver has come to rest but not past `deadline`, and wakes those who
    /// still waited, so that they see the end.
    pub(crate) fn close(self, deadline: Duration) {
        let Reactor { driver, mut slots, files, early, .. } = self;
        if is_forked_child() {
            // The rings are the parent's, and not mapped here.
            std::mem::forget((driver, slots, files));
            return;
        }
        if let Driver::Uring(uring) = driver {
            uring.close(&mut slots, deadline);
        }
        drop(files);
        slots.into_waiters().chain(early).for_each(Waker::wake);
    }

    /// True when an attempt is known to find nothing.
    fn is_idle(&self, descriptor: &Descriptor, interest: Interest) -> bool {
        self.slots.find(descriptor).is_some_and(|slot| slot.is_idle(interest))
    }

    /// Readiness seen here and not used up.
    fn ready(&self, descriptor: &Descriptor, interest: Interest) -> Ready {
        self.slots.find(descriptor).map_or(Ready::EMPTY, |slot| slot.ready(interest))
    }

    /// An attempt found nothing.
    fn clear(&mut self, descriptor: &Descriptor, interest: Interest) {
        if let Some((_, slot)) = self.slots.find_mut(descriptor) {
            slot.clear(interest);
        }
    }

    /// An attempt found less than it asked for.
    fn drained(&mut self, descriptor: &Descriptor, interest: Interest) {
        if let Some((_, slot)) = self.slots.find_mut(descriptor) {
            slot.drained(interest);
        }
    }

    /// Makes sure that the driver watches `interest`; `blocked` says that an attempt just found nothing.
    fn watch(
        &mut self,
        descriptor: &Arc<Descriptor>,
        interest: Interest,
        blocked: bool,
    ) -> io::Result<Watched> {
        let known = self.slots.find_mut(descriptor).map(|(key, _)| key);
        let key = known.unwrap_or_else(|| self.slots.insert(descriptor.clone()));
        let slot = self.slots.get_mut(key).expect("the slot was just found or made");
        if blocked {
            slot.clear(interest);
        }
        match slot.take_fault() {
            0 => {}
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        let (armed, missing) = (slot.armed, interest.without(slot.armed));
        if !missing.is_none() {
            let fd = descriptor.as_raw_fd();
            match &mut self.driver {
                Driver::Uring(uring) => uring.arm(fd, key, missing),
                Driver::Epoll(epoll) => {
                    if let Err(error) = epoll.arm(fd, key, armed, missing) {
                        if known.is_none() {
                            // It has no waiters yet; the caller still holds the descriptor.
                            drop(self.slots.remove(key));
                        }
                        return Err(error);
                    }
                }
            }
            slot.armed |= missing;
        }
        Ok(Watched { key, is_new: known.is_none() })
    }

    fn store(&mut self, key: Key, interest: Interest, waker: Waker) -> Leftover {
        match self.slots.get_mut(key) {
            Some(slot) => slot.store(interest, waker),
            None => Leftover::Drop(waker),
        }
    }

    /// Queues a send of all `bytes`, which is done when nobody reads them any more. Gives the waker back when this driver has
    /// no ring.
    ///
    /// # Safety
    ///
    /// The bytes must stay valid and unchanged until the operation is done, or for good.
    unsafe fn start_send(
        &mut self,
        descriptor: &Arc<Descriptor>,
        bytes: &[u8],
        zero_copy: bool,
        waker: Waker,
    ) -> Result<Key, Waker> {
        match &mut self.driver {
            // SAFETY: the caller's promise.
            Driver::Uring(uring) => Ok(unsafe { uring.start_send(descriptor, bytes, zero_copy, waker) }),
            Driver::Epoll(_) => Err(waker),
        }
    }

    /// A read of this core waits. True when it would better stream.
    fn read_waits(&mut self, descriptor: &Descriptor) -> bool {
        let Some(enough) = STREAM_AFTER_WAITS else { return false };
        self.slots.find_mut(descriptor).is_some_and(|(_, slot)| slot.read_waits() >= enough)
    }

    /// A read of this core found something; `drained` says that it took all there was.
    fn read_ended(&mut self, descriptor: &Descriptor, drained: bool) {
        if let Some((_, slot)) = self.slots.find_mut(descriptor) {
            slot.read_ended();
            if drained {
                slot.drained(Interest::READABLE);
            }
        }
    }

    /// Makes this core the one that receives for `descriptor`. `None` where nothing can stream, now or ever.
    fn start_stream(&mut self, descriptor: &Arc<Descriptor>, home: CoreUid) -> Option<Watched> {
        let Driver::Uring(uring) = &mut self.driver else { return None };
        if !uring.is_willing_to_stream(home) || !descriptor.handover.start(home) {
            return None;
        }
        let known = self.slots.find_mut(descriptor).map(|(key, _)| key);
        let key = known.unwrap_or_else(|| self.slots.insert(descriptor.clone()));
        uring.start_stream(self.slots.get_mut(key).expect("the slot was just found or made"));
        Some(Watched { key, is_new: known.is_none() })
    }

    /// Reads from a stream of this core with `take`, which must leave no empty chunk.
    fn read_stream<R>(
        &mut self,
        descriptor: &Descriptor,
        take: impl FnOnce(&mut Pool, &mut VecDeque<Chunk>) -> R,
    ) -> Next<R> {
        match (&mut self.driver, self.slots.find_mut(descriptor)) {
            (Driver::Uring(uring), Some((key, slot))) => uring.read_stream(slot, key, take),
            _ => Next::Stopping,
        }
    }

    /// Ends a stream of this core for the sake of another reader.
    fn stop_stream(&mut self, descriptor: &Descriptor, woken: &mut Vec<Waker>) {
        if let (Driver::Uring(uring), Some((key, slot))) = (&mut self.driver, self.slots.find_mut(descriptor))
        {
            uring.stop_stream(slot, key, woken);
        }
    }

    /// Takes back a shared receive buffer. False when it is not one of ours.
    fn give_back(&mut self, region: &Arc<Region>, id: u16) -> bool {
        match &mut self.driver {
            Driver::Uring(uring) => match uring.pool() {
                Some(pool) if pool.is(region) => {
                    pool.give_back(id);
                    true
                }
                _ => false,
            },
            Driver::Epoll(_) => false,
        }
    }

    /// Memory for a receive, with room for [`RECEIVE_BUFFER_BYTES`].
    fn take_spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_else(|| Vec::with_capacity(RECEIVE_BUFFER_BYTES))
    }

    fn keep_spare(&mut self, mut bytes: Vec<u8>) {
        if self.spares.len() < SPARE_BUFFERS && bytes.capacity() >= RECEIVE_BUFFER_BYTES {
            bytes.clear();
            self.spares.push(bytes);
        }
    }

    /// A turn between turns: what is queued happens now.
    fn turn_early(&mut self) {
        if is_forked_child() {
            return;
        }
        let mut woken = std::mem::take(&mut self.early);
        // An error meets the next turn too, which reports it.
        let _ = self.turn(Wait::No, &mut woken);
        self.early = woken;
    }

    /// Ends the registration of `descriptor` here, if there is one, and drops this reference to it.
    fn forget(&mut self, descriptor: Arc<Descriptor>, afterlife: Afterlife) -> Option<Remains> {
        let known = self.slots.find_mut(&descriptor).map(|(key, slot)| (key, slot.armed));
        match &mut self.driver {
            Driver::Epoll(epoll) => {
                let (key, armed) = known?;
                let (held, remains) = self.slots.remove(key)?;
                drop(held);
                // Closing the last reference to the open file ends the registration too, and for free.
                let is_last = afterlife == Afterlife::Close && Arc::strong_count(&descriptor) == 1;
                if !armed.is_none() && !is_last {
                    epoll.disarm(descriptor.as_raw_fd());
                }
                Some(remains)
            }
            Driver::Uring(uring) => {
                let mut remains = None;
                if let Some((key, armed)) = known {
                    let slot = self.slots.get_mut(key).expect("the slot was just found");
                    let streams = uring.end_stream(slot, key);
                    uring.cancel(key, armed);
                    // Ours and the slot's: nobody else can have or get one, since only holders make new ones.
                    let is_last = Arc::strong_count(&descriptor) == 2;
                    if !streams && (is_last || armed.is_none()) {
                        remains = self.slots.remove(key).map(|(_, remains)| remains);
                    } else {
                        // The number must stay taken until the cancel is through, and a receive that the cancel
                        // misses would hold the file open: the slot keeps its reference.
                        remains = self.slots.hide(key);
                    }
                }
                // Whatever is queued and names the number holds a reference, or was queued for this registration.
                match Arc::into_inner(descriptor) {
                    Some(descriptor) if known.is_none() => drop(descriptor),
                    Some(descriptor) => uring.close_fd(descriptor.into_fd()),
                    None => {}
                }
                remains
            }
        }
    }
}

/// Dropped after a source, sees to it that the source is closed by then, if no other core uses it.
///
/// For listeners: who drops one may bind its address again in the next line.
#[derive(Debug)]
pub(crate) struct CloseNow;

impl Drop for CloseNow {
    fn drop(&mut self) {
        crate::context::with_core(|core| {
            if let Some(core) = core {
                core.reactor.borrow_mut().turn_early();
            }
        });
    }
}
