//! What a zero-copy send promises: the buffer is not free before the system says so.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, Probe, opcode};
use socket2::{Domain, SockRef, Socket, Type};

use super::mailbox::Mailbox;
use super::tests::{Count, PATIENCE, TestCore, kinds, on_both, pair, tcp_pair};
use super::tests_send::{Watched, watched};
use super::{Driver, DriverKind, SendAll, Source, Wait};
use crate::context;
use crate::limits::ZERO_COPY_FROM;

/// More than the peer of [`reluctant_pair`] takes without reading, and less than the socket takes with it.
const LEFT_IN_THE_SOCKET: usize = 96 * 1024;

fn is_to_be_had() -> bool {
    let (mut probe, Ok(ring)) = (Probe::new(), IoUring::new(8)) else { return false };
    let probed = ring.submitter().register_probe(&mut probe);
    // Of Linux 6.1; the report on copies is of 6.2 and has no code of its own.
    kinds().contains(&DriverKind::Uring) && probed.is_ok() && probe.is_supported(opcode::SendMsgZc::CODE)
}

/// The test with a ring, where there is zero copy.
fn on_ring(test: impl Fn(&TestCore)) {
    if is_to_be_had() {
        let core = TestCore::new(DriverKind::Uring, 64);
        context::enter(&core.resources, || test(&core));
        core.resources.reactor.into_inner().close(PATIENCE);
    }
}

fn set_segment(socket: &Socket) {
    let bytes: libc::c_int = 1400;
    // SAFETY: the option is a number, and this is one.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
}

/// A connection to a peer that acknowledges little before it reads.
fn reluctant_pair() -> (Source, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    peer.set_recv_buffer_size(16 << 10).unwrap();
    // A window below one segment moves by timeouts.
    set_segment(&peer);
    peer.connect(&listener.local_addr().unwrap().into()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let ours = listener.accept().unwrap().0;
    SockRef::from(&ours).set_send_buffer_size(1 << 20).unwrap();
    ours.set_nonblocking(true).unwrap();
    (Source::new(ours.into()), peer.into())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn watched_pattern(length: usize) -> (Watched, Arc<AtomicUsize>) {
    let freed = Arc::new(AtomicUsize::new(0));
    (Watched { bytes: pattern(length), freed: freed.clone() }, freed)
}

fn noticed_later(core: &TestCore) -> usize {
    match &core.resources.reactor.borrow().driver {
        Driver::Uring(uring) => uring.ops.noticed_later(),
        Driver::Epoll(_) => 0,
    }
}

type Sending<'a> = Pin<Box<SendAll<'a, Watched>>>;

/// A send that has its result and waits for the notification.
fn sent_and_in_use<'a>(
    core: &TestCore,
    source: &'a Source,
    woken: &Arc<Count>,
) -> (Sending<'a>, Arc<AtomicUsize>) {
    let (buffer, freed) = watched_pattern(LEFT_IN_THE_SOCKET);
    let mut send = Box::pin(SendAll::zero_copy(source, buffer));
    let waker = Waker::from(woken.clone());
    assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    core.turn_until("the result", || noticed_later(core) == 1);
    assert!(send.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.get(), 0, "the result alone is no news");
    (send, freed)
}

fn read_all(peer: &mut impl Read) -> Vec<u8> {
    let mut received = Vec::new();
    peer.read_to_end(&mut received).unwrap();
    received
}

#[test]
fn every_length_arrives_as_it_was() {
    for length in [0, 1, ZERO_COPY_FROM - 1, ZERO_COPY_FROM, 100_001, 4 << 20] {
        on_both(|core| {
            let (source, mut peer) = tcp_pair();
            let reader = thread::spawn(move || read_all(&mut peer));
            for _ in 0..2 {
                let sent = core.run(SendAll::zero_copy(&source, pattern(length)));
                sent.result.unwrap();
                assert!(sent.buffer.unwrap() == pattern(length));
            }
            drop(source);
            core.turn(Wait::No);
            assert!(reader.join().unwrap() == [pattern(length), pattern(length)].concat());
        });
    }
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    on_both(|core| {
        let (source, mut peer) = reluctant_pair();
        let reader = thread::spawn(move || {
            let (mut received, mut part) = (Vec::new(), vec![0; 3001]);
            loop {
                let got = peer.read(&mut part).unwrap();
                if got == 0 {
                    return received;
                }
                received.extend_from_slice(&part[..got]);
                thread::yield_now();
            }
        });
        let sent = core.run(SendAll::zero_copy(&source, pattern(2 << 20)));
        sent.result.unwrap();
        assert!(sent.buffer.unwrap() == pattern(2 << 20));
        drop(source);
        core.turn(Wait::No);
        assert!(reader.join().unwrap() == pattern(2 << 20));
    });
}

#[test]
fn the_buffer_comes_back_when_the_peer_has_read_it() {
    on_ring(|core| {
        let (source, mut peer) = reluctant_pair();
        let woken = Count::new();
        let (mut send, freed) = sent_and_in_use(core, &source, &woken);
        let mut received = vec![0; LEFT_IN_THE_SOCKET];
        peer.read_exact(&mut received).unwrap();
        core.turn_until("the notification", || woken.get() == 1);
        let Poll::Ready(sent) = send.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("still waits")
        };
        sent.result.unwrap();
        assert!(received == pattern(LEFT_IN_THE_SOCKET));
        assert_eq!((freed.load(SeqCst), noticed_later(core)), (0, 0));
        drop((sent.buffer.unwrap(), send));
        assert_eq!(freed.load(SeqCst), 1);
    });
}

