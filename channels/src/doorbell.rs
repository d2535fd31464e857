//! What wakes a parked core.
//!
//! A [`Doorbell`] is a [`StateWord`], by which senders learn whether the owner needs to be woken, and a [`Bell`], a
//! file descriptor that wakes it. They are apart because a sender that is a core itself may have a cheaper way to
//! wake (`IORING_OP_MSG_RING`) than writing the bell, and because the word can be model-checked without system calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU8, AtomicU32, Ordering, fence};

/// What a core is doing, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// It works, and will look at its queues before it parks.
    Running,
    /// It has nothing to do and watches its queues for a while before it parks.
    Polling,
    /// It sleeps, or is about to: whoever sends must see that it wakes.
    Parked,
    /// It is still parked and some sender has taken it on itself to wake it.
    Rung,
}

impl State {
    fn from_word(word: u8) -> Self {
        const ALL: [State; 4] = [State::Running, State::Polling, State::Parked, State::Rung];
        ALL[usize::from(word)]
    }
}

/// The word by which a core tells senders whether they must wake it.
///
/// Owner and senders follow rule R12: a sender publishes, fences, looks at the word; the owner writes `Parked`,
/// fences, looks at its queues. One of the two sees the other.
///
/// | from | by | to |
/// |---|---|---|
/// | any | owner: [`prepare_park`](Self::prepare_park) | `Parked` |
/// | `Parked` | one sender: [`must_ring`](Self::must_ring) | `Rung` |
/// | any | owner: [`unpark`](Self::unpark) | `Running` |
/// | any | owner: [`set_polling`](Self::set_polling) | `Polling` |
#[derive(Debug)]
pub struct StateWord(AtomicU8);

impl StateWord {
    /// The word of a core that is running.
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU8::new(State::Running as u8))
    }

    /// Owner: from here on senders wake us. Look at every queue once more, and sleep only if all are empty.
    #[inline]
    pub fn prepare_park(&self) {
        // Relaxed: the fence orders it before the owner's check (R12: S, F).
        self.0.store(State::Parked as u8, Ordering::Relaxed);
        // SeqCst: pairs with the fence of `must_ring`.
        fence(Ordering::SeqCst);
    }

    /// Owner: awake again, or not going to sleep after all. True if a sender rang, or is just about to: its ring may
    /// still be on the way (R14).
    #[inline]
    pub fn unpark(&self) -> bool {
        // An exchange, so that a ring is noticed exactly once. Acquire: pairs with the fence and exchange of the
        // sender that rang, whose message is then visible to the very next look. Relaxed store: it publishes nothing.
        self.0.swap(State::Running as u8, Ordering::Acquire) == State::Rung as u8
    }

    /// Owner: nothing to do, watching the queues for a while. Senders need not ring.
    #[inline]
    pub fn set_polling(&self) {
        // Relaxed: publishes nothing. Only `Parked` obliges a sender, and its order is what R12 is about.
        self.0.store(State::Polling as u8, Ordering::Relaxed);
    }

    /// Sender, after publishing a message: must *we* wake the owner? True for exactly one sender per sleep, and that
    /// one must do it.
    #[inline]
    #[must_use = "the sender that gets true must wake the owner; nobody else will"]
    pub fn must_ring(&self) -> bool {
        // SeqCst: pairs with the fence of `prepare_park` (R12: F, L).
        fence(Ordering::SeqCst);
        // Relaxed: ordered after the publishing by the fence.
        if self.0.load(Ordering::Relaxed) != State::Parked as u8 {
            return false;
        }
        // Strong, because a spurious failure would be a lost wake. Relaxed success: the fence above makes it a
        // release, and it pairs with the Acquire in `unpark`. Relaxed failure: another sender rings, or the owner is
        // awake and looks again before it sleeps (R13).
        let (from, to) = (State::Parked as u8, State::Rung as u8);
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// What the owner is doing, for observers. Old by the time it is read.
    #[must_use]
    pub fn state(&self) -> State {
        // Relaxed: an observation that nothing depends on.
        State::from_word(self.0.load(Ordering::Relaxed))
    }
}

impl Default for StateWord {
    fn default() -> Self {
        Self::new()
    }
}

