//! What wakes a parked core.
//!
//! A [`Doorbell`] is a [`StateWord`], by which senders learn whether the owner needs to be woken, and a [`Bell`], a
//! file descriptor that wakes it. They are apart because a sender that is a core itself may have a cheaper way to
//! wake (`IORING_OP_MSG_RING`) than writing the bell, and because the word can be model-checked without system calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crossbeam_utils::CachePadded;

pub use crate::state_word::{State, StateWord};
use crate::sync::{AtomicU32, Ordering};

/// A file descriptor that becomes readable when rung: an eventfd, non-blocking and closed on exec.
///
/// # Example
///
/// ```
/// use multikernel_channels::doorbell::Bell;
/// use std::os::fd::{AsFd, AsRawFd};
/// # fn is_readable(fd: impl AsFd) -> bool {
/// #     let mut fd = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
/// #     // SAFETY: `fd` is one valid pollfd for the length of the call.
/// #     unsafe { libc::poll(&mut fd, 1, 0) == 1 }
/// # }
///
/// let bell = Bell::new()?;
/// assert!(!is_readable(&bell)); // by poll(2), epoll or io_uring
/// bell.ring();
/// bell.ring();
/// assert!(is_readable(&bell));
/// bell.drain();
/// assert!(!is_readable(&bell));
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    ///
    /// What `eventfd(2)` says, which is about limits on descriptors or memory.
    ///
    /// # Example
    ///
    /// ```
    /// # use multikernel_channels::doorbell::Bell;
    /// let bell = Bell::new()?;
    /// # std::io::Result::Ok(())
    /// ```
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
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use multikernel_channels::doorbell::Bell;
    /// let bell = Arc::new(Bell::new()?);
    /// let alarm = Arc::clone(&bell);
    /// std::thread::spawn(move || alarm.ring());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the descriptor is open while `self` lives, and the buffer is 8 readable bytes.
        let written = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // A full counter (EAGAIN) is readable, so it counts as rung. A non-blocking eventfd is not interrupted, and
        // nothing else can fail for a descriptor that we own.
        debug_assert!(written == 8 || io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock);
    }

    /// Takes all rings so far: the descriptor is not readable until the next one.
    ///
    /// ```
    /// # let bell = multikernel_channels::doorbell::Bell::new()?;
    /// bell.drain(); // does not wait for a ring
    /// # std::io::Result::Ok(())
    /// ```
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
    /// None: its owner sleeps elsewhere, and whoever must ring knows where.
    bell: Option<Bell>,
}

