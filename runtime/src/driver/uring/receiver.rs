//! Streaming: one multishot receive per socket fills the core's shared buffers, and what it has filled waits here.
//!
//! A receive that is at work may complete any number of times; only its last completion says that no more bytes come
//! from it, so nothing else reads the socket before that.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use io_uring::{IoUring, cqueue};
use slab::Slab;

use super::super::handover::Handover;
use super::super::slots::{Key, NO_STREAM, Slot, Slots};
use super::super::source::Descriptor;
use super::pool::{Chunk, Pool};
use crate::context::CoreUid;
use crate::limits::UNREAD_BUFFERS;

/// The stream of one socket.
#[derive(Default)]
pub(super) struct Stream {
    chunks: VecDeque<Chunk>,
    /// A receive is at work.
    armed: bool,
    /// It was told to end.
    cancelled: bool,
    /// The stream is to end, and all it has goes to the hand-over.
    stopping: bool,
    end: Option<End>,
}

/// What comes after the last chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    OfStream,
    Error(i32),
}

/// What a look at a stream found.
pub(in super::super) enum Next<R> {
    Found(R),
    EndOfStream,
    Failed(i32),
    /// A receive is at work: wait for it.
    Wait(Key),
    /// No buffer is to be had now: read into memory of your own.
    Starved,
    /// There is no stream here, or not for long: see the hand-over.
    Stopping,
}

/// What the ring has to do for a stream.
pub(super) enum Order {
    Nothing,
    Arm,
    Cancel,
}

#[derive(Default)]
pub(super) struct Receiver {
    pool: Option<Pool>,
    /// This Linux has no shared buffers, or no multishot receive.
    is_refused: bool,
    streams: Slab<Stream>,
    /// Receives to be cancelled, once the completions are handled.
    pub(super) cancels: Vec<Key>,
    /// Descriptors that no receive or poll uses any more, to be let go of.
    pub(super) released: Vec<Arc<Descriptor>>,
}

impl Receiver {
    /// True when a receive may be started.
    fn can_arm(&self) -> bool {
        !self.is_refused && self.pool.as_ref().is_some_and(Pool::has_plenty)
    }

    /// Opens the pool with the first stream. False when a stream would find no buffers.
    pub(super) fn is_willing(&mut self, ring: &IoUring, home: CoreUid) -> bool {
        if self.pool.is_none() && !self.is_refused {
            match Pool::open(ring, home) {
                Ok(pool) => self.pool = Some(pool),
                Err(error) => {
                    tracing::debug!(%error, "no shared receive buffers");
                    self.is_refused = true;
                }
            }
        }
        self.can_arm()
    }

    pub(super) fn start(&mut self, slot: &mut Slot) {
        debug_assert!(slot.stream == NO_STREAM);
        slot.stream = self.streams.insert(Stream::default()) as u32;
    }

    fn stream(&mut self, slot: &Slot) -> Option<&mut Stream> {
        self.streams.get_mut(slot.stream as usize)
    }

    /// Reads with `take`, which must leave no empty chunk, or says what to do instead.
    pub(super) fn next<R>(
        &mut self,
        slot: &Slot,
        key: Key,
        take: impl FnOnce(&mut Pool, &mut VecDeque<Chunk>) -> R,
    ) -> (Next<R>, Order) {
        let can_arm = self.can_arm();
        let Some(stream) = self.streams.get_mut(slot.stream as usize) else {
            return (Next::Stopping, Order::Nothing);
        };
        if stream.stopping {
            return (Next::Stopping, Order::Nothing);
        }
        let Some(pool) = &mut self.pool else { return (Next::Stopping, Order::Nothing) };
        if !stream.chunks.is_empty() {
            let found = take(pool, &mut stream.chunks);
            let rearm =
                !stream.armed && stream.end.is_none() && can_arm && stream.chunks.len() < UNREAD_BUFFERS / 2;
            stream.armed |= rearm;
            return (Next::Found(found), if rearm { Order::Arm } else { Order::Nothing });
        }
        match stream.end {
            Some(End::OfStream) => return (Next::EndOfStream, Order::Nothing),
            Some(End::Error(errno)) => {
                stream.end = None;
                return (Next::Failed(errno), Order::Nothing);
            }
            None => {}
        }
        if stream.armed {
            (Next::Wait(key), Order::Nothing)
        } else if can_arm {
            stream.armed = true;
            (Next::Wait(key), Order::Arm)
        } else {
            (Next::Starved, Order::Nothing)
        }
    }