#[test]
fn dropped_between_result_and_notification_it_arrives_whole_and_is_freed_once() {
    for source_first in [true, false] {
        on_ring(|core| {
            let (source, mut peer) = reluctant_pair();
            let (send, freed) = sent_and_in_use(core, &source, &Count::new());
            drop(send);
            core.turn(Wait::No);
            assert_eq!(freed.load(SeqCst), 0, "the system still reads it");
            if source_first {
                // The end is not held up: it comes right behind the bytes.
                drop(source);
                core.turn(Wait::No);
                assert!(read_all(&mut peer) == pattern(LEFT_IN_THE_SOCKET));
            } else {
                let mut received = vec![0; LEFT_IN_THE_SOCKET];
                peer.read_exact(&mut received).unwrap();
                assert!(received == pattern(LEFT_IN_THE_SOCKET));
            }
            core.turn_until("letting go", || freed.load(SeqCst) == 1);
            assert_eq!(noticed_later(core), 0);
        });
    }
}

#[test]
fn dropped_before_the_result_it_is_cancelled_and_freed_once() {
    for (polled, submitted) in [(false, false), (true, false), (true, true)] {
        on_both(|core| {
            let (source, mut peer) = tcp_pair();
            let (buffer, freed) = watched();
            let length = buffer.bytes.len();
            let mut send = Box::pin(SendAll::zero_copy(&source, buffer));
            if polled {
                assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            if submitted {
                core.turn(Wait::No);
            }
            drop(send);
            assert_eq!(freed.load(SeqCst), usize::from(!polled || !core.has_ring()));
            core.turn(Wait::No);
            drop(source);
            let reader = thread::spawn(move || read_all(&mut peer));
            core.turn_until("letting go", || freed.load(SeqCst) == 1);
            core.turn(Wait::No);
            let received = reader.join().unwrap();
            assert!(received.len() < length && received.iter().all(|byte| *byte == 7));
        });
    }
}

#[test]
fn dropped_after_the_notification_it_is_freed_at_once() {
    on_ring(|core| {
        let (source, mut peer) = reluctant_pair();
        let woken = Count::new();
        let (send, freed) = sent_and_in_use(core, &source, &woken);
        peer.read_exact(&mut vec![0; LEFT_IN_THE_SOCKET]).unwrap();
        core.turn_until("the notification", || woken.get() == 1);
        drop(send);
        assert_eq!(freed.load(SeqCst), 1);
    });
}

#[test]
fn a_peer_that_goes_in_the_middle_is_an_error_that_gives_the_buffer_back() {
    on_both(|core| {
        let (source, mut peer) = tcp_pair();
        let (buffer, freed) = watched();
        let mut send = Box::pin(SendAll::zero_copy(&source, buffer));
        assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        core.turn(Wait::No);
        peer.read_exact(&mut [0; 100]).unwrap();
        drop(peer); // with much unread: a reset
        let sent = core.run(send.as_mut());
        assert!(sent.result.is_err());
        assert_eq!(freed.load(SeqCst), 0);
        drop(sent.buffer.expect("it comes back"));
        assert_eq!(freed.load(SeqCst), 1);
    });
}

#[test]
fn a_peer_that_goes_after_the_result_lets_the_buffer_go() {
    on_ring(|core| {
        let (source, peer) = reluctant_pair();
        let (send, freed) = sent_and_in_use(core, &source, &Count::new());
        drop(peer);
        // All was handed over, so the send itself did not fail; the next one does.
        let sent = core.run(send);
        sent.result.unwrap();
        drop(sent.buffer.expect("it comes back"));
        assert_eq!(freed.load(SeqCst), 1);
        core.run(SendAll::zero_copy(&source, pattern(LEFT_IN_THE_SOCKET))).result.unwrap_err();
    });
}

#[test]
fn a_socket_without_zero_copy_sends_plainly_and_is_not_asked_again() {
    on_both(|core| {
        let (source, mut peer) = pair();
        let reader = thread::spawn(move || read_all(&mut peer));
        let sent = core.run(SendAll::zero_copy(&source, pattern(1 << 20)));
        sent.result.unwrap();
        assert!(sent.buffer.unwrap() == pattern(1 << 20));
        assert_eq!(source.descriptor().copies.load(SeqCst), core.has_ring());
        drop(source);
        core.turn(Wait::No);
        assert!(reader.join().unwrap() == pattern(1 << 20));
    });
}

#[test]
fn a_result_waits_for_the_notification_in_the_mailbox_too() {
    static BYTES: [u8; LEFT_IN_THE_SOCKET] = [7; LEFT_IN_THE_SOCKET];
    on_ring(|core| {
        let (source, mut peer) = reluctant_pair();
        let reactor = &core.resources.reactor;
        // SAFETY: the bytes are static.
        let started = unsafe {
            reactor.borrow_mut().start_send(source.descriptor(), &BYTES, true, Waker::noop().clone())
        };
        let Ok(key) = started else { panic!("there is a ring") };
        core.turn_until("the result", || noticed_later(core) == 1);
        let (mailbox, woken) = (Arc::new(Mailbox::default()), Count::new());
        assert_eq!(mailbox.take(Waker::from(woken.clone())), None);
        let due = reactor.borrow_mut().redirect_op(key, mailbox.clone());
        drop(due);
        assert_eq!(woken.get(), 0);
        peer.read_exact(&mut vec![0; LEFT_IN_THE_SOCKET]).unwrap();
        core.turn_until("the answer", || woken.get() == 1);
        let result = mailbox.take(Waker::from(woken)).unwrap();
        assert_eq!((result & !super::uring::COPIED) as usize, LEFT_IN_THE_SOCKET);
    });
}

#[test]
fn closing_waits_for_a_peer_that_reads() {
    if !is_to_be_had() {
        return;
    }
    let core = TestCore::new(DriverKind::Uring, 8);
    let (source, mut peer) = reluctant_pair();
    let freed = context::enter(&core.resources, || {
        let (send, freed) = sent_and_in_use(&core, &source, &Count::new());
        drop(send);
        freed
    });
    drop(source);
    let reader = thread::spawn(move || read_all(&mut peer));
    core.resources.reactor.into_inner().close(PATIENCE);
    assert_eq!(freed.load(SeqCst), 1);
    assert!(reader.join().unwrap() == pattern(LEFT_IN_THE_SOCKET));
}

#[test]
fn closing_gives_up_on_a_peer_that_does_not_and_leaves_the_buffer_to_the_system() {
    if !is_to_be_had() {
        return;
    }
    for abandoned in [true, false] {
        let core = TestCore::new(DriverKind::Uring, 8);
        let (source, mut peer) = reluctant_pair();
        let (mut send, freed) =
            context::enter(&core.resources, || sent_and_in_use(&core, &source, &Count::new()));
        if abandoned {
            context::enter(&core.resources, || drop(send));
            core.resources.reactor.into_inner().close(Duration::ZERO);
        } else {
            core.resources.reactor.into_inner().close(Duration::ZERO);
            let Poll::Ready(sent) = send.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("still waits")
            };
            assert!(sent.result.is_err() && sent.buffer.is_none());
            drop(send);
        }
        assert_eq!(freed.load(SeqCst), 0);
        drop(source);
        assert!(read_all(&mut peer) == pattern(LEFT_IN_THE_SOCKET), "freed while it was read");
    }
}
