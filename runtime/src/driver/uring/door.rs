//! The number by which other cores' rings name this one's.
//!
//! A message between rings names its target by descriptor number, which Linux looks up when the sender submits. By then
//! the target may have ended and its number may be another file's: no harm if that is no ring (the message fails) or a
//! ring of ours (it takes a turn for nothing), but a ring of somebody else's would get a completion it never asked for.
//! So the number for others is one of its own, and all who may still name it own it together.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::super::Peer;

/// The doors of this process, by number.
static DOORS: Mutex<BTreeMap<RawFd, Weak<Door>>> = Mutex::new(BTreeMap::new());

fn doors() -> MutexGuard<'static, BTreeMap<RawFd, Weak<Door>>> {
    DOORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A second descriptor of a ring, for other cores; the last who holds it closes it.
pub(super) struct Door(OwnedFd);

impl Door {
    pub(super) fn new(fd: OwnedFd) -> Arc<Door> {
        let door = Arc::new(Door(fd));
        doors().insert(door.number(), Arc::downgrade(&door));
        door
    }

    /// The door with this number. If its core has ended meanwhile it may be another's: then there is nobody left to
    /// wake, and that one wakes for nothing.
    fn find(number: RawFd) -> Option<Arc<Door>> {
        doors().get(&number)?.upgrade()
    }

    pub(super) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Before the number is closed, so that the next door with this number is entered later.
        let mut doors = doors();
        if doors.get(&self.number()).is_some_and(|door| door.as_ptr() == &raw const *self) {
            doors.remove(&self.number());
        }
    }
}

/// The cores that one core has rung so far, and their doors.
#[derive(Default)]
pub(super) struct Peers(Vec<(Peer, Arc<Door>)>);

impl Peers {
    /// Our own number for `peer`; `None` when it has ended.
    pub(super) fn index_of(&mut self, peer: &Peer, target: RawFd) -> Option<u32> {
        let known = self.0.iter().position(|(known, _)| known.is(peer));
        let index = match known {
            Some(index) => index,
            None => {
                self.0.push((peer.clone(), Door::find(target)?));
                self.0.len() - 1
            }
        };
        Some(index as u32)
    }

    pub(super) fn get(&self, index: u32) -> Option<&Peer> {
        self.0.get(index as usize).map(|(peer, _)| peer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use io_uring::types::Fd;
    use io_uring::{IoUring, opcode};

    use super::super::super::tests::{
        CountingBell, PATIENCE, TestCore, kinds, own_descriptors, pair, wait_for_read,
    };
    use super::super::super::{Driver, DriverKind, Wait};
    use super::super::Uring;
    use super::super::token::Token;
    use super::*;
    use crate::context;

    /// On a thread with descriptors of its own, unless this machine has no rings.
    fn with_rings(test: impl FnOnce() + Send + 'static) {
        if kinds().contains(&DriverKind::Uring) {
            let own = move || {
                own_descriptors();
                test();
            };
            thread::spawn(own).join().unwrap();
        }
    }

    fn core() -> TestCore {
        TestCore::new(DriverKind::Uring, 8)
    }

    fn close(core: TestCore) {
        core.resources.reactor.into_inner().close(PATIENCE);
    }

    fn with_uring<R>(core: &TestCore, f: impl FnOnce(&mut Uring) -> R) -> R {
        match &mut core.resources.reactor.borrow_mut().driver {
            Driver::Uring(uring) => f(uring),
            Driver::Epoll(_) => unreachable!("asked for a ring"),
        }
    }

    /// As if `core` had rung it before. Other tests have descriptors of their own too: the table may have another door
    /// with this number.
    fn acquaint(core: &TestCore, door: Arc<Door>) -> (Peer, Arc<CountingBell>) {
        let bell = Arc::<CountingBell>::default();
        let peer = Peer::new(Some(door.number()), bell.clone());
        with_uring(core, |uring| uring.peers.0.push((peer.clone(), door)));
        (peer, bell)
    }

    fn is_open(number: RawFd) -> bool {
        // SAFETY: asks about a number, whoever owns it.
        unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
    }

    #[test]
    fn a_ring_that_opens_when_a_core_ends_hears_nothing_that_was_meant_for_it() {
        with_rings(|| {
            let (ringing, ending) = (core(), core());
            let door = with_uring(&ending, |uring| uring.door.clone());
            let number = door.number();
            let (peer, _) = acquaint(&ringing, door);
            ringing.resources.reactor.borrow_mut().ring_peer(&peer);
            close(ending);
            let mut others: Vec<_> = (0..8).map(|_| IoUring::new(8).unwrap()).collect();
            ringing.turn(Wait::No);
            for other in &mut others {
                other.submit_and_wait(0).unwrap();
                assert_eq!(other.completion().next().map(|completion| completion.user_data()), None);
                assert_ne!(other.as_raw_fd(), number);
            }
            // Kept no longer than there is somebody who may name it.
            assert!(is_open(number));
            close(ringing);
            assert!(!is_open(number));
        });
    }

    #[test]
    fn a_core_is_found_by_its_number_and_rung_through_its_ring() {
        with_rings(|| {
            // Once is enough: see `acquaint`.
            let rings = |_| {
                let (ringing, parked, bell) = (core(), core(), Arc::<CountingBell>::default());
                let number = parked.resources.reactor.borrow().ring_fd();
                ringing.resources.reactor.borrow_mut().ring_peer(&Peer::new(number, bell.clone()));
                ringing.turn(Wait::No);
                let is_rung = bell.rings() == 0;
                if is_rung {
                    parked.turn(Wait::Forever);
                }
                close(ringing);
                close(parked);
                is_rung
            };
            assert!((0..100).any(rings));
        });
    }

    #[test]
    fn a_message_that_fails_rings_the_bell() {
        with_rings(|| {
            let ringing = core();
            let no_ring = Door::new(std::io::pipe().unwrap().0.into());
            let (peer, bell) = acquaint(&ringing, no_ring);
            for round in 1..=3 {
                ringing.resources.reactor.borrow_mut().ring_peer(&peer);
                assert_eq!(bell.rings(), round - 1);
                ringing.turn_until("the bell", || bell.rings() == round);
            }
            close(ringing);
        });
    }

    #[test]
    fn a_message_that_nobody_meant_to_send_costs_a_turn_and_nothing_else() {
        with_rings(|| {
            let core = core();
            let number = core.resources.reactor.borrow().ring_fd().unwrap();
            context::enter(&core.resources, || {
                let (source, mut peer) = pair();
                let woken = wait_for_read(&source);
                core.turn(Wait::No);
                let mut stranger = IoUring::new(8).unwrap();
                for data in [Token::Rung.pack(), 0, u64::MAX] {
                    let message = opcode::MsgRingData::new(Fd(number), 0, data, None).build();
                    // SAFETY: the entry names no memory.
                    unsafe { stranger.submission().push(&message) }.unwrap();
                    stranger.submit_and_wait(1).unwrap();
                    assert_eq!(stranger.completion().next().unwrap().result(), 0);
                    assert_eq!(core.turn(Wait::Forever), 0);
                }
                peer.write_all(b"x").unwrap();
                core.turn_until("the wake", || woken.get() == 1);
            });
            close(core);
        });
    }
}
