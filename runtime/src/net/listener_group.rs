//! Listeners that were made together, one for each core.
//!
//! To close one of them would reset the connections in its queue, and those that are being made. So a socket whose handle is
//! dropped stays open, and another handle accepts for it as well, until the last handle is dropped.
//!
//! ```text
//!   Handle ────── its handle is dropped ─────▶ Nobody ────── the next who accepts ─────▶ Keeper
//!     ▲                                        │    ▲                                    │    │
//!     │                                        │    └──── the keeper's handle is dropped ┘    │
//!     └───────────────── somebody asks for it ─┴──────────────────────────────────────────────┘
//! ```
//!
//! Nobody looks for sockets that wait for a keeper but by a number, which changes when there is one. Whoever is about to wait
//! looks at it after a fence, and who drops a handle changes it before one, and then wakes those who wait.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use multikernel_replicate::CoreId;
use socket2::{SockAddr, SockRef, Socket};

use super::acceptor::Acceptor;
use super::addr::ip_address;
use super::bind_each_core::{Sharing, bound};
use super::shortage::Pause;
use super::steering::{self, Steering};
use crate::limits::BACKLOG;
use crate::machine::Machine;

/// What becomes of the sockets of one address.
struct Group {
    /// Another one whenever a socket changes hands.
    version: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// In the order in which they began to listen, by which the system counts them.
    parts: Vec<Part>,
    /// Handles there have been.
    handles: u64,
    steering: Steering,
}

/// One socket.
struct Part {
    core: CoreId,
    acceptor: Arc<Acceptor>,
    held: Held,
}

/// Who accepts from a socket, by the numbers of handles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Handle(u64),
    Keeper(u64),
    Nobody,
}

impl Held {
    fn is_by(self, handle: u64) -> bool {
        matches!(self, Self::Handle(by) | Self::Keeper(by) if by == handle)
    }
}

/// What a handle has to do with its group.
pub(super) struct Seat {
    group: Arc<Group>,
    number: u64,
    /// The group's version as of the last look.
    seen: AtomicU64,
    /// The sockets that it keeps besides its own, as of the last look.
    kept: Mutex<Arc<[Arc<Acceptor>]>>,
    keeps: AtomicBool,
    /// Which of the sockets is tried first.
    turn: AtomicUsize,
}

/// Makes a group of sockets that listen on one address, given in the order in which they have begun to.
pub(super) fn group(
    machine: &Machine,
    sockets: Vec<(CoreId, Socket)>,
    steering: Steering,
) -> Vec<(CoreId, Arc<Acceptor>, Seat)> {
    let with_numbers = (0..).zip(sockets).map(|(number, (core, socket))| {
        let acceptor = Arc::new(Acceptor::new(socket.into()));
        Part { core, acceptor, held: Held::Handle(number) }
    });
    let parts: Vec<_> = with_numbers.collect();
    let handles: Vec<_> = (0..).zip(&parts).map(|(n, part)| (n, part.core, part.acceptor.clone())).collect();
    let mut state = State { parts, handles: handles.len() as u64, steering: Steering::Hash };
    if steering == Steering::IncomingCpu {
        state.steer(machine);
    }
    let group = Arc::new(Group { version: AtomicU64::new(0), state: Mutex::new(state) });
    let seat = |(number, core, acceptor)| (core, acceptor, Seat::new(&group, number));
    handles.into_iter().map(seat).collect()
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called with the lock.
    fn note_change(&self) {
        // Release pairs with the Acquire in `poll_accept`; the lock does the rest.
        self.version.fetch_add(1, Ordering::Release);
    }
}

impl State {
    fn acceptors(&self, which: impl Fn(Held) -> bool) -> Vec<Arc<Acceptor>> {
        let parts = self.parts.iter().filter(|part| which(part.held));
        parts.map(|part| part.acceptor.clone()).collect()
    }

    /// Has the CPU that receives decide, if a core is tied to one and the system takes that.
    fn steer(&mut self, machine: &Machine) {
        let cpus: Vec<_> = self.parts.iter().map(|part| steering::cpu_of(machine, part.core)).collect();
        self.steering = Steering::Hash;
        let Some(first) = self.parts.first().filter(|_| cpus.iter().any(Option::is_some)) else { return };
        match steering::steer(first.acceptor.fd(), &cpus) {
            Ok(()) => self.steering = Steering::IncomingCpu,
            Err(error) => tracing::info!(%error, "connections are spread by their hash, not by CPU"),
        }
    }

    /// Leaves it to the hash again.
    fn stop_steering(&mut self) {
        if let Some(first) = self.parts.first()
            && self.steering != Steering::Hash
            && steering::steer(first.acceptor.fd(), &[]).is_ok()
        {
            self.steering = Steering::Hash;
        }
    }

    fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles - 1
    }

    /// A socket for a core that has none yet.
    fn add(&mut self, core: CoreId, held: Held) -> io::Result<Arc<Acceptor>> {
        let known = self.parts.first().ok_or(io::ErrorKind::NotConnected)?;
        let address = ip_address(SockRef::from(&known.acceptor.fd()).local_addr()?)?;
        let socket = bound(address, Sharing::Yes)?;
        socket.listen(BACKLOG)?;
        let acceptor = Arc::new(Acceptor::new(socket.into()));
        self.parts.push(Part { core, acceptor: acceptor.clone(), held });
        Ok(acceptor)
    }
}

