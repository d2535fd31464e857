//! How many messages may still be sent, and who waits for that.
//!
//! One word says all that must be agreed on (R25): how many messages were ever promised a place, how many of those
//! promises are kept back by somebody who may yet not use them, whether senders wait, and whether the channel is
//! closed. What the receiver has taken is on a line of its own that only it writes, so that a sender looks there only
//! when the channel seems full, as in a ring. And what it has to know of the senders is on another that is hardly ever
//! written, so that it leaves the word to those who send (R28).

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordering, fence};

/// Senders wait for room: who comes now stands in line.
const WAITING: u64 = 1;
/// No message is promised a place any more.
const CLOSED: u64 = 1 << 1;
/// One promise that is kept back. 30 bits.
const KEPT: u64 = 1 << 2;
/// One message that was promised a place. 32 bits, which wrap.
const PROMISED: u64 = 1 << 32;

const NOTICE_WAITING: u32 = WAITING as u32;
const NOTICE_CLOSED: u32 = CLOSED as u32;

fn promised(word: u64) -> u32 {
    (word >> 32) as u32
}

fn kept(word: u64) -> u32 {
    (word as u32) >> 2
}

/// Why no place was promised.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

/// A place in the channel, which the holder uses at once.
#[must_use]
#[derive(Debug)]
pub(super) struct Place(());

/// What a sender that stands in line holds. To be handed back to [`Credits::leave`] if it does not wait to the end.
#[derive(Debug)]
pub(super) struct Ticket(u64);

pub(super) struct Credits {
    senders: CachePadded<Senders>,
    /// How many messages were ever taken. Written by the receiver only.
    taken: CachePadded<AtomicU32>,
    /// `WAITING` and `CLOSED` of the word, for the receiver. Written under the lock.
    notice: CachePadded<AtomicU32>,
    capacity: u32,
    line: Mutex<Line>,
}

/// What senders write.
struct Senders {
    word: AtomicU64,
    /// `taken` as some sender saw it last: never ahead of it.
    seen: AtomicU32,
}

/// Who waits. Touched only when the channel is full, closed, or waited for.
struct Line {
    next: u64,
    /// In the order of their tickets. Who is no longer here has been promised a place.
    room: VecDeque<(u64, Option<Waker>)>,
    closed: Vec<(u64, Waker)>,
}