    /// A receive completed.
    pub(super) fn completed(
        &mut self,
        slots: &mut Slots,
        key: Key,
        result: i32,
        flags: u32,
        woken: &mut Vec<Waker>,
    ) {
        let ended = !cqueue::more(flags);
        let filled = match (&mut self.pool, cqueue::buffer_select(flags)) {
            (Some(pool), Some(id)) => Some(pool.filled(id, usize::try_from(result).unwrap_or(0))),
            _ => None,
        };
        let slot = slots.get_mut(key).expect("a slot stays until its receive has ended");
        let stream = self.streams.get_mut(slot.stream as usize).expect("a receive belongs to a stream");
        let pool = self.pool.as_mut().expect("a receive has a pool");
        if ended {
            (stream.armed, stream.cancelled) = (false, false);
        }
        match filled {
            Some(chunk) if result > 0 && !slot.leaving => stream.chunks.push_back(chunk),
            Some(chunk) => pool.give_back_chunk(chunk),
            None => {}
        }
        if slot.leaving {
            if ended {
                self.streams.remove(slot.stream as usize);
                slot.stream = NO_STREAM;
                self.release_if_idle(slots, key);
            }
            return;
        }
        match -result {
            ..0 | libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            0 => stream.end = Some(End::OfStream),
            // Linux before 6.0 knows no such receive. If the socket itself is wrong, a plain one says the same.
            libc::EINVAL => self.is_refused = true,
            errno => stream.end = Some(End::Error(errno)),
        }
        slot.wake_readers(woken);
        if stream.stopping {
            self.spill(slot, woken);
        } else if stream.armed && !stream.cancelled && stream.chunks.len() >= UNREAD_BUFFERS {
            stream.cancelled = true;
            self.cancels.push(key);
        }
    }

    /// A cancel found no receive: it had ended, or was just between two of its steps and goes on.
    pub(super) fn cancel_failed(&mut self, slots: &mut Slots, key: Key) {
        if let Some(slot) = slots.get_mut(key)
            && self.stream(slot).is_some_and(|stream| stream.cancelled)
        {
            self.cancels.push(key);
        }
    }

    /// Ends the stream, for the sake of another reader: what it has goes to the hand-over, now and as it comes.
    pub(super) fn stop(&mut self, slot: &mut Slot, woken: &mut Vec<Waker>) -> Order {
        let Some(stream) = self.stream(slot) else { return Order::Nothing };
        if stream.stopping {
            return Order::Nothing;
        }
        stream.stopping = true;
        let cancel = stream.armed && !mem::replace(&mut stream.cancelled, stream.armed);
        slot.wake_readers(woken);
        self.spill(slot, woken);
        if cancel { Order::Cancel } else { Order::Nothing }
    }

    /// Moves what a stopping stream has to the hand-over, and ends it there once its receive has ended.
    fn spill(&mut self, slot: &mut Slot, woken: &mut Vec<Waker>) {
        let (Some(stream), Some(pool)) = (self.streams.get_mut(slot.stream as usize), &self.pool) else {
            return;
        };
        let handover = &slot.descriptor.handover;
        let mut left = handover.lock();
        left.chunks.extend(stream.chunks.drain(..).map(|chunk| pool.lend(chunk)));
        if let Some(End::Error(errno)) = stream.end {
            left.error = Some(io::Error::from_raw_os_error(errno));
            stream.end = None;
        }
        if !stream.armed {
            self.streams.remove(slot.stream as usize);
            slot.stream = NO_STREAM;
            handover.stopped(&mut left);
        }
        woken.extend(Handover::take_waiters(&mut left));
    }

