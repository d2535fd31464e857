//! Who receives for a socket: everybody who asks, or the one core it streams to.
//!
//! ```text
//!            start (CAS)            stopped, by the home
//!    Free ───────────────▶ Home(uid) ─────────────────▶ Left ──▶ Free   when all is read
//!                                                          └───▶ Done   if a read by readiness asked for the stop
//! ```
//!
//! While a socket streams, its bytes wait at home. A stop moves them here, where every thread finds them; they come
//! before anything read from the socket itself. All but the start happens under the lock.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use super::recv_buf::RecvBuf;
use crate::context::CoreUid;

const FREE: u64 = 0;
const DONE: u64 = 1;
const LEFT: u64 = 2;
/// The home's number follows in the higher bits.
const HOME: u64 = 3;
const TAG_BITS: u32 = 2;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Read by readiness; a stream may start.
    Free,
    /// Read by readiness, for good.
    Done,
    /// The stream has stopped; what it had received may not be read yet.
    Left,
    /// A core streams.
    Home(CoreUid),
}

/// Part of every descriptor; small while nothing streams.
pub(super) struct Handover {
    mode: AtomicU64,
    left: OnceLock<Box<Mutex<LeftOver>>>,
}

/// What a stopped stream had received.
#[derive(Default)]
pub(super) struct LeftOver {
    pub(super) chunks: VecDeque<RecvBuf>,
    /// The error after the last chunk, to be delivered once.
    pub(super) error: Option<io::Error>,
    waiters: Vec<Waker>,
    /// The home was asked to stop.
    pub(super) asked: bool,
    /// No stream may start again.
    pub(super) for_good: bool,
}

impl LeftOver {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.error.is_none()
    }

    /// Adds a waiter, once; gives it back if it is known.
    pub(super) fn wait(&mut self, waker: Waker) -> Option<Waker> {
        if self.waiters.iter().any(|known| known.will_wake(&waker)) {
            return Some(waker);
        }
        self.waiters.push(waker);
        None
    }
}

impl Handover {
    pub(super) const fn new() -> Handover {
        Handover { mode: AtomicU64::new(FREE), left: OnceLock::new() }
    }

    /// True while bytes may lie elsewhere than in the socket.
    #[inline]
    pub(super) fn is_streaming(&self) -> bool {
        // Relaxed: only chooses the path; the other one looks again under the lock. Who starts a stream and then
        // hands the source to another thread orders the two by handing it over.
        self.mode.load(Ordering::Relaxed) & LEFT != 0
    }

    pub(super) fn mode(&self) -> Mode {
        // Acquire: pairs with the release in `set`, so that who finds it Free again also sees the former stream over.
        let bits = self.mode.load(Ordering::Acquire);
        match (bits & TAG_MASK, std::num::NonZeroU64::new(bits >> TAG_BITS)) {
            (HOME, Some(uid)) => Mode::Home(CoreUid(uid)),
            (LEFT, _) => Mode::Left,
            (DONE, _) => Mode::Done,
            _ => Mode::Free,
        }
    }

    /// Makes `home` the one core that receives, unless another is or streams have ended for good.
    pub(super) fn start(&self, home: CoreUid) -> bool {
        let bits = home.0.get() << TAG_BITS | HOME;
        // Acquire: pairs with the release in `set`. Relaxed on failure: nothing is read on its strength.
        self.mode.compare_exchange(FREE, bits, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn set(&self, bits: u64) {
        // Release: pairs with the acquire in `mode` and `start`.
        self.mode.store(bits, Ordering::Release);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LeftOver> {
        self.left.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The home has stopped and moved all it had here.
    pub(super) fn stopped(&self, left: &mut LeftOver) {
        left.asked = false;
        self.set(LEFT);
    }

    /// All that was left over has been read.
    pub(super) fn settled(&self, left: &LeftOver) {
        self.set(if left.for_good { DONE } else { FREE });
    }

    /// Hands out those who wait for the stop or for more.
    pub(super) fn take_waiters(left: &mut LeftOver) -> Vec<Waker> {
        std::mem::take(&mut left.waiters)
    }

    /// The source is gone: what is left over is for nobody. Drop it where the driver is not borrowed.
    pub(super) fn clear(&self) -> Option<LeftOver> {
        self.left.get().map(|left| std::mem::take(&mut *left.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
