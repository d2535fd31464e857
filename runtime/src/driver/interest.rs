//! Which readiness is asked for, and which was found.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

/// The readiness a caller waits for: reading, writing, urgent data, errors, or several of them.
///
/// ```
/// use multikernel::io::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    // The bits are those of `Ready`.
    /// Data, a connection or the end of the stream can be read.
    pub const READABLE: Interest = Interest(Ready::READABLE.0);
    /// There is room to write.
    pub const WRITABLE: Interest = Interest(Ready::WRITABLE.0);
    /// There is urgent data (`POLLPRI`), such as a TCP socket's out-of-band byte.
    pub const PRIORITY: Interest = Interest(Ready::PRIORITY.0);
    /// An error is waiting to be fetched, and nothing else: who reads or writes is told of errors anyway.
    pub const ERROR: Interest = Interest(Ready::ERROR.0);
    pub(crate) const NONE: Interest = Interest(0);
    /// The single directions, for walking over an interest.
    pub(crate) const DIRECTIONS: [Interest; 4] =
        [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY, Interest::ERROR];

    /// True when reading is part of this interest.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// assert!(Interest::READABLE.is_readable());
    /// assert!(!Interest::WRITABLE.is_readable());
    /// ```
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// True when writing is part of this interest.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// assert!(Interest::WRITABLE.is_writable());
    /// assert!(!Interest::READABLE.is_writable());
    /// ```
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// True when urgent data is part of this interest.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// assert!(Interest::PRIORITY.is_priority());
    /// assert!(!Interest::READABLE.is_priority());
    /// ```
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// True when errors are part of this interest.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// assert!(Interest::ERROR.is_error());
    /// assert!(!Interest::WRITABLE.is_error());
    /// ```
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR.0 != 0
    }

    /// What is left without `other`. `None` if that is nothing.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// let both = Interest::READABLE | Interest::WRITABLE;
    /// assert_eq!(both.remove(Interest::WRITABLE), Some(Interest::READABLE));
    /// assert_eq!(both.remove(both), None);
    /// ```
    #[must_use = "it does not change the interest itself"]
    pub fn remove(self, other: Interest) -> Option<Interest> {
        Some(self.without(other)).filter(|left| !left.is_none())
    }

    /// Both interests together: `|`, for constants.
    ///
    /// ```
    /// # use multikernel::io::Interest;
    /// const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    /// assert_eq!(BOTH, Interest::READABLE | Interest::WRITABLE);
    /// ```
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }

    pub(crate) const fn both(self, other: Interest) -> Interest {
        Interest(self.0 & other.0)
    }

    pub(crate) const fn overlaps(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The readiness that an attempt which got less than it asked for uses up; hang-ups stay.
    pub(crate) const fn plain(self) -> Ready {
        Ready(self.0)
    }

    /// What to ask poll(2) for. Errors and hang-ups are reported unasked.
    pub(crate) const fn poll_mask(self) -> i16 {
        let mut mask = 0;
        if self.is_readable() {
            mask |= libc::POLLIN | libc::POLLRDHUP;
        }
        if self.is_writable() {
            mask |= libc::POLLOUT;
        }
        if self.is_priority() {
            mask |= libc::POLLPRI | libc::POLLRDHUP;
        }
        mask
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() { f.write_str("(none)") } else { self.plain().fmt(f) }
    }
}

/// The readiness found for a descriptor.
///
/// A closed or failed direction counts as ready: the call that is tried next does not wait, it returns the end of the
/// stream or the error.
///
/// ```
/// use multikernel::io::Ready;
///
/// assert!(Ready::READ_CLOSED.is_readable());
/// assert!(!Ready::READ_CLOSED.is_writable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ready(u8);

impl Ready {
    /// Nothing is ready.
    pub const EMPTY: Ready = Ready(0);
    /// Reading would not wait.
    pub const READABLE: Ready = Ready(0b00_0001);
    /// Writing would not wait.
    pub const WRITABLE: Ready = Ready(0b00_0010);
    /// The peer will send no more.
    pub const READ_CLOSED: Ready = Ready(0b00_0100);
    /// What is written can no longer arrive.
    pub const WRITE_CLOSED: Ready = Ready(0b00_1000);
    /// An error is waiting to be fetched.
    pub const ERROR: Ready = Ready(0b01_0000);
    /// There is urgent data.
    pub const PRIORITY: Ready = Ready(0b10_0000);
    /// All of these.
    pub const ALL: Ready = Ready(0b11_1111);

    const READ_SIDE: Ready = Ready(Self::READABLE.0 | Self::READ_CLOSED.0 | Self::ERROR.0);
    const WRITE_SIDE: Ready = Ready(Self::WRITABLE.0 | Self::WRITE_CLOSED.0 | Self::ERROR.0);
    /// Who waits for urgent data waits in vain when there will be no more.
    const PRIORITY_SIDE: Ready = Ready(Self::PRIORITY.0 | Self::READ_CLOSED.0);