impl Credits {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            senders: CachePadded::new(Senders { word: AtomicU64::new(0), seen: AtomicU32::new(0) }),
            taken: CachePadded::new(AtomicU32::new(0)),
            notice: CachePadded::new(AtomicU32::new(0)),
            capacity,
            line: Mutex::new(Line { next: 0, room: VecDeque::new(), closed: Vec::new() }),
        }
    }

    #[inline]
    fn word(&self) -> u64 {
        self.senders.word.load(Ordering::Acquire) // pairs with the Release of who closed
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    pub(super) fn is_closed(&self) -> bool {
        self.word() & CLOSED != 0
    }

    /// How many messages wait, or are just being sent.
    pub(super) fn len(&self) -> usize {
        let taken = self.taken.load(Ordering::Relaxed); // first: it only follows; and a count
        self.outstanding(self.word(), taken).min(self.capacity) as usize
    }

    fn outstanding(&self, word: u64, taken: u32) -> u32 {
        promised(word).wrapping_sub(kept(word)).wrapping_sub(taken)
    }

    /// For the receiver: [`is_closed`](Self::is_closed), perhaps a little later, and cheaper for those who send.
    #[inline]
    pub(super) fn was_closed(&self) -> bool {
        self.notice.load(Ordering::Acquire) & NOTICE_CLOSED != 0 // pairs with the Release in `close`
    }

    /// For the receiver: whether the channel is closed and everything has been taken that was ever sent (R27).
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        // Relaxed: the receiver wrote it.
        self.was_closed() && self.outstanding(self.word(), self.taken.load(Ordering::Relaxed)) == 0
    }

    /// For the receiver: a message has been taken.
    #[inline]
    pub(super) fn took(&self) {
        let taken = self.taken.load(Ordering::Relaxed).wrapping_add(1); // ours
        // Release: pairs with the Acquire in `has_room`; who sees the room finds the slot empty.
        self.taken.store(taken, Ordering::Release);
    }

    #[inline]
    fn has_room(&self, word: u64) -> bool {
        // Signed: the word may be older than what was taken, and then the exchange fails.
        let is_free =
            |taken: u32| promised(word).wrapping_sub(taken).cast_signed() < self.capacity.cast_signed();
        // Acquire and Release: who goes by `seen` goes by what was seen in `taken`.
        if is_free(self.senders.seen.load(Ordering::Acquire)) {
            return true;
        }
        let taken = self.taken.load(Ordering::Acquire); // pairs with the Release in `took`
        self.senders.seen.store(taken, Ordering::Release);
        is_free(taken)
    }

    /// Adds `what`, which has one `PROMISED` in it, if there is room and the word has nothing of `unless`.
    #[inline]
    fn promise(&self, what: u64, unless: u64) -> Result<(), Refused> {
        let mut word = self.senders.word.load(Ordering::Relaxed);
        loop {
            if word & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            if word & unless != 0 || !self.has_room(word) {
                return Err(Refused::Full);
            }
            // Relaxed: all that hangs on it is the order of changes of this one word (R25).
            let next = word.wrapping_add(what);
            match self.senders.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// A place, if there is one now and nobody waits for it.
    #[inline]
    pub(super) fn try_take(&self) -> Result<Place, Refused> {
        match self.promise(PROMISED, WAITING) {
            Err(Refused::Full) if self.word() & WAITING != 0 => self.try_take_in_turn().map(Place),
            result => result.map(Place),
        }
    }

    /// The receiver may not have said yet that there is room for those who wait; they come first.
    #[cold]
    fn try_take_in_turn(&self) -> Result<(), Refused> {
        let mut woken = Vec::new();
        let result = self.with_line(|line| {
            self.serve(line, &mut woken);
            self.promise(PROMISED, WAITING)
        });
        woken.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits for a place. `Err` when the channel is closed.
    #[inline]
    pub(super) fn poll_take(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<Place, ()>> {
        if ticket.is_none() {
            match self.promise(PROMISED, WAITING) {
                Ok(()) => return Poll::Ready(Ok(Place(()))),
                Err(Refused::Closed) => return Poll::Ready(Err(())),
                Err(Refused::Full) => {}
            }
        }
        self.poll_keep(cx, ticket).map(|kept| if kept.is_ok() { self.use_kept() } else { Err(()) })
    }

    /// Waits for a place that may be kept back: it ends with [`use_kept`](Self::use_kept) or
    /// [`give_back`](Self::give_back).
    #[cold]
    pub(super) fn poll_keep(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<Result<(), ()>> {
        let waker = cx.waker().clone(); // code of users, so outside the lock
        let mut woken = Vec::new();
        let (result, _old) = self.with_line(|line| {
            self.serve(line, &mut woken);
            match ticket.take() {
                Some(held) => self.ask_again(line, held, waker, ticket),
                None => (self.stand_in_line(line, waker, ticket, &mut woken), None),
            }
        });
        woken.into_iter().for_each(Waker::wake);
        result
    }

    fn stand_in_line(
        &self,
        line: &mut Line,
        waker: Waker,
        ticket: &mut Option<Ticket>,
        woken: &mut Vec<Waker>,
    ) -> Poll<Result<(), ()>> {
        match self.promise(PROMISED + KEPT, WAITING) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(Refused::Closed) => return Poll::Ready(Err(())),
            Err(Refused::Full) => {}
        }
        let number = line.next;
        line.next += 1;
        line.room.push_back((number, Some(waker)));
        self.senders.word.fetch_or(WAITING, Ordering::Relaxed); // the fence follows
        self.notice.fetch_or(NOTICE_WAITING, Ordering::Relaxed); // as well
        // SeqCst: pairs with the fence of the receiver's knock (R26).
        fence(Ordering::SeqCst);
        self.serve(line, woken);
        if line.position(number).is_err() {
            return Poll::Ready(Ok(()));
        }
        *ticket = Some(Ticket(number)); // nobody closes while we hold the lock
        Poll::Pending
    }

    /// The second result is to be dropped outside the lock.
    fn ask_again(
        &self,
        line: &mut Line,
        held: Ticket,
        waker: Waker,
        ticket: &mut Option<Ticket>,
    ) -> (Poll<Result<(), ()>>, Option<Waker>) {
        let Ok(at) = line.position(held.0) else { return (Poll::Ready(Ok(())), Some(waker)) };
        if self.is_closed() {
            let (_, old) = line.room.remove(at).expect("it was found there");
            return (Poll::Ready(Err(())), old);
        }
        let old = line.room[at].1.replace(waker);
        *ticket = Some(held);
        (Poll::Pending, old)
    }

    /// A place that was kept back is used now. `Err` if the channel has been closed meanwhile.
    pub(super) fn use_kept(&self) -> Result<Place, ()> {
        let mut word = self.senders.word.load(Ordering::Relaxed);
        loop {
            let is_closed = word & CLOSED != 0;
            let less = if is_closed { PROMISED + KEPT } else { KEPT };
            let next = word.wrapping_sub(less);
            // Relaxed: as in `promise`.
            match self.senders.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return if is_closed { Err(()) } else { Ok(Place(())) },
                Err(now) => word = now,
            }
        }
    }

    /// A place that was kept back is not used: the next in line may have it.
    pub(super) fn give_back(&self) {
        // Relaxed: as in `promise`; and who waits has set the bit before this, or sees the room.
        let before = self.senders.word.fetch_sub(PROMISED + KEPT, Ordering::Relaxed);
        if before & WAITING != 0 {
            let mut woken = Vec::new();
            self.with_line(|line| self.serve(line, &mut woken));
            woken.into_iter().for_each(Waker::wake);
        }
    }

    /// Who holds `ticket` does not wait any more.
    pub(super) fn leave(&self, ticket: Ticket) {
        let mut woken = Vec::new();
        let (was_promised, _waker) = self.with_line(|line| match line.position(ticket.0) {
            Ok(at) => {
                let gone = line.room.remove(at);
                self.serve(line, &mut woken); // nobody may be left in line
                (false, gone)
            }
            Err(_) => (true, None),
        });
        woken.into_iter().for_each(Waker::wake);
        if was_promised {
            self.give_back();
        }
    }

    /// After the receiver has taken something, and a SeqCst fence: adds to `woken` who may send now (R26).
    pub(super) fn knock(&self, woken: &mut Vec<Waker>) {
        // Relaxed: the fence before orders it after what was taken.
        if self.notice.load(Ordering::Relaxed) & NOTICE_WAITING != 0 {
            self.with_line(|line| self.serve(line, woken));
        }
    }

    /// Promises places to those in line, the first first, for as long as there are any.
    fn serve(&self, line: &mut Line, woken: &mut Vec<Waker>) {
        while !line.room.is_empty() && self.promise(PROMISED + KEPT, 0).is_ok() {
            woken.extend(line.room.pop_front().and_then(|(_, waker)| waker));
        }
        if line.room.is_empty() && self.senders.word.load(Ordering::Relaxed) & WAITING != 0 {
            self.senders.word.fetch_and(!WAITING, Ordering::Relaxed); // under the lock, as it is set
            self.notice.fetch_and(!NOTICE_WAITING, Ordering::Relaxed); // as well
        }
    }

    /// No message is promised a place from now on. Wakes all senders that wait.
    pub(super) fn close(&self) {
        let mut woken = Vec::new();
        self.with_line(|line| {
            // Release: pairs with the Acquire in `word`.
            self.senders.word.fetch_or(CLOSED, Ordering::Release);
            // Release: pairs with the Acquire in `was_closed`, after which the word says so too.
            self.notice.fetch_or(NOTICE_CLOSED, Ordering::Release);
            woken.extend(line.room.iter_mut().filter_map(|(_, waker)| waker.take()));
            woken.extend(line.closed.drain(..).map(|(_, waker)| waker));
        });
        woken.into_iter().for_each(Waker::wake);
    }

    /// Waits until the channel is closed.
    pub(super) fn poll_closed(&self, cx: &Context<'_>, ticket: &mut Option<Ticket>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (result, _old) = self.with_line(|line| {
            let old = ticket.take().and_then(|held| line.forget_closed(held));
            if self.is_closed() {
                return (Poll::Ready(()), old);
            }
            line.closed.push((line.next, waker));
            *ticket = Some(Ticket(line.next));
            line.next += 1;
            (Poll::Pending, old)
        });
        result
    }

    /// Who holds `ticket` no longer waits for the channel to be closed.
    pub(super) fn leave_closed(&self, ticket: Ticket) {
        let _waker = self.with_line(|line| line.forget_closed(ticket));
    }

    /// Nothing of what `f` does runs code of users: wakers are cloned, woken and dropped outside.
    fn with_line<R>(&self, f: impl FnOnce(&mut Line) -> R) -> R {
        f(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Line {
    /// Where `ticket` stands. `Err` if it has been served.
    fn position(&self, ticket: u64) -> Result<usize, usize> {
        self.room.binary_search_by_key(&ticket, |(number, _)| *number)
    }

    fn forget_closed(&mut self, ticket: Ticket) -> Option<Waker> {
        let at = self.closed.iter().position(|(number, _)| *number == ticket.0)?;
        Some(self.closed.swap_remove(at).1)
    }
}