    /// The source is gone. Says whether a receive was at work, which must end before its descriptor may.
    pub(super) fn end(&mut self, slot: &mut Slot) -> (bool, Order) {
        let (Some(stream), Some(pool)) = (self.streams.get_mut(slot.stream as usize), &mut self.pool) else {
            return (false, Order::Nothing);
        };
        stream.chunks.drain(..).for_each(|chunk| pool.give_back_chunk(chunk));
        if !stream.armed {
            self.streams.remove(slot.stream as usize);
            slot.stream = NO_STREAM;
            return (false, Order::Nothing);
        }
        let known = mem::replace(&mut stream.cancelled, true);
        (true, if known { Order::Nothing } else { Order::Cancel })
    }

    /// Lets go of a leaving slot that nothing at work names any more.
    pub(super) fn release_if_idle(&mut self, slots: &mut Slots, key: Key) {
        if let Some(slot) = slots.get_mut(key)
            && slot.is_released()
        {
            // Its waiters were taken when it was hidden.
            self.released.extend(slots.remove(key).map(|(descriptor, _)| descriptor));
        }
    }

    /// Tells all receives to end; what they had received is handed over.
    pub(super) fn stop_all(&mut self, slots: &mut Slots, woken: &mut Vec<Waker>) -> Vec<Key> {
        let keys: Vec<_> =
            slots.keys().filter(|(_, slot)| slot.stream != NO_STREAM).map(|(key, _)| key).collect();
        let cancelled = keys.into_iter().filter(|key| {
            let slot = slots.get_mut(*key).expect("just listed");
            let order = if slot.leaving { self.end(slot).1 } else { self.stop(slot, woken) };
            matches!(order, Order::Cancel)
        });
        cancelled.collect()
    }

    /// Says of streams whose receive did not end in time that what it may have received since is lost.
    pub(super) fn give_up(&mut self, slots: &mut Slots, woken: &mut Vec<Waker>) {
        let keys: Vec<_> = slots.keys().map(|(key, _)| key).collect();
        for key in keys {
            let slot = slots.get_mut(key).expect("just listed");
            if slot.stream == NO_STREAM || slot.leaving {
                continue;
            }
            let mut left = slot.descriptor.handover.lock();
            left.error = Some(io::Error::other("the core that was receiving has ended"));
            left.for_good = true;
            slot.descriptor.handover.stopped(&mut left);
            woken.extend(Handover::take_waiters(&mut left));
        }
    }

    pub(super) fn publish(&mut self) {
        if let Some(pool) = &mut self.pool {
            pool.publish();
        }
    }

    pub(in super::super) fn pool(&mut self) -> Option<&mut Pool> {
        self.pool.as_mut()
    }

    /// Takes the buffers from the ring, which must be at rest.
    pub(super) fn close(&mut self, ring: &IoUring) {
        if let Some(pool) = self.pool.take() {
            pool.close(ring);
        }
    }
}

impl Drop for Receiver {
    /// Without a `close`, Linux may still write to the buffers.
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.leak();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::super::super::Wait;
    use super::super::super::handover::Mode;
    use super::super::super::source::Source;
    use super::super::{Uring, probe};
    use super::*;

    #[test]
    fn a_cancel_that_finds_no_receive_is_repeated() {
        let (Ok(()), (bell, _other)) = (probe(), UnixStream::pair().unwrap()) else { return };
        let mut uring = Uring::open(8, bell.as_fd()).unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let source = Source::new(ours.into());
        let home = CoreUid(NonZeroU64::MIN);
        assert!(uring.is_willing_to_stream(home) && source.descriptor().handover.start(home));
        let (mut slots, mut woken) = (Slots::new(), Vec::new());
        let key = slots.insert(source.descriptor().clone());
        let slot = slots.get_mut(key).unwrap();
        uring.start_stream(slot);
        // Issued before the receive, so it finds nothing; it stands for the one that the stop asks for.
        uring.cancel_receive(key);
        assert!(matches!(uring.read_stream(slot, key, |_, _| ()), Next::Wait(_)));
        assert!(matches!(uring.receiver.stop(slot, &mut woken), Order::Cancel));
        for _ in 0..10 {
            uring.turn(Wait::No, &mut slots, &mut woken).unwrap();
        }
        assert_eq!(slots.get_mut(key).unwrap().stream, NO_STREAM, "the receive goes on");
        assert_eq!(source.descriptor().handover.mode(), Mode::Left);
        uring.close(&mut slots, Duration::from_secs(10));
    }
}
