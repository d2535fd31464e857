//! The sources registered with one core's driver, and who waits for them.
//!
//! A slot is found by descriptor number (an array index) when a task polls, and by token when the driver reports an
//! event. Tokens carry a generation, so an event for a descriptor that is gone finds nothing. Attempts and events are
//! handled on the same thread: a slot needs no atomics, and an event not yet handled is always newer than the attempt
//! that found nothing.

use std::collections::HashSet;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use super::counts::Counts;
use super::interest::{Interest, Ready};
use super::source::Descriptor;

/// Where a slot is, and which use of it: what the driver gets as its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A generation fits the token's 28 bits.
const GENERATION_MASK: u32 = (1 << 28) - 1;
/// In `Slots::by_fd`: no slot.
const NOWHERE: u32 = u32::MAX;
/// In `Slot::stream`: the socket does not stream here.
pub(super) const NO_STREAM: u32 = u32::MAX;
/// Waiters beyond the two inline ones before the set is swept for the first time.
const SWEEP_AT_FIRST: usize = 8;

pub(super) struct Slot {
    pub(super) descriptor: Arc<Descriptor>,
    generation: u32,
    /// Readiness seen and not yet used up.
    ready: Ready,
    /// Directions the driver watches. Not watched means readiness is unknown.
    pub(super) armed: Interest,
    /// The source is gone; the slot waits for the driver to let go of the descriptor.
    pub(super) leaving: bool,
    /// Reads in a row that had to wait, twice; odd while one waits.
    waits: u8,
    /// Why the driver stopped watching, for the next one who asks: an error number, which fits.
    fault: i16,
    /// Counts what arrived, so that who declares readiness used up does not mean what came later.
    tick: u16,
    /// Which of the ring's streams is this socket's.
    pub(super) stream: u32,
    reader: Option<Waker>,
    writer: Option<Waker>,
    crowd: Option<Box<Crowd>>,
}

/// Waiters that found the inline place taken.
struct Crowd {
    waiters: Vec<(Interest, Waker)>,
    /// Who they are: thousands may wait for one socket, and each comes back whenever it is polled.
    known: HashSet<Identity>,
    sweep_at: usize,
}

/// What a waker wakes, and what for. Equal exactly where `will_wake` says so, as long as one of the wakers is kept.
type Identity = (Interest, usize, usize);