impl Seat {
    fn new(group: &Arc<Group>, number: u64) -> Seat {
        Seat {
            group: group.clone(),
            number,
            // Of no group: it looks when it is first used.
            seen: AtomicU64::new(u64::MAX),
            kept: Mutex::new(Arc::new([])),
            keeps: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
        }
    }

    pub(super) fn steering(&self) -> Steering {
        self.group.lock().steering
    }

    /// Accepts from the handle's own socket, and from those that it keeps.
    pub(super) fn poll_accept(
        &self,
        own: &Acceptor,
        cx: &mut Context<'_>,
        pause: &mut Pause,
    ) -> Poll<io::Result<(OwnedFd, SockAddr)>> {
        loop {
            let version = self.group.version.load(Ordering::Acquire); // pairs with `note_change`
            if self.seen.load(Ordering::Acquire) != version {
                self.look(); // whose Release the Acquire pairs with
            }
            let polled = self.poll_each(own, cx, pause);
            if polled.is_ready() {
                return polled;
            }
            // SeqCst, twice: pairs with the fence in `drop`. Who waits is woken, or sees the change here.
            fence(Ordering::SeqCst);
            if self.group.version.load(Ordering::Relaxed) == version {
                return Poll::Pending;
            }
        }
    }

    fn poll_each(
        &self,
        own: &Acceptor,
        cx: &mut Context<'_>,
        pause: &mut Pause,
    ) -> Poll<io::Result<(OwnedFd, SockAddr)>> {
        if !self.keeps.load(Ordering::Relaxed) {
            return own.poll_accept_pausing(cx, pause);
        }
        let kept = self.kept().clone();
        // Another one first each time: no queue waits for ever because another is never empty.
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for at in 0..=kept.len() {
            let acceptor = match first.wrapping_add(at) % (kept.len() + 1) {
                0 => own,
                other => &kept[other - 1],
            };
            if let ready @ Poll::Ready(_) = acceptor.poll_accept_pausing(cx, pause) {
                return ready;
            }
        }
        Poll::Pending
    }

    fn kept(&self) -> MutexGuard<'_, Arc<[Arc<Acceptor>]>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes the keeper of what has none, and lets go of what has been asked for.
    #[cold]
    fn look(&self) {
        let before = {
            let mut state = self.group.lock();
            for part in state.parts.iter_mut().filter(|part| part.held == Held::Nobody) {
                part.held = Held::Keeper(self.number);
            }
            let now: Arc<[_]> = state.acceptors(|held| held == Held::Keeper(self.number)).into();
            // Relaxed: ordered by what follows.
            self.keeps.store(!now.is_empty(), Ordering::Relaxed);
            let before = std::mem::replace(&mut *self.kept(), now);
            // Relaxed: it changes under the lock. Release pairs with the Acquire in `poll_accept`.
            self.seen.store(self.group.version.load(Ordering::Relaxed), Ordering::Release);
            before
        };
        let kept = self.kept().clone();
        let is_gone = |one: &&Arc<Acceptor>| !kept.iter().any(|other| Arc::ptr_eq(one, other));
        before.iter().filter(is_gone).for_each(|gone| gone.unwatch());
    }

    /// A handle on the socket of `core`, if that has none; a new socket if `core` had none.
    pub(super) fn take(&self, machine: &Machine, core: CoreId) -> io::Result<(Arc<Acceptor>, Seat)> {
        let mut state = self.group.lock();
        let number = state.next_handle();
        let acceptor = match state.parts.iter_mut().find(|part| part.core == core) {
            Some(part) if matches!(part.held, Held::Handle(_)) => {
                let text = format!("{core} has its listener");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            Some(part) => {
                part.held = Held::Handle(number);
                part.acceptor.clone()
            }
            None => state.add(core, Held::Handle(number))?,
        };
        self.group.note_change();
        if state.steering == Steering::IncomingCpu {
            state.steer(machine); // cores may be tied to other CPUs by now
        }
        Ok((acceptor, Seat::new(&self.group, number)))
    }

    /// The handle's socket leaves the group. What becomes of it nobody knows, so its place in the system's order is not
    /// to be counted on either.
    pub(super) fn give_away(&self) {
        let mut state = self.group.lock();
        state.stop_steering();
        state.parts.retain(|part| part.held != Held::Handle(self.number));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mine = {
            let state = self.group.lock();
            let is_other = |held| matches!(held, Held::Handle(by) if by != self.number);
            if !state.parts.iter().any(|part| is_other(part.held)) {
                return; // all are closed
            }
            state.acceptors(|held| held.is_by(self.number))
        };
        // Before others may keep them.
        mine.iter().for_each(|acceptor| acceptor.unwatch());
        let others = {
            let mut state = self.group.lock();
            for part in state.parts.iter_mut().filter(|part| part.held.is_by(self.number)) {
                part.held = Held::Nobody;
            }
            self.group.note_change();
            state.acceptors(|held| matches!(held, Held::Handle(_)))
        };
        fence(Ordering::SeqCst); // see `poll_accept`
        others.iter().for_each(|acceptor| acceptor.wake_all());
    }
}
