//! What a send of an owned buffer promises, on both drivers.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;

use super::mailbox::Mailbox;
use super::tests::{Count, PATIENCE, TestCore, kinds, on_both, own_descriptors, pair};
use super::{DriverKind, SendAll, Source, StableBuf, Wait};
use crate::context;

/// A buffer that says when it is freed.
pub(super) struct Watched {
    pub(super) bytes: Vec<u8>,
    pub(super) freed: Arc<AtomicUsize>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bytes.fill(0);
        self.freed.fetch_add(1, SeqCst);
    }
}

// SAFETY: the bytes are on the heap, owned alone, and change only in the drop.
unsafe impl StableBuf for Watched {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// More than a socket takes without a reader.
const TOO_MUCH: usize = 4 << 20;

pub(super) fn watched() -> (Watched, Arc<AtomicUsize>) {
    let freed = Arc::new(AtomicUsize::new(0));
    (Watched { bytes: vec![7; TOO_MUCH], freed: freed.clone() }, freed)
}

fn send_all<B: StableBuf>(core: &TestCore, source: &Source, buffer: B) {
    let sent = core.run(SendAll::new(source, buffer));
    sent.result.unwrap();
    assert!(sent.buffer.is_some());
}

#[test]
fn every_kind_of_buffer_arrives() {
    on_both(|core| {
        let (source, mut peer) = pair();
        send_all(core, &source, b"one ".to_vec());
        send_all(core, &source, Bytes::from(b"two ".to_vec()).slice(1..));
        send_all(core, &source, Box::<[u8]>::from(*b"three "));
        send_all(core, &source, &b"four"[..]);
        send_all(core, &source, Vec::new());
        drop(source);
        core.turn(Wait::No);
        let mut received = String::new();
        peer.read_to_string(&mut received).unwrap();
        assert_eq!(received, "one wo three four");
    });
}

#[test]
fn more_than_the_socket_takes_arrives_whole() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            received
        });
        let bytes: Vec<u8> = (0..TOO_MUCH).map(|at| (at % 251) as u8).collect();
        send_all(core, &source, bytes.clone());
        drop(source);
        core.turn(Wait::No);
        assert!(reader.join().unwrap() == bytes);
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_that_gives_the_buffer_back() {
    on_both(|core| {
        let (source, peer) = pair();
        drop(peer);
        let sent = core.run(SendAll::new(&source, b"x".to_vec()));
        assert_eq!(sent.result.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(sent.buffer.unwrap(), b"x");
    });
}

#[test]
fn a_buffer_outlives_its_future_until_the_ring_lets_go() {
    for (submitted, source_first) in [(false, false), (true, false), (true, true)] {
        on_both(|core| {
            let (source, mut peer) = pair();
            let (buffer, freed) = watched();
            {
                let mut send = pin!(SendAll::new(&source, buffer));
                assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                if submitted {
                    core.turn(Wait::No);
                }
            }
            if core.has_ring() {
                assert_eq!(freed.load(SeqCst), 0, "the ring may still read it");
            }
            if source_first {
                drop(source);
                core.turn_until("letting go", || freed.load(SeqCst) == 1);
            } else {
                core.turn_until("letting go", || freed.load(SeqCst) == 1);
                drop(source);
            }
            core.turn(Wait::No);
            // What did get through is right, and then the stream ends.
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            assert!(received.len() < TOO_MUCH && received.iter().all(|byte| *byte == 7));
        });
    }
}

#[test]
fn a_reactor_closes_with_a_send_at_work() {
    for kind in kinds() {
        let core = TestCore::new(kind, 8);
        let (source, _peer) = pair();
        let ((buffer, freed), woken) = (watched(), Count::new());
        let mut send = Box::pin(SendAll::new(&source, buffer));
        let waker = Waker::from(woken.clone());
        context::enter(&core.resources, || {
            assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            core.turn(Wait::No);
        });
        core.resources.reactor.into_inner().close(PATIENCE);
        assert_eq!(woken.get(), 1);
        // The future cannot know that the ring is through with the buffer, so it does not free it.
        drop(send);
        assert_eq!(freed.load(SeqCst), usize::from(kind == DriverKind::Epoll));
    }
}

#[test]
fn a_queued_send_keeps_the_number_from_its_next_owner() {
    own_descriptors();
    on_both(|core| {
        let (source, _peer) = pair();
        let number = source.fd().as_raw_fd();
        {
            let mut send = pin!(SendAll::new(&source, vec![7; TOO_MUCH]));
            assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        // Where no core knows that an entry still names it.
        thread::spawn(move || drop(source)).join().unwrap();
        let early = pair();
        core.turn(Wait::No);
        let late = pair();
        if core.has_ring() {
            assert_ne!(early.0.fd().as_raw_fd(), number);
            assert_eq!(late.0.fd().as_raw_fd(), number);
        }
        for (source, mut peer) in [early, late] {
            drop(source);
            core.turn(Wait::No);
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "bytes meant for another");
        }
    });
}

#[test]
fn a_reactor_lost_in_mid_send_leaks_what_the_ring_reads() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    let core = TestCore::new(DriverKind::Uring, 8);
    let (source, _peer) = pair();
    let (buffer, freed) = watched();
    context::enter(&core.resources, || {
        let mut send = pin!(SendAll::new(&source, buffer));
        assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        core.turn(Wait::No);
    });
    drop(core);
    assert_eq!(freed.load(SeqCst), 0);
}

#[test]
fn a_send_polled_where_its_core_has_ended_says_so() {
    if !kinds().contains(&DriverKind::Uring) {
        return;
    }
    let core = TestCore::new(DriverKind::Uring, 8);
    let (source, _peer) = pair();
    let mut send = pin!(SendAll::new(&source, vec![7; TOO_MUCH]));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(context::enter(&core.resources, || send.as_mut().poll(&mut cx)).is_pending());
    core.turn(Wait::No);
    core.resources.reactor.into_inner().close(PATIENCE);
    let Poll::Ready(sent) = send.poll(&mut cx) else { panic!("still waits") };
    assert!(sent.result.is_err() && sent.buffer.is_none());
}

#[test]
fn a_result_reaches_the_mailbox_before_and_after_it_is_asked_for() {
    for asked_first in [true, false] {
        on_both(|core| {
            let (source, _peer) = pair();
            let reactor = &core.resources.reactor;
            let first = Count::new();
            // SAFETY: the bytes are static.
            let started = unsafe {
                reactor.borrow_mut().start_send(
                    source.descriptor(),
                    b"hello",
                    false,
                    Waker::from(first.clone()),
                )
            };
            let Ok(key) = started else { return };
            let (mailbox, woken) = (Arc::new(Mailbox::default()), Count::new());
            assert_eq!(mailbox.take(Waker::from(woken.clone())), None);
            if !asked_first {
                core.turn_until("the send", || first.get() == 1);
            }
            let due = reactor.borrow_mut().redirect_op(key, mailbox.clone());
            due.into_iter().for_each(Waker::wake);
            core.turn_until("the answer", || woken.get() == 1);
            assert_eq!(mailbox.take(Waker::from(woken)), Some(5));
        });
    }
}