fn identity(interest: Interest, waker: &Waker) -> Identity {
    (interest, waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

/// Wakers that must be dropped or woken after the driver is no longer borrowed.
#[must_use = "its wakers run foreign code: handle them after releasing the borrow"]
pub(super) enum Leftover {
    Nothing,
    Drop(Waker),
    Wake(Vec<(Interest, Waker)>),
}

impl Leftover {
    pub(super) fn settle(self) {
        match self {
            Leftover::Nothing => {}
            Leftover::Drop(waker) => drop(waker),
            Leftover::Wake(waiters) => waiters.into_iter().for_each(|(_, waker)| waker.wake()),
        }
    }
}

/// What the driver watches for nobody any more; drop it after releasing the borrow.
#[must_use = "it holds wakers: drop it after releasing the borrow"]
pub(super) struct Remains {
    _reader: Option<Waker>,
    _writer: Option<Waker>,
    _crowd: Option<Box<Crowd>>,
}

impl Slot {
    fn new(descriptor: Arc<Descriptor>, generation: u32) -> Slot {
        Slot {
            descriptor,
            generation,
            ready: Ready::EMPTY,
            armed: Interest::NONE,
            leaving: false,
            waits: 0,
            fault: 0,
            tick: 0,
            stream: NO_STREAM,
            reader: None,
            writer: None,
            crowd: None,
        }
    }

    pub(super) fn ready(&self, interest: Interest) -> Ready {
        self.ready.for_interest(interest)
    }

    /// True when an attempt is known to find nothing.
    pub(super) fn is_idle(&self, interest: Interest) -> bool {
        interest.without(self.armed).is_none() && self.ready(interest).is_empty() && self.fault == 0
    }

    /// An attempt found nothing: whatever was seen before is used up, a hang-up included (it was none).
    pub(super) fn clear(&mut self, interest: Interest) {
        // Readers count on an error that is there still, and what told of it may have been a message about one.
        let keep = if interest.is_error() { self.descriptor.level(Interest::ERROR) } else { Ready::EMPTY };
        self.ready = self.ready.without(self.ready.used_up_by(interest)) | keep;
    }

    /// An attempt found less than it asked for. A hang-up or error that came along has yet to be fetched.
    pub(super) fn drained(&mut self, interest: Interest) {
        if !self.ready.is_error() {
            self.ready = self.ready.without(interest.plain());
        }
    }

    /// A read found nothing and waits. Says how many in a row have.
    pub(super) fn read_waits(&mut self) -> u8 {
        if self.waits.is_multiple_of(2) {
            self.waits = self.waits.saturating_add(3);
        }
        self.waits / 2
    }

    /// A read found something. One that never waited ends the row.
    pub(super) fn read_ended(&mut self) {
        self.waits = if self.waits.is_multiple_of(2) { 0 } else { self.waits & !1 };
    }

    pub(super) fn tick(&self) -> u16 {
        self.tick
    }

    /// What was found at `tick` is used up, unless something has arrived since.
    pub(super) fn use_up(&mut self, tick: u16, ready: Ready) {
        if self.tick == tick {
            self.ready = self.ready.without(ready);
        }
    }

    pub(super) fn take_fault(&mut self) -> i32 {
        mem::take(&mut self.fault).into()
    }

    /// The driver stopped watching `interest` because of `errno`. Whoever waits finds out by trying again.
    pub(super) fn fail(&mut self, interest: Interest, errno: i32, woken: &mut Vec<Waker>) {
        self.fault = i16::try_from(errno).unwrap_or(libc::EIO as i16);
        self.arrive(interest.plain(), woken);
    }

    /// Nothing at work names the descriptor of a source that is gone.
    pub(super) fn is_released(&self) -> bool {
        self.leaving && self.armed.is_none() && self.stream == NO_STREAM
    }

    /// Collects those who wait to read, whatever there is.
    pub(super) fn wake_readers(&mut self, woken: &mut Vec<Waker>) {
        let ready = self.ready;
        self.arrive(Ready::READABLE, woken);
        self.ready = ready;
    }

    /// Takes in readiness the driver reported and collects those who waited for it.
    pub(super) fn arrive(&mut self, ready: Ready, woken: &mut Vec<Waker>) {
        self.ready |= ready;
        self.tick = self.tick.wrapping_add(1);
        if ready.is_readable() {
            woken.extend(self.reader.take());
        }
        if ready.is_writable() {
            woken.extend(self.writer.take());
        }
        if let Some(crowd) = &mut self.crowd {
            let Crowd { waiters, known, .. } = &mut **crowd;
            let served = waiters.extract_if(.., |(wants, _)| !ready.for_interest(*wants).is_empty());
            woken.extend(served.map(|(wants, waker)| {
                known.remove(&identity(wants, &waker));
                waker
            }));
            if crowd.waiters.is_empty() {
                self.crowd = None;
            }
        }
    }

    /// Adds a waiter, once.
    pub(super) fn store(&mut self, interest: Interest, waker: Waker) -> Leftover {
        let inline = match interest {
            Interest::READABLE => Some(&mut self.reader),
            Interest::WRITABLE => Some(&mut self.writer),
            _ => None,
        };
        if let Some(inline) = inline {
            match inline {
                None => {
                    *inline = Some(waker);
                    return Leftover::Nothing;
                }
                Some(known) if known.will_wake(&waker) => return Leftover::Drop(waker),
                Some(_) => {}
            }
        }
        self.crowd.get_or_insert_with(Crowd::new).store(interest, waker)
    }

    fn take_waiters(&mut self) -> Remains {
        Remains { _reader: self.reader.take(), _writer: self.writer.take(), _crowd: self.crowd.take() }
    }
}

impl Crowd {
    fn new() -> Box<Crowd> {
        Box::new(Crowd { waiters: Vec::new(), known: HashSet::new(), sweep_at: SWEEP_AT_FIRST })
    }

    /// Nobody tells us when a waiter loses interest, so a set that keeps growing is swept: all are woken, and those
    /// that still wait come back. The threshold doubles, which keeps this rare however many really wait.
    fn store(&mut self, interest: Interest, waker: Waker) -> Leftover {
        let identity = identity(interest, &waker);
        if self.known.contains(&identity) {
            return Leftover::Drop(waker);
        }
        let swept = if self.waiters.len() < self.sweep_at {
            Leftover::Nothing
        } else {
            self.sweep_at *= 2;
            self.known.clear();
            Leftover::Wake(mem::take(&mut self.waiters))
        };
        self.known.insert(identity);
        self.waiters.push((interest, waker));
        swept
    }
}

/// All slots of one core.
pub(super) struct Slots {
    slots: Slab<Slot>,
    by_fd: Vec<u32>,
    last_generation: u32,
    /// Here, where both drivers find it.
    pub(super) counts: Counts,
}

impl Slots {
    pub(super) fn new() -> Slots {
        Slots { slots: Slab::new(), by_fd: Vec::new(), last_generation: 0, counts: Counts::default() }
    }

    fn index_of(&self, descriptor: &Descriptor) -> Option<usize> {
        let index = *self.by_fd.get(descriptor.as_raw_fd() as usize)?;
        let slot = self.slots.get(index as usize)?;
        // The number alone would do while everybody keeps to I/O safety; this also holds when somebody does not.
        std::ptr::eq(Arc::as_ptr(&slot.descriptor), descriptor).then_some(index as usize)
    }

    /// The slot of a live source, if it is registered here.
    pub(super) fn find(&self, descriptor: &Descriptor) -> Option<&Slot> {
        self.index_of(descriptor).map(|index| &self.slots[index])
    }

    pub(super) fn find_mut(&mut self, descriptor: &Descriptor) -> Option<(Key, &mut Slot)> {
        let index = self.index_of(descriptor)?;
        let slot = &mut self.slots[index];
        Some((Key { index: index as u32, generation: slot.generation }, slot))
    }

    /// The slot a token means, unless that use of the slot is over.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Slot> {
        self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)
    }

    pub(super) fn insert(&mut self, descriptor: Arc<Descriptor>) -> Key {
        let fd = descriptor.as_raw_fd() as usize;
        self.last_generation = (self.last_generation + 1) & GENERATION_MASK;
        let generation = self.last_generation;
        let index = self.slots.insert(Slot::new(descriptor, generation)) as u32;
        if fd >= self.by_fd.len() {
            self.by_fd.resize(fd + 1, NOWHERE);
        }
        self.by_fd[fd] = index;
        Key { index, generation }
    }

    /// Makes the slot unfindable by number; its token stays good until [`Slots::remove`].
    pub(super) fn hide(&mut self, key: Key) -> Option<Remains> {
        let slot = self.get_mut(key)?;
        slot.leaving = true;
        let fd = slot.descriptor.as_raw_fd();
        let remains = slot.take_waiters();
        self.unlink(fd, key.index);
        Some(remains)
    }

    /// Ends this use of the slot.
    pub(super) fn remove(&mut self, key: Key) -> Option<(Arc<Descriptor>, Remains)> {
        self.get_mut(key)?;
        let mut slot = self.slots.remove(key.index as usize);
        self.unlink(slot.descriptor.as_raw_fd(), key.index);
        let remains = slot.take_waiters();
        Some((slot.descriptor, remains))
    }

    fn unlink(&mut self, fd: RawFd, index: u32) {
        if let Some(entry) = self.by_fd.get_mut(fd as usize)
            && *entry == index
        {
            *entry = NOWHERE;
        }
    }

    /// Ends all slots and hands out everyone who still waits.
    pub(super) fn into_waiters(self) -> impl Iterator<Item = Waker> {
        self.slots.into_iter().flat_map(|(_, mut slot)| {
            let crowd = slot.crowd.take().map(|crowd| crowd.waiters).unwrap_or_default();
            slot.reader
                .take()
                .into_iter()
                .chain(slot.writer.take())
                .chain(crowd.into_iter().map(|(_, waker)| waker))
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = (Key, &Slot)> {
        self.slots
            .iter()
            .map(|(index, slot)| (Key { index: index as u32, generation: slot.generation }, slot))
    }
}

const _: () = assert!(size_of::<Slot>() <= 64);
