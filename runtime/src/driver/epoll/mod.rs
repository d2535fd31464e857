//! Readiness through epoll: edge mode, one registration per core and descriptor for both directions.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::task::Waker;
use std::time::Duration;

use super::Wait;
use super::interest::{Interest, Ready};
use super::slots::{Key, Slots};

/// Events taken by one system call.
const BATCH: usize = 256;
/// System calls in one turn while batches come back full, so that tasks get their turn.
const ROUNDS: usize = 4;
/// The token of the core's own eventfd; a slot's token has its top bits clear.
const BELL: u64 = u64::MAX;

pub(super) struct Epoll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Waits are exact to the nanosecond where the system has epoll_pwait2, else rounded up to milliseconds.
    exact_waits: bool,
}

impl Epoll {
    pub(super) fn open(bell: BorrowedFd<'_>) -> io::Result<Epoll> {
        // SAFETY: takes no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just opened, and nobody else knows it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let driver = Epoll { epoll, events: Vec::with_capacity(BATCH), exact_waits: true };
        // Edge mode: every ring of the bell is an event of its own, so its counter need not be read back.
        driver.control(libc::EPOLL_CTL_ADD, bell.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, BELL)?;
        Ok(driver)
    }

    fn control(&self, operation: i32, fd: RawFd, events: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` lives across the call, which copies it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    /// Watches `wanted` besides what is `armed` already. Reports at once what is ready now.
    pub(super) fn arm(&mut self, fd: RawFd, key: Key, armed: Interest, wanted: Interest) -> io::Result<()> {
        let events = i32::from((armed | wanted).poll_mask()) | libc::EPOLLET;
        if !armed.is_none() {
            return self.control(libc::EPOLL_CTL_MOD, fd, events, token(key));
        }
        match self.control(libc::EPOLL_CTL_ADD, fd, events, token(key)) {
            // The same open file was watched under this number before and lives on in a copy.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                self.control(libc::EPOLL_CTL_MOD, fd, events, token(key))
            }
            result => result,
        }
    }

    /// Stops watching a file that outlives this descriptor.
    pub(super) fn disarm(&mut self, fd: RawFd) {
        // Fails only when nothing is watched.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, 0);
    }

    pub(super) fn turn(&mut self, wait: Wait, slots: &mut Slots, woken: &mut Vec<Waker>) -> io::Result<()> {
        let mut wait = wait;
        for _ in 0..ROUNDS {
            let found = match self.fetch(wait) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
            };
            slots.counts.note_batch(0);
            slots.counts.events += found as u64;
            for event in &self.events {
                if event.u64 != BELL
                    && let Some(slot) = slots.get_mut(key(event.u64))
                {
                    slot.arrive(Ready::from_poll(event.events), woken);
                }
            }
            if found < BATCH {
                break;
            }
            wait = Wait::No;
        }
        Ok(())
    }

    fn fetch(&mut self, wait: Wait) -> io::Result<usize> {
        self.events.clear();
        let found = match wait {
            Wait::For(time) if self.exact_waits => match self.wait_exactly(time) {
                // Old systems lack the call, old sandboxes refuse it.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.exact_waits = false;
                    self.wait_millis(millis(time))
                }
                found => found,
            },
            Wait::For(time) => self.wait_millis(millis(time)),
            Wait::No => self.wait_millis(0),
            Wait::Forever => self.wait_millis(-1),
        }?;
        // SAFETY: the system call filled `found` events, at most the capacity it was given.
        unsafe { self.events.set_len(found) };
        Ok(found)
    }

    fn wait_millis(&mut self, millis: i32) -> io::Result<usize> {
        // SAFETY: the vector has room for `BATCH` events and lives across the call.
        let found = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), BATCH as i32, millis)
        };
        check(found).map(|found| found as usize)
    }

    fn wait_exactly(&mut self, time: Duration) -> io::Result<usize> {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos() as _,
        };
        // SAFETY: the vector has room for `BATCH` events; it and `time` live across the call; no signal mask is given.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                BATCH as i32,
                &raw const time,
                ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        check(found as i32).map(|found| found as usize)
    }
}

/// Whole milliseconds, rounded up: a deadline is never early.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn token(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key(token: u64) -> Key {
    Key { index: token as u32, generation: (token >> 32) as u32 }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