/// A file descriptor that becomes readable when rung: an eventfd, non-blocking and closed on exec.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    ///
    /// What `eventfd(2)` says, which is about limits on descriptors or memory.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is open and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable; it stays so until drained. From any thread, and never blocks.
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open while `self` lives, and the buffer is 8 readable bytes.
        let written = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // A full counter (EAGAIN) is readable, so it counts as rung. A non-blocking eventfd is not interrupted, and
        // nothing else can fail for a descriptor that we own.
        debug_assert!(written == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock);
    }

    /// Takes all rings so far: the descriptor is not readable until the next one.
    pub fn drain(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the descriptor is open while `self` lives, and the buffer is 8 writable bytes.
        let read = unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        // One read takes the whole count. EAGAIN: there was none.
        debug_assert!(read == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What wakes a parked core, and tells others how it is doing.
///
/// The owner parks like this; without the check between `prepare_park` and sleeping, wakes get lost:
///
/// ```
/// # use multikernel_channels::doorbell::{Doorbell, State};
/// let doorbell = Doorbell::new()?;
/// # let inbox_is_empty = || false;
/// # let sleep_until_readable = |_| unreachable!();
/// doorbell.prepare_park();
/// if inbox_is_empty() {
///     sleep_until_readable(doorbell.fd());
///     doorbell.drain();
/// }
/// doorbell.unpark();
/// # assert_eq!(doorbell.state(), State::Running);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// And a sender wakes like this:
///
/// ```
/// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
/// # doorbell.prepare_park();
/// // .. the message is in the owner's queue ..
/// if doorbell.must_ring() {
///     doorbell.ring();
/// }
/// # assert!(doorbell.unpark());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Doorbell {
    /// Alone on its line: it changes only around sleeps, so while the owner is busy every sender has a copy.
    word: CachePadded<StateWord>,
    /// Alone on its line: the owner writes it at every poll, and only observers pay for reading it (R15).
    progress: CachePadded<AtomicU32>,
    bell: Bell,
}

impl Doorbell {
    /// The doorbell of a core that is running.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left, see [`Bell::new`].
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            word: CachePadded::new(StateWord::new()),
            progress: CachePadded::new(AtomicU32::new(0)),
            bell: Bell::new()?,
        })
    }

    /// What the owner waits for to become readable. Whoever wakes by other means leaves it alone.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Owner: see [`StateWord::prepare_park`].
    #[inline]
    pub fn prepare_park(&self) {
        self.word.prepare_park();
    }

    /// Owner: see [`StateWord::unpark`].
    #[inline]
    pub fn unpark(&self) -> bool {
        self.word.unpark()
    }

    /// Owner: see [`StateWord::set_polling`].
    #[inline]
    pub fn set_polling(&self) {
        self.word.set_polling();
    }

    /// Owner: empties the bell. Due whenever [`fd`](Self::fd) was found readable, because it stays so; also worth its
    /// system call when [`unpark`](Self::unpark) returned true, because otherwise the ring ends the next sleep early.
    /// It does no harm, and a ring can still come after it (R14).
    pub fn drain(&self) {
        self.bell.drain();
    }

    /// Sender: see [`StateWord::must_ring`].
    #[inline]
    #[must_use = "the sender that gets true must wake the owner; nobody else will"]
    pub fn must_ring(&self) -> bool {
        self.word.must_ring()
    }

    /// Sender: writes the bell. One system call; never blocks.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// What the owner is doing, for observers.
    #[must_use]
    pub fn state(&self) -> State {
        self.word.state()
    }

    /// Owner: counts one poll. A load and a store, no read-modify-write.
    #[inline]
    pub fn tick(&self) {
        // Relaxed, both: the owner is the only writer, and no data hangs on the count (R15).
        let now = self.progress.load(Ordering::Relaxed);
        self.progress.store(now.wrapping_add(1), Ordering::Relaxed);
    }

    /// How many polls the owner has counted, modulo 2^32. An observer that sees the same count twice in state
    /// `Running` knows that one poll took all the time between.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        // Relaxed: see `tick`.
        self.progress.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn readable(doorbell: &Doorbell) -> bool {
        let mut fd = libc::pollfd { fd: doorbell.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `fd` is one valid pollfd for the length of the call.
        unsafe { libc::poll(&raw mut fd, 1, 0) == 1 }
    }

    #[test]
    fn every_transition_of_the_state_word() {
        const ALL: [State; 4] = [State::Running, State::Polling, State::Parked, State::Rung];
        let after = |verb: fn(&StateWord) -> bool| {
            ALL.map(|from| {
                let word = StateWord(AtomicU8::new(from as u8));
                assert_eq!(word.state(), from);
                let told = verb(&word);
                (word.state(), told)
            })
        };
        use State::{Parked, Polling, Rung, Running};
        let must_ring = after(StateWord::must_ring);
        assert_eq!(must_ring, [(Running, false), (Polling, false), (Rung, true), (Rung, false)]);
        let unpark = after(StateWord::unpark);
        assert_eq!(unpark, [(Running, false), (Running, false), (Running, false), (Running, true)]);
        let prepare_park = after(|word| {
            word.prepare_park();
            false
        });
        assert_eq!(prepare_park, [(Parked, false); 4]);
        let set_polling = after(|word| {
            word.set_polling();
            false
        });
        assert_eq!(set_polling, [(Polling, false); 4]);
    }

    #[test]
    fn rings_until_drained() {
        let doorbell = Doorbell::new().unwrap();
        assert!(!readable(&doorbell));
        doorbell.drain();
        doorbell.ring();
        doorbell.ring();
        assert!(readable(&doorbell));
        assert!(readable(&doorbell));
        doorbell.drain();
        assert!(!readable(&doorbell));
    }

    #[test]
    fn a_full_counter_counts_as_rung() {
        let doorbell = Doorbell::new().unwrap();
        let most = (u64::MAX - 1).to_ne_bytes();
        // SAFETY: the descriptor is open and the buffer is 8 readable bytes.
        let written = unsafe { libc::write(doorbell.fd().as_raw_fd(), most.as_ptr().cast(), most.len()) };
        assert_eq!(written, 8);
        doorbell.ring();
        assert!(readable(&doorbell));
        doorbell.drain();
        assert!(!readable(&doorbell));
    }

    #[test]
    fn the_descriptor_neither_blocks_nor_survives_exec() {
        let doorbell = Doorbell::new().unwrap();
        let fd = doorbell.fd().as_raw_fd();
        // SAFETY: queries on an open descriptor.
        let (status, flags) = unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD)) };
        assert_ne!(status & libc::O_NONBLOCK, 0);
        assert_ne!(flags & libc::FD_CLOEXEC, 0);
    }

    #[test]
    fn ticks_wrap() {
        let doorbell = Doorbell::new().unwrap();
        doorbell.tick();
        assert_eq!(doorbell.ticks(), 1);
        doorbell.progress.store(u32::MAX, Ordering::Relaxed);
        doorbell.tick();
        assert_eq!(doorbell.ticks(), 0);
    }
}