    /// True when nothing is ready.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!(Ready::EMPTY.is_empty());
    /// assert!(!Ready::ERROR.is_empty());
    /// ```
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when reading would not wait: for data, the end of the stream, or an error.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!(Ready::READABLE.is_readable() && Ready::READ_CLOSED.is_readable() && Ready::ERROR.is_readable());
    /// ```
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READ_SIDE.0 != 0
    }

    /// True when writing would not wait: there is room, or it would fail at once.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!(Ready::WRITABLE.is_writable() && Ready::WRITE_CLOSED.is_writable() && Ready::ERROR.is_writable());
    /// ```
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITE_SIDE.0 != 0
    }

    /// True when the peer will send no more. There may still be bytes to read.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// let ready = Ready::READABLE | Ready::READ_CLOSED;
    /// assert!(ready.is_read_closed());
    /// assert!(!Ready::READABLE.is_read_closed());
    /// ```
    pub const fn is_read_closed(self) -> bool {
        self.0 & Self::READ_CLOSED.0 != 0
    }

    /// True when what is written can no longer arrive.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!((Ready::WRITABLE | Ready::WRITE_CLOSED).is_write_closed());
    /// assert!(!Ready::WRITABLE.is_write_closed());
    /// ```
    pub const fn is_write_closed(self) -> bool {
        self.0 & Self::WRITE_CLOSED.0 != 0
    }

    /// True when an error is waiting to be fetched: the next read or write returns it.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!(Ready::ERROR.is_error());
    /// assert!(!Ready::READ_CLOSED.is_error());
    /// ```
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR.0 != 0
    }

    /// True when there is urgent data.
    ///
    /// ```
    /// # use multikernel::io::Ready;
    /// assert!(Ready::PRIORITY.is_priority());
    /// assert!(!Ready::READABLE.is_priority());
    /// ```
    pub const fn is_priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// Translates the bits that poll(2), epoll and io_uring share.
    pub(crate) const fn from_poll(events: u32) -> Ready {
        const IN: u32 = libc::POLLIN as u32;
        const OUT: u32 = libc::POLLOUT as u32;
        const PRI: u32 = libc::POLLPRI as u32;
        const RDHUP: u32 = libc::POLLRDHUP as u32;
        const HUP: u32 = libc::POLLHUP as u32;
        const ERR: u32 = libc::POLLERR as u32;
        let mut bits = 0;
        if events & IN != 0 {
            bits |= Self::READABLE.0;
        }
        if events & OUT != 0 {
            bits |= Self::WRITABLE.0;
        }
        if events & (RDHUP | HUP) != 0 {
            bits |= Self::READ_CLOSED.0;
        }
        if events & HUP != 0 || (events & ERR != 0 && events & OUT != 0) {
            bits |= Self::WRITE_CLOSED.0;
        }
        if events & ERR != 0 {
            bits |= Self::ERROR.0;
        }
        if events & PRI != 0 {
            bits |= Self::PRIORITY.0;
        }
        Ready(bits)
    }

    /// The part of this readiness that someone with `interest` cares about.
    pub(crate) const fn for_interest(self, interest: Interest) -> Ready {
        let mut mask = 0;
        if interest.is_readable() {
            mask |= Self::READ_SIDE.0;
        }
        if interest.is_writable() {
            mask |= Self::WRITE_SIDE.0;
        }
        if interest.is_priority() {
            mask |= Self::PRIORITY_SIDE.0;
        }
        if interest.is_error() {
            mask |= Self::ERROR.0;
        }
        Ready(self.0 & mask)
    }

    /// What an attempt for `interest` that found nothing uses up. A hang-up too, it was none; but urgent data says nothing of it.
    pub(crate) const fn used_up_by(self, interest: Interest) -> Ready {
        let urgent = Ready(self.0 & interest.0 & Self::PRIORITY.0);
        Ready(self.for_interest(interest.without(Interest::PRIORITY)).0 | urgent.0)
    }

    pub(crate) const fn without(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl BitAnd for Ready {
    type Output = Ready;

    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

/// What is ready without what `other` names.
impl Sub for Ready {
    type Output = Ready;

    fn sub(self, other: Ready) -> Ready {
        self.without(other)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Ready, &str); 6] = [
            (Ready::READABLE, "READABLE"),
            (Ready::WRITABLE, "WRITABLE"),
            (Ready::READ_CLOSED, "READ_CLOSED"),
            (Ready::WRITE_CLOSED, "WRITE_CLOSED"),
            (Ready::ERROR, "ERROR"),
            (Ready::PRIORITY, "PRIORITY"),
        ];
        let mut first = true;
        for (bit, name) in NAMES {
            if self.0 & bit.0 != 0 {
                f.write_str(if first { "" } else { " | " })?;
                f.write_str(name)?;
                first = false;
            }
        }
        if first { f.write_str("EMPTY") } else { Ok(()) }
    }
}