impl Doorbell {
    /// The doorbell of a core that is running.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left, see [`Bell::new`].
    ///
    /// # Example
    ///
    /// Senders share it:
    ///
    /// ```
    /// # use multikernel_channels::doorbell::Doorbell;
    /// let doorbell = std::sync::Arc::new(Doorbell::new()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            word: CachePadded::new(StateWord::new()),
            progress: CachePadded::new(AtomicU32::new(0)),
            bell: Some(Bell::new()?),
        })
    }

    /// A doorbell without a descriptor, for an owner that is woken by other means alone.
    #[doc(hidden)]
    #[must_use]
    pub fn silent() -> Self {
        Self {
            word: CachePadded::new(StateWord::new()),
            progress: CachePadded::new(AtomicU32::new(0)),
            bell: None,
        }
    }

    /// What the owner waits for to become readable. Whoever wakes by other means leaves it alone.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// # doorbell.prepare_park();
    /// # doorbell.ring();
    /// let mut bell = libc::pollfd { fd: doorbell.fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    /// // SAFETY: `bell` is one valid pollfd for the length of the call.
    /// unsafe { libc::poll(&mut bell, 1, 1_000) };
    /// assert_eq!(bell.revents, libc::POLLIN);
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.bell.as_ref().expect("a silent doorbell has no descriptor").as_fd()
    }

    /// Owner: from here on senders wake us. Look at every queue once more, and sleep only if all are empty. See
    /// [`StateWord::prepare_park`].
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// # let (queues_are_empty, sleep) = (|| true, || ());
    /// doorbell.prepare_park();
    /// if queues_are_empty() {
    ///     sleep();
    /// }
    /// doorbell.unpark();
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn prepare_park(&self) {
        self.word.prepare_park();
    }

    /// Owner: awake again, or not going to sleep after all. True if a sender rang, or is just about to. See
    /// [`StateWord::unpark`].
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// # doorbell.prepare_park();
    /// if doorbell.unpark() {
    ///     doorbell.drain();
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn unpark(&self) -> bool {
        self.word.unpark()
    }

    /// Owner: nothing to do, watching the queues for a while. Senders need not ring. See [`StateWord::set_polling`].
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # let (doorbell, queues_are_empty) = (multikernel_channels::doorbell::Doorbell::new()?, || false);
    /// doorbell.set_polling();
    /// let enough = Instant::now() + Duration::from_micros(10);
    /// while queues_are_empty() && Instant::now() < enough {
    ///     std::hint::spin_loop();
    /// }
    /// doorbell.unpark(); // or `prepare_park`
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn set_polling(&self) {
        self.word.set_polling();
    }

    /// Owner: empties the bell. Due whenever [`fd`](Self::fd) was found readable, because it stays so; also worth its
    /// system call when [`unpark`](Self::unpark) returned true, because otherwise the ring ends the next sleep early.
    /// It does no harm, and a ring can still come after it (R14).
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// # doorbell.prepare_park();
    /// # assert!(doorbell.must_ring());
    /// doorbell.ring(); // by some sender
    /// if doorbell.unpark() {
    ///     doorbell.drain(); // `fd` is silent again
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn drain(&self) {
        self.bell.iter().for_each(Bell::drain);
    }

    /// Sender, after publishing a message: must *we* wake the owner? True for exactly one sender per sleep, and that one
    /// must do it. See [`StateWord::must_ring`].
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// // .. the message is in the owner's queue ..
    /// if doorbell.must_ring() {
    ///     doorbell.ring();
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    #[must_use = "the sender that gets true must wake the owner; nobody else will"]
    pub fn must_ring(&self) -> bool {
        self.word.must_ring()
    }

    /// Sender: writes the bell. One system call; never blocks.
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// # doorbell.prepare_park();
    /// if doorbell.must_ring() {
    ///     doorbell.ring();
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ring(&self) {
        self.bell.iter().for_each(Bell::ring);
    }

    /// What the owner is doing, for observers. Old by the time it is read.
    ///
    /// ```
    /// # use multikernel_channels::doorbell::{Doorbell, State};
    /// # let doorbell = Doorbell::new()?;
    /// let is_idle = matches!(doorbell.state(), State::Polling | State::Parked);
    /// # assert!(!is_idle);
    /// # std::io::Result::Ok(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        self.word.state()
    }

    /// Owner: counts one poll. A load and a store, no read-modify-write.
    ///
    /// ```
    /// # let doorbell = multikernel_channels::doorbell::Doorbell::new()?;
    /// doorbell.tick();
    /// assert_eq!(doorbell.ticks(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn tick(&self) {
        // Relaxed, both: the owner is the only writer, and no data hangs on the count (R15).
        let now = self.progress.load(Ordering::Relaxed);
        self.progress.store(now.wrapping_add(1), Ordering::Relaxed);
    }

    /// How many polls the owner has counted, modulo 2^32. An observer that sees the same count twice in state
    /// `Running` knows that one poll took all the time between.
    ///
    /// ```
    /// # use multikernel_channels::doorbell::{Doorbell, State};
    /// # let doorbell = Doorbell::new()?;
    /// let before = doorbell.ticks();
    /// // .. a second later ..
    /// let is_stuck = doorbell.state() == State::Running && doorbell.ticks() == before;
    /// # assert!(is_stuck);
    /// # std::io::Result::Ok(())
    /// ```
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
